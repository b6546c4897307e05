use serde::{Deserialize, Serialize};

/// What a user may do with a VM. Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLevel {
    /// See its metrics, alerts, events, operations and snapshots.
    #[default]
    View,
    /// Also start, stop and suspend it, schedule its shutdown, acknowledge its alerts, and save, restore and delete
    /// snapshots.
    Operate,
    /// Everything: also change its resources and settings, share it and destroy it. For the owner and admins.
    Own,
}

impl AccessLevel {
    /// Those that an owner can grant.
    pub const GRANTED: [Self; 2] = [Self::View, Self::Operate];

    /// The name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Operate => "operate",
            Self::Own => "own",
        }
    }

    /// The level of this name, if an owner can grant it.
    pub fn parse_granted(text: &str) -> Option<Self> {
        Self::GRANTED.into_iter().find(|level| level.as_str() == text)
    }
}
