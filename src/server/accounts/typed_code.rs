//! Random codes that people type: groups of letters and digits, which are the same in upper case and without hyphens.

use crate::{model::ApiError, server::internal};
use sha2::{Digest, Sha256};

/// Crockford's base32, which has no letters that look like digits.
const SYMBOLS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const GROUP_LENGTH: usize = 4;

/// A code of `GROUPS` groups, each with 20 random bits: `k3vd-80zq-71fm`.
///
/// # Errors
/// `Internal` when the system gives no random numbers.
pub fn random<const GROUPS: usize>() -> Result<String, ApiError> {
    let mut bytes = [[0; GROUP_LENGTH]; GROUPS];
    getrandom::fill(bytes.as_flattened_mut()).map_err(internal)?;
    let groups =
        bytes.map(|group| String::from_iter(group.map(|byte| char::from(SYMBOLS[usize::from(byte % 32)]))));
    Ok(groups.join("-"))
}

/// The SHA-256 of a code without what may be typed differently. Digests have the same length, whatever was entered.
pub fn digest(code: &str) -> [u8; 32] {
    let mut digest = Sha256::new();
    for symbol in code.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        let symbol = match symbol.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        };
        digest.update(symbol.encode_utf8(&mut [0; 4]));
    }
    digest.finalize().into()
}
