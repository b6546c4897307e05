//! Reads what users paste as their public key. Pure.
//!
//! Accepted is what current OpenSSH accepts by default: Ed25519, ECDSA, RSA of at least 2048 bits, and the first two on
//! security keys.

use crate::model::{ApiError, SSH_KEY_MAX_BYTES, SSH_KEY_NAME_MAX_CHARS};
use russh::keys::{Algorithm, HashAlg, PublicKey};

const RSA_MIN_BITS: u32 = 2048;
/// The field of the form.
const FIELD: &str = "public_key";

/// A public key that may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedKey {
    pub name: String,
    pub algorithm: String,
    pub fingerprint: String,
    /// In OpenSSH's form, without a comment.
    pub openssh: String,
}

impl AcceptedKey {
    /// Reads a key in OpenSSH's form. An empty `name` means the key's comment.
    ///
    /// # Errors
    /// `Invalid` with the field and the reason.
    pub fn parse(text: &str, name: &str) -> Result<Self, ApiError> {
        let reject = |reason: &str| ApiError::invalid_field(FIELD, reason);
        if text.len() > SSH_KEY_MAX_BYTES {
            return Err(reject("This is too long for a public key. Paste one key only."));
        }
        let text = text.trim();
        if text.is_empty() {
            return Err(reject("Paste a public key, such as the content of ~/.ssh/id_ed25519.pub."));
        }
        if text.contains("PRIVATE KEY") || text.starts_with("PuTTY-User-Key-File") {
            return Err(reject(
                "This is a private key, which nobody else may see. Paste the public one: the file that ends with .pub.",
            ));
        }
        if text.starts_with("---- BEGIN SSH2 PUBLIC KEY") {
            return Err(reject(
                "This is a key in the form of RFC 4716. Convert it with ssh-keygen -i -f FILE, and paste what that prints.",
            ));
        }
        if text.lines().nth(1).is_some() {
            return Err(reject("A public key is one line. Add several keys one by one."));
        }
        let mut key = PublicKey::from_openssh(text).map_err(|_| unreadable(text))?;
        check_strength(&key)?;
        let comment = key.comment().as_str().unwrap_or_default().to_owned();
        let name = checked_name(name, &comment, &key)?;
        key.set_comment("");
        let openssh = key.to_openssh().map_err(|_| unreadable(text))?;
        Ok(Self { name, algorithm: key.algorithm().to_string(), fingerprint: fingerprint(&key), openssh })
    }
}

/// `SHA256:…`, as OpenSSH prints it.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn check_strength(key: &PublicKey) -> Result<(), ApiError> {
    let reject = |reason: String| Err(ApiError::invalid_field(FIELD, reason));
    match key.algorithm() {
        Algorithm::Ed25519
        | Algorithm::Ecdsa { .. }
        | Algorithm::SkEd25519
        | Algorithm::SkEcdsaSha2NistP256 => Ok(()),
        Algorithm::Rsa { .. } => {
            match key.key_data().rsa().map(russh::keys::ssh_key::public::RsaPublicKey::key_size) {
                Some(bits) if bits >= RSA_MIN_BITS => Ok(()),
                bits => reject(format!(
                    "RSA keys must have at least {RSA_MIN_BITS} bits; this one has {}. {NEW_KEY}",
                    bits.unwrap_or_default()
                )),
            }
        }
        Algorithm::Dsa => reject(format!("DSA keys are not secure any more. {NEW_KEY}")),
        other => reject(format!("Keys of the type {other} are not accepted. {NEW_KEY}")),
    }
}

const NEW_KEY: &str = "Make a new key with ssh-keygen -t ed25519.";

/// What is wrong with a text that is no key.
fn unreadable(text: &str) -> ApiError {
    let kind = text.split_ascii_whitespace().next().unwrap_or_default();
    let reason = if kind == "ssh-dss" {
        format!("DSA keys are not secure any more. {NEW_KEY}")
    } else if kind.contains("-cert-v01@") {
        "This is a certificate. Paste the public key that it was made for.".to_owned()
    } else if text.contains(" ssh-") || text.contains(" ecdsa-") {
        "Paste the key without the options in front of it: it begins with its type, such as ssh-ed25519."
            .to_owned()
    } else {
        "This is not a public key in OpenSSH's form. Paste one whole line, such as ssh-ed25519 AAAA… you@laptop."
            .to_owned()
    };
    ApiError::invalid_field(FIELD, reason)
}

