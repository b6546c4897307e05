use serde::{Deserialize, Serialize};

/// Where the VMs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// Real VMs, managed with Vagrant.
    Vagrant,
    /// A simulated fleet for demos and tests.
    Simulated,
}

impl ProviderKind {
    /// The name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            ProviderKind::Vagrant => "vagrant",
            ProviderKind::Simulated => "simulated",
        }
    }
}

/// Who may create an account once there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationMode {
    /// Everybody who reaches the server.
    Open,
    /// Who has an invitation of an admin.
    Invited,
    /// Nobody; admins create accounts.
    Closed,
}

impl RegistrationMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Open, Self::Invited, Self::Closed];
}

/// How what is entered in a page reaches the server, as far as the server can see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Over https, or from the server's own machine.
    #[default]
    Protected,
    /// Over http: others on the network can read it.
    Unencrypted,
    /// Over http, but the server is set for https: browsers do not keep its cookies, so nobody can sign in.
    HttpsRequired,
}

/// What every page needs to know about the running server, signed in or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Whether the VMs are real or simulated.
    pub provider: ProviderKind,
    /// Nobody has an account yet: the first one becomes the admin.
    pub needs_first_account: bool,
    /// Who may create an account otherwise.
    pub registration: RegistrationMode,
    /// The server's version, such as `0.1.0`.
    pub version: String,
    /// How the request for this reached the server.
    #[serde(default)]
    pub transport: Transport,
    /// Where users find the pages, such as `https://cloud.example.org`, if the server knows.
    #[serde(default)]
    pub public_url: Option<String>,
}
