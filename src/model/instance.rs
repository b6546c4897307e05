use serde::{Deserialize, Serialize};

/// Where the VMs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    Vagrant,
    Simulated,
}

impl ProviderKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ProviderKind::Vagrant => "vagrant",
            ProviderKind::Simulated => "simulated",
        }
    }
}

/// What every page needs to know about the running server, signed in or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub provider: ProviderKind,
    /// Nobody has an account yet: the first one becomes the admin.
    pub needs_first_account: bool,
    pub version: String,
}