fn checked_name(name: &str, comment: &str, key: &PublicKey) -> Result<String, ApiError> {
    let name = name.trim();
    if name.chars().count() > SSH_KEY_NAME_MAX_CHARS || name.chars().any(char::is_control) {
        let text = format!("A name is one line of at most {SSH_KEY_NAME_MAX_CHARS} characters.");
        return Err(ApiError::invalid_field("name", text));
    }
    let of_comment: String =
        comment.chars().filter(|c| !c.is_control()).take(SSH_KEY_NAME_MAX_CHARS).collect();
    let candidates = [name, of_comment.trim()];
    let chosen = candidates.into_iter().find(|candidate| !candidate.is_empty());
    Ok(chosen.map_or_else(|| key.algorithm().to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqzdNcf9bLuWo6G/SHCGz0O/EgujCxFwhzYxTfqgbBX";
    const SK: &str = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAICFo/k5LU8863u66YC9eUO2170QduohPURkQnbLa/dczAAAABHNzaDo=";

    fn reason(text: &str) -> String {
        let error = AcceptedKey::parse(text, "").unwrap_err();
        assert_eq!(error.fields[0].field, FIELD, "{text}");
        error.fields[0].text.clone()
    }

    #[test]
    fn the_comment_is_the_name_unless_there_is_another() {
        let key = |text: &str, name: &str| AcceptedKey::parse(text, name).unwrap();
        let named = key(&format!(" {ED25519} ada@laptop\n"), "");
        assert_eq!((named.name.as_str(), named.algorithm.as_str()), ("ada@laptop", "ssh-ed25519"));
        assert_eq!(named.openssh, ED25519);
        assert!(named.fingerprint.starts_with("SHA256:"), "{}", named.fingerprint);
        assert_eq!(key(&format!("{ED25519} ada@laptop"), " work ").name, "work");
        assert_eq!(key(ED25519, "").name, "ssh-ed25519");
        assert_eq!(key(SK, "").algorithm, "sk-ssh-ed25519@openssh.com");
        let long = AcceptedKey::parse(ED25519, &"x".repeat(101)).unwrap_err();
        assert_eq!(long.fields[0].field, "name");
    }

    #[test]
    fn what_is_no_public_key_is_rejected_with_what_to_do() {
        for (text, words) in [
            ("", "Paste a public key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nx", "private key"),
            ("PuTTY-User-Key-File-3: ssh-ed25519", "private key"),
            ("---- BEGIN SSH2 PUBLIC KEY ----\nx", "ssh-keygen -i"),
            ("ssh-dss AAAAB3NzaC1kc3MAAACBAKAA", "DSA keys are not secure"),
            ("ssh-ed25519-cert-v01@openssh.com AAAA", "certificate"),
            ("hello", "not a public key"),
            (&format!("{ED25519}\n{ED25519}"), "one line"),
            (&format!("from=\"10.0.0.1\" {ED25519}"), "without the options"),
            (&ED25519[..60], "not a public key"),
            (&"x".repeat(SSH_KEY_MAX_BYTES + 1), "too long"),
        ] {
            let reason = reason(text);
            assert!(reason.contains(words), "{text}: {reason}");
        }
    }

    #[test]
    fn rsa_keys_must_be_long_enough() {
        use russh::keys::ssh_key::{Mpint, public::RsaPublicKey};
        let rsa = |bytes: usize| {
            let e = Mpint::from_positive_bytes(&[1, 0, 1]);
            let n = Mpint::from_positive_bytes(&vec![0xc1; bytes]);
            let key = PublicKey::new(RsaPublicKey::new(e, n).unwrap().into(), "");
            key.to_openssh().unwrap()
        };
        assert_eq!(AcceptedKey::parse(&rsa(256), "").unwrap().algorithm, "ssh-rsa");
        let reason = reason(&rsa(128));
        assert!(reason.contains("at least 2048 bits; this one has 1024"), "{reason}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}", name in "\\PC{0,120}") {
            let _ = AcceptedKey::parse(&text, &name);
            let _ = AcceptedKey::parse(&format!("ssh-ed25519 {text}"), &name);
        }
    }
}
