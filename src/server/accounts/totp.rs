//! Time-based one-time passwords (RFC 6238) as every authenticator app knows them: SHA-1, 6 digits, 30 s. Pure.

use crate::model::{QrCode, SecondFactorSetup, UtcMillis};
use qrcode::{Color, EcLevel};
use std::fmt::Write;
use totp_rs::{Algorithm, Builder, Totp, TotpError};

pub const SECRET_BYTES: usize = 20;
const DIGITS: u8 = 6;
const STEP_SECS: u64 = 30;
/// So many steps before and after the current one count, too: clocks differ, and typing takes time.
const SKEW: u16 = 1;
/// What apps show beside the user name.
const ISSUER: &str = "Twarga Cloud";

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the secret is not one: {0}")]
    Secret(#[from] TotpError),
    #[error("the QR code cannot be made: {0}")]
    QrCode(#[from] qrcode::types::QrError),
}

/// Whether `code` is one of the app's, rather than a recovery code.
pub fn is_of_app(code: &str) -> bool {
    code.len() == usize::from(DIGITS) && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// The time step of `code`, if it is that of the step at `at` or of one beside it. Compares in constant time.
///
/// # Errors
/// When `secret` is too short.
pub fn step_of(secret: &[u8], code: &str, at: UtcMillis) -> Result<Option<i64>, TotpError> {
    let secs = u64::try_from(at.0 / 1000).unwrap_or_default();
    let step = with_secret(secret).build()?.check(code, secs);
    Ok(step.and_then(|step| i64::try_from(step).ok()))
}

/// What an app of this user needs.
///
/// # Errors
/// When `secret` is too short.
pub fn setup(secret: &[u8], username: &str) -> Result<SecondFactorSetup, SetupError> {
    let totp: Totp = with_secret(secret).with_issuer(Some(ISSUER)).with_account_name(username).build()?;
    let secret = totp.secret().to_base32();
    let groups: Vec<_> = secret.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    Ok(SecondFactorSetup { secret: groups.join(" "), qr: qr_code(&totp.to_url()?)? })
}

fn with_secret(secret: &[u8]) -> Builder {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_step_duration(STEP_SECS)
        .with_skew(SKEW)
        .with_secret(secret.to_vec())
}

/// Each run of dark modules is a rectangle of the path.
fn qr_code(text: &str) -> Result<QrCode, qrcode::types::QrError> {
    let code = qrcode::QrCode::with_error_correction_level(text, EcLevel::M)?;
    let size = code.width();
    let mut path = String::new();
    for (y, row) in code.to_colors().chunks(size).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run[0] == Color::Dark {
                write!(path, "M{x} {y}h{0}v1h-{0}z", run.len()).expect("writing to a string");
            }
            x += run.len();
        }
    }
    Ok(QrCode { size: size as u32, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That of RFC 6238, appendix B.
    const SECRET: &[u8] = b"12345678901234567890";

    fn at(secs: i64) -> UtcMillis {
        UtcMillis(secs * 1000)
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        // Its codes have 8 digits; these are the last 6.
        for (secs, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(step_of(SECRET, code, at(secs)).unwrap(), Some(secs / 30), "{code}");
        }
    }

    #[test]
    fn a_code_counts_one_step_early_and_one_late() {
        let code = "081804";
        let begin = 1_111_111_109 / 30 * 30;
        for (secs, counts) in [(-31, false), (-30, true), (0, true), (29, true), (59, true), (60, false)] {
            let step = step_of(SECRET, code, at(begin + secs)).unwrap();
            assert_eq!(step, counts.then_some(begin / 30), "{secs} s");
        }
    }

    #[test]
    fn what_is_no_code_is_not_accepted() {
        for code in ["", "08180", "0818040", "+81804", "08 1804", "０８１８０４", &"0".repeat(100_000)]
        {
            assert_eq!(step_of(SECRET, code, at(1_111_111_109)).unwrap(), None, "{code:.20}");
        }
        for at in [UtcMillis(i64::MIN), UtcMillis(-1), UtcMillis(i64::MAX)] {
            assert_eq!(step_of(SECRET, "000000", at).unwrap(), None);
        }
        assert!(step_of(b"short", "081804", at(0)).is_err());
    }

    #[test]
    fn an_app_gets_the_secret_as_text_and_as_an_image() {
        let setup = setup(SECRET, "ada.l").unwrap();
        assert_eq!(setup.secret, "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
        assert!((21..=177).contains(&setup.qr.size), "{}", setup.qr.size);
        // The upper left position mark: 7 dark modules, then one at either side.
        assert!(setup.qr.path.starts_with("M0 0h7v1h-7z"), "{}", setup.qr.path);
        assert!(setup.qr.path.contains("M0 1h1v1h-1zM6 1h1v1h-1z"));
        let dark = setup.qr.path.split('h').filter_map(|part| part.split('v').next()?.parse::<u32>().ok());
        let share = f64::from(dark.sum::<u32>()) / f64::from(setup.qr.size.pow(2));
        assert!((0.4..0.6).contains(&share), "{share}");
    }
}
