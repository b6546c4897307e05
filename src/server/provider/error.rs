//! Errors of a provider.

/// Why an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineErrorKind {
    VagrantMissing,
    VagrantfileBroken,
    ConfigInvalid,
    BoxMissing,
    NotCreated,
    /// Another command holds the machine; trying again later helps.
    Busy,
    /// A disk of an earlier machine with this name is still there.
    DiskExists,
    /// A domain with this name exists that is not this machine.
    NameTaken,
    HypervisorUnreachable,
    BootTimeout,
    ProvisionerFailed,
    /// A trigger of the Vagrantfile ended the command.
    TriggerFailed,
    Interrupted,
    /// A user cancelled it.
    Cancelled,
    TimedOut,
    DiskFull,
    /// Not possible with this machine; trying again does not help.
    Unsupported,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct MachineError {
    pub kind: MachineErrorKind,
    /// What happened and what to do, for the user.
    pub text: String,
    /// Vagrant's error class and last words, for the log.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ReadError {
    /// What happened and what to do, as a message for users.
    pub text: String,
    /// The tool's own words, for the log.
    pub detail: String,
}
