//! Types and rules shared by browser and server. No clock, no I/O, no imports of other modules of the project.
#![warn(missing_docs)]

mod access;
mod alert;
mod error;
mod event;
mod health;
mod image;
mod instance;
mod metrics;
mod notification;
mod number;
mod operation;
mod quota;
mod rule;
mod second_factor;
mod ssh_key;
mod terminal;
mod usage;
mod user;
mod utc;
mod vm;

pub use access::AccessLevel;
pub use alert::{ALERTS_PER_PAGE, Alert, AlertMetric, Comparison};
pub use error::{ApiError, ErrorCode, FieldError};
pub use event::{
    Event, EventCategory, EventFilter, EventOrigin, EventPage, EventQuery, Severity, SeverityCounts,
};
pub use health::{
    CollectorError, CollectorHealth, CollectorState, Sealing, StorageOutage, StoreHealth, TickMillis,
    VmsBySource,
};
pub use image::Image;
pub use instance::{Instance, ProviderKind, RegistrationMode, Transport};
pub use metrics::{
    Charts, HostUsage, Live, Metric, MetricHistory, MetricPoint, MetricRange, MetricStatistics, Series,
    VmMetrics,
};
pub use notification::{Channel, Delivery, DeliveryState, NotificationSettings, check_webhook_url};
pub use number::{rounded, tenths};
pub use operation::{OperationKind, OperationState, OperationView, Requested, VmOutcome};
pub use quota::{Quota, QuotaCheck, price};
pub use rule::{
    AlertRule, QuietHours, RULE_MAX_FOR_SECS, RULE_MAX_REPEAT_MINUTES, RuleForm, RuleScope, in_whole_units,
    time_of_day,
};
pub use second_factor::{QrCode, RecoveryCodes, SecondFactor, SecondFactorSetup};
pub use ssh_key::{SSH_KEY_MAX_BYTES, SSH_KEY_NAME_MAX_CHARS, SSH_KEYS_MAX, SshGateway, SshKey};
pub use terminal::{
    TERMINAL_TICKET_SECS, TERMINAL_WINDOW_BYTES, TerminalHello, TerminalNotice, TerminalRequest,
    TerminalSize, TerminalTicket, TerminalView, VmTerminals,
};
pub use usage::{Source, Sources, VmUsage};
pub use user::{
    Account, CurrentUser, DeviceKind, EMAIL_INVALID, INVITATION_MAX_CREDITS, INVITATION_MAX_DAYS,
    INVITATION_NOTE_MAX_CHARS, Invitation, OneTimeLink, PASSWORD_MAX_CHARS, PASSWORD_MIN_CHARS, Role,
    SignedInDevice, Theme, browser_name, check_password, check_registration,
};
pub use utc::UtcMillis;
pub use vm::{
    Adoptable, Adopted, GUEST_FILE_MAX_BYTES, GuestSetup, Launch, Limits, NameError, Orphan, OrphanKind,
    Resize, Snapshot, SnapshotName, VagrantfileVersion, VmName, VmShare, VmSpec, VmStatus, VmView,
    check_launch, check_resize, parse_whole,
};
