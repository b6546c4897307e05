//! Rejects new passwords that an attacker would try first.

use crate::model::ApiError;
use zxcvbn::{Score, zxcvbn};

const PRODUCT: &str = "Twarga Cloud";

/// Whose password it is.
#[derive(Debug, Clone)]
pub struct Owner {
    pub username: String,
    pub email: String,
}

/// # Errors
/// `Invalid` with `field` for a common password and for one made of its owner's name or address, or of the product's name.
pub fn check(field: &str, password: &str, owner: &Owner) -> Result<(), ApiError> {
    let local_part = owner.email.split('@').next().unwrap_or_default();
    let names = [owner.username.as_str(), &owner.email, local_part, PRODUCT, "twarga", "twargacloud"];
    if names.iter().any(|name| bare(name) == bare(password)) {
        let text = format!("The password must not be your name, your e-mail address or {PRODUCT}.");
        return Err(ApiError::invalid_field(field, text));
    }
    if zxcvbn(password, &names).score() < Score::Two {
        let text = "This password is too easy to guess. Use several words, or more characters.";
        return Err(ApiError::invalid_field(field, text));
    }
    Ok(())
}

/// Only letters and digits, in lower case.
fn bare(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::{Owner, check};

    fn is_accepted(password: &str) -> bool {
        let owner = Owner { username: "ada.lovelace".into(), email: "ada.l@example.org".into() };
        check("password", password, &owner).is_ok()
    }

    #[test]
    fn a_common_password_is_rejected() {
        for common in [
            "1234567890",
            "          ",
            "password123",
            "qwertyuiop",
            "iloveyou12",
            "aaaaaaaaaaaa",
            "letmein1234",
        ] {
            assert!(!is_accepted(common), "{common:?}");
        }
    }

    #[test]
    fn a_name_or_an_address_is_no_password() {
        for name in [
            "ada.lovelace",
            "AdaLovelace",
            "ada.l@example.org",
            "adal example org",
            "ada.lovelace1",
            "Twarga Cloud",
            "twarga-cloud",
        ] {
            assert!(!is_accepted(name), "{name:?}");
        }
    }

    #[test]
    fn several_words_are_accepted() {
        for good in [
            "correct horse battery",
            "a long password",
            "Tr0ub4dor&3xyz",
            "пароль из слов",
            &"every good boy deserves fruit ".repeat(4),
        ] {
            assert!(is_accepted(good), "{good:?}");
        }
    }
}
