use serde::{Deserialize, Serialize};

/// The user's second factor. It may hold secrets, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    /// Whether signing in takes a code.
    pub is_on: bool,
    /// Whether this user needs one: they are an admin, and the server requires it of admins.
    pub is_required: bool,
    /// How many recovery codes are not used yet.
    pub recovery_codes_left: u32,
    /// What was begun and not confirmed yet.
    #[serde(default)]
    pub setup: Option<SecondFactorSetup>,
    /// Codes that were just made by a form without JavaScript, once.
    #[serde(default)]
    pub new_codes: Option<RecoveryCodes>,
}

/// What an authenticator app needs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactorSetup {
    /// The secret in base32, in groups of four, for apps without a camera.
    pub secret: String,
    /// The same with names as `otpauth://…`, as an image.
    pub qr: QrCode,
}

/// A QR code without its margin of 4 modules.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QrCode {
    /// Its width and height, in modules.
    pub size: u32,
    /// The dark modules, as the path of an SVG in which a module is one unit.
    pub path: String,
}

/// Codes that sign in once each in place of the app's, as text such as `k3vd-80zq-71fm-9d2p`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryCodes(pub Vec<String>);
