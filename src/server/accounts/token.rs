use crate::{model::ApiError, server::internal};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

const TOKEN_BYTES: usize = 32;

/// 256 random bits as URL-safe text. Has no `Debug` and no `Serialize`, so that it reaches no log by accident.
pub struct Token(String);

impl Token {
    /// A new token and the hash to keep.
    ///
    /// # Errors
    /// `Internal` when the system gives no random numbers.
    pub fn random() -> Result<(Self, Vec<u8>), ApiError> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(internal)?;
        Ok((Self(URL_SAFE_NO_PAD.encode(bytes)), Sha256::digest(bytes).to_vec()))
    }

    /// For the one answer that hands it out.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash of a token's text, if it can be one.
    pub fn hash_of(text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == TOKEN_BYTES)?;
        Some(Sha256::digest(bytes).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_is_found_by_its_hash_and_nonsense_by_none() {
        let (token, hash) = Token::random().unwrap();
        assert_eq!(Token::hash_of(token.expose()), Some(hash));
        for nonsense in ["", "x", "not base64!", &"A".repeat(44), &"A".repeat(4096)] {
            assert_eq!(Token::hash_of(nonsense), None, "{nonsense}");
        }
    }
}
