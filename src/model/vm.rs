use super::{AccessLevel, ApiError, FieldError, Image, OperationKind, OperationView, UtcMillis, VmUsage};
use serde::{Deserialize, Serialize};

/// The status of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmStatus {
    /// An operation is queued or running.
    Pending,
    /// The machine runs.
    Running,
    /// The machine is shut down or powered off.
    Stopped,
    /// The machine is suspended and can be resumed.
    Suspended,
    /// The last operation failed and left the VM in no usable state.
    Failed,
    /// The hypervisor does not have the machine.
    NotCreated,
    /// The hypervisor does not report a state.
    Unknown,
}

impl VmStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Stopped,
        Self::Suspended,
        Self::Failed,
        Self::NotCreated,
        Self::Unknown,
    ];

    /// The name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Suspended => "suspended",
            Self::Failed => "failed",
            Self::NotCreated => "not_created",
            Self::Unknown => "unknown",
        }
    }

    /// The inverse of [`Self::as_str`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotCreated => "not created",
            other => other.as_str(),
        }
    }
}

/// A name that is safe for Vagrant, for a host name and for a folder: 1 to 63 lower-case letters, digits and
/// hyphens, no hyphen at either end, not hexadecimal digits only (Vagrant would take it for a machine's id).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VmName(String);

/// Why a text is not a valid [`VmName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than 63 characters.
    #[error("The VM name must have 1 to 63 characters.")]
    Length,
    /// Contains a character that is not allowed, or a hyphen at either end.
    #[error("The VM name can have only letters, digits and hyphens, and no hyphen at either end.")]
    Characters,
    /// Could be mistaken for a Vagrant machine id.
    #[error(
        "The VM name cannot consist of only digits and the letters a to f: Vagrant would take it for an id. \
         Add another letter or a hyphen."
    )]
    Hexadecimal,
}

impl VmName {
    /// Validates a name after converting it to lower case.
    ///
    /// # Errors
    /// The rule that `name` breaks.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let name = name.to_ascii_lowercase();
        if name.is_empty() || name.len() > 63 {
            Err(NameError::Length)
        } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            || name.starts_with('-')
            || name.ends_with('-')
        {
            Err(NameError::Characters)
        } else if name.bytes().all(|b| b.is_ascii_hexdigit()) {
            Err(NameError::Hexadecimal)
        } else {
            Ok(Self(name))
        }
    }

    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for VmName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(&name)
    }
}

impl From<VmName> for String {
    fn from(name: VmName) -> Self {
        name.0
    }
}

impl std::fmt::Display for VmName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The resources of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSpec {
    /// Key of an [`Image`].
    pub image: String,
    /// Memory in MB.
    pub ram_mb: u32,
    /// The number of virtual cores.
    pub cpu_cores: u32,
    /// The size of the disk in GB; it never shrinks.
    pub disk_gb: u32,
}

/// Files for the guest at its creation; they run only inside it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestSetup {
    /// A shell script that runs once, as root.
    #[serde(default)]
    pub provision_script: Option<String>,
    /// User data for images with cloud-init.
    #[serde(default)]
    pub user_data: Option<String>,
}

impl GuestSetup {
    /// Whether there is neither a script nor user data.
    pub fn is_empty(&self) -> bool {
        self.provision_script.is_none() && self.user_data.is_none()
    }
}

/// The maximum size of such a file.
pub const GUEST_FILE_MAX_BYTES: usize = 16 * 1024;

/// The launch form before validation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The VM's name; must be a valid [`VmName`] after trimming.
    pub name: String,
    /// Key of an [`Image`].
    pub image: String,
    /// Memory in MB, from the image's minimum to [`Limits::max_ram_mb`].
    pub ram_mb: u32,
    /// Virtual cores, from 1 to [`Limits::max_cpu_cores`].
    pub cpu_cores: u32,
    /// Disk in GB, from the image's minimum to [`Limits::max_disk_gb`].
    pub disk_gb: u32,
    /// See [`GuestSetup::provision_script`]; blank counts as `None`.
    #[serde(default)]
    pub provision_script: Option<String>,
    /// See [`GuestSetup::user_data`]; blank counts as `None`.
    #[serde(default)]
    pub user_data: Option<String>,
}

impl Launch {
    /// From the fields of a form. A field that is not a number becomes 0, which the validation rejects with
    /// that field's message.
    pub fn from_form(name: String, image: String, ram_mb: &str, cpu_cores: &str, disk_gb: &str) -> Self {
        Self {
            name,
            image,
            ram_mb: parse_whole(ram_mb),
            cpu_cores: parse_whole(cpu_cores),
            disk_gb: parse_whole(disk_gb),
            ..Self::default()
        }
    }

    /// The requested size, not validated.
    pub fn spec(&self) -> VmSpec {
        VmSpec {
            image: self.image.clone(),
            ram_mb: self.ram_mb,
            cpu_cores: self.cpu_cores,
            disk_gb: self.disk_gb,
        }
    }
}

/// The whole number in a field, or 0.
pub fn parse_whole(text: &str) -> u32 {
    text.trim().parse().unwrap_or(0)
}

/// New resources for a VM; `None` keeps the current value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resize {
    /// Memory in MB.
    #[serde(default)]
    pub ram_mb: Option<u32>,
    /// The number of virtual cores.
    #[serde(default)]
    pub cpu_cores: Option<u32>,
    /// The size of the disk in GB; it can only grow.
    #[serde(default)]
    pub disk_gb: Option<u32>,
}

/// The maximum resources of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in MB; 16384 by default.
    pub max_ram_mb: u32,
    /// Virtual cores; 8 by default.
    pub max_cpu_cores: u32,
    /// Disk in GB; 500 by default.
    pub max_disk_gb: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_ram_mb: 16 * 1024, max_cpu_cores: 8, max_disk_gb: 500 }
    }
}

/// Validates a launch form against the catalogue; runs in the browser and on the server.
///
/// # Errors
/// `Invalid`, with a message for every invalid field.
pub fn check_launch(
    launch: &Launch,
    images: &[Image],
    limits: Limits,
) -> Result<(VmName, VmSpec, GuestSetup), ApiError> {
    let mut fields = Vec::new();
    let wrong = |field: &str, text: String| FieldError { field: field.into(), text };
    let name = VmName::new(launch.name.trim());
    if let Err(error) = &name {
        fields.push(wrong("name", error.to_string()));
    }
    let image = images.iter().find(|image| image.key == launch.image);
    if image.is_none() {
        fields.push(wrong("image", "Choose an image from the list.".into()));
    }
    let spec = launch.spec();
    fields.extend(wrong_sizes(&spec, image, limits));
    let setup = GuestSetup {
        provision_script: filled(launch.provision_script.as_deref()),
        user_data: filled(launch.user_data.as_deref()),
    };
    for (field, text) in [("provision_script", &setup.provision_script), ("user_data", &setup.user_data)] {
        if text.as_ref().is_some_and(|text| text.len() > GUEST_FILE_MAX_BYTES || text.contains('\0')) {
            let most = GUEST_FILE_MAX_BYTES / 1024;
            fields.push(wrong(field, format!("The text can have at most {most} KB.")));
        }
    }
    if setup.user_data.as_ref().is_some_and(|text| !text.starts_with('#')) {
        let text = "cloud-init user data must start with #cloud-config, or with #! and a shell.";
        fields.push(wrong("user_data", text.into()));
    }
    match name {
        Ok(name) if fields.is_empty() => Ok((name, spec, setup)),
        _ => Err(ApiError::invalid(fields)),
    }
}

/// Converts the line ends of HTTP forms to those of a shell. Text of only white space becomes `None`.
fn filled(text: Option<&str>) -> Option<String> {
    let text = text?.replace("\r\n", "\n");
    (!text.trim().is_empty()).then_some(text)
}

/// Validates a change of resources; runs in the browser and on the server. `now` is what the VM has, or has been
/// changed to.
///
/// # Errors
/// `Invalid`, with a message for every invalid field.
pub fn check_resize(
    resize: Resize,
    now: &VmSpec,
    image: Option<&Image>,
    limits: Limits,
) -> Result<VmSpec, ApiError> {
    let spec = VmSpec {
        image: now.image.clone(),
        ram_mb: resize.ram_mb.unwrap_or(now.ram_mb),
        cpu_cores: resize.cpu_cores.unwrap_or(now.cpu_cores),
        disk_gb: resize.disk_gb.unwrap_or(now.disk_gb),
    };
    let mut fields = wrong_sizes(&spec, image, limits);
    if spec.disk_gb < now.disk_gb && !fields.iter().any(|wrong| wrong.field == "disk_gb") {
        let text = format!("Disks can only grow: this one has {} GB.", now.disk_gb);
        fields.push(FieldError { field: "disk_gb".into(), text });
    }
    if fields.is_empty() { Ok(spec) } else { Err(ApiError::invalid(fields)) }
}

fn wrong_sizes(spec: &VmSpec, image: Option<&Image>, limits: Limits) -> Vec<FieldError> {
    let mut fields = Vec::new();
    let mut wrong = |field: &str, text: String| fields.push(FieldError { field: field.into(), text });
    let (min_ram_mb, min_disk_gb) = image.map_or((128, 1), |i| (i.min_ram_mb, i.min_disk_gb));
    if !(min_ram_mb..=limits.max_ram_mb).contains(&spec.ram_mb) {
        wrong("ram_mb", format!("Memory must be {min_ram_mb} to {} MB for this image.", limits.max_ram_mb));
    }
    if !(1..=limits.max_cpu_cores).contains(&spec.cpu_cores) {
        wrong("cpu_cores", format!("A VM can have 1 to {} cores.", limits.max_cpu_cores));
    }
    if !(min_disk_gb..=limits.max_disk_gb).contains(&spec.disk_gb) {
        wrong(
            "disk_gb",
            format!("The disk must have {min_disk_gb} to {} GB for this image.", limits.max_disk_gb),
        );
    }
    fields
}

/// A name that is safe as an argument of Vagrant's: 1 to 63 letters, digits, dots, hyphens and underscores, a letter
/// or digit first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotName(String);

impl SnapshotName {
    /// Validates a snapshot name.
    ///
    /// # Errors
    /// `Invalid` for the field `snapshot`.
    pub fn new(name: &str) -> Result<Self, ApiError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let right = (1..=63).contains(&name.len())
            && name.bytes().all(allowed)
            && name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if right {
            return Ok(Self(name.to_owned()));
        }
        let text = "The snapshot name must have 1 to 63 letters, digits, dots, hyphens or underscores and start with a \
                    letter or digit.";
        Err(ApiError::invalid_field("snapshot", text))
    }

    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SnapshotName {
    type Error = ApiError;

    fn try_from(name: String) -> Result<Self, ApiError> {
        Self::new(&name)
    }
}

impl From<SnapshotName> for String {
    fn from(name: SnapshotName) -> Self {
        name.0
    }
}

/// A snapshot of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The snapshot's name, unique within its VM.
    pub name: String,
    /// When it was saved, if known.
    pub saved_at: Option<UtcMillis>,
}

/// A version of a VM's Vagrantfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VagrantfileVersion {
    /// The version's id; newer versions have higher ids.
    pub id: i64,
    /// When the server first read this version.
    pub seen_at: UtcMillis,
    /// The full text of the file.
    pub text: String,
}

/// The kind of a leftover resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrphanKind {
    /// A machine of this server without a VM record.
    Domain,
    /// A folder with neither a VM record nor a machine.
    Directory,
    /// A VM record without a machine.
    Row,
}

/// A leftover resource of this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// What is left over.
    pub kind: OrphanKind,
    /// The VM's folder, which identifies it: `user1-web-1`.
    pub folder: String,
    /// The name of the machine or VM.
    pub name: String,
    /// The owner's user name; `None` if the account no longer exists.
    pub owner_name: Option<String>,
    /// The VM of the record.
    pub vm_id: Option<i64>,
    /// The hypervisor's id of the domain.
    pub domain_uuid: Option<String>,
    /// Whether an admin can import it as a VM of its owner.
    pub can_adopt: bool,
    /// Whether an admin can remove it.
    pub can_clean_up: bool,
    /// What it is and what an admin can do.
    pub text: String,
}

/// A VM, as shown by a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmView {
    /// The VM's id, unique on this server.
    pub id: i64,
    /// The VM's name, unique among its owner's VMs.
    pub name: String,
    /// The account id of the owner.
    pub owner_id: i64,
    /// The owner's user name.
    pub owner_name: String,
    /// What the caller may do with it.
    #[serde(default)]
    pub access: AccessLevel,
    /// Label of the image it was launched from.
    pub os_type: String,
    /// The current resources; 0 while an import finds them out.
    pub spec: VmSpec,
    /// The resources from the next start on, if they change.
    #[serde(default)]
    pub next_spec: Option<VmSpec>,
    /// The current status; `Pending` during an operation.
    pub status: VmStatus,
    /// The problem and what to do about it.
    pub problem: Option<String>,
    /// The IP address; `None` while unknown.
    pub ip_address: Option<String>,
    /// Its origin, if it was imported.
    #[serde(default)]
    pub adopted: Option<Adopted>,
    /// Whether it starts with the server.
    #[serde(default)]
    pub auto_start: bool,
    /// When it is scheduled to shut down.
    #[serde(default)]
    pub stop_at: Option<UtcMillis>,
    /// When it stopped unexpectedly; cleared when it runs again or the alert is acknowledged.
    #[serde(default)]
    pub unexpected_stop_at: Option<UtcMillis>,
    /// When its launch or import was requested.
    pub created_at: UtcMillis,
    /// When its record last changed; increases with every change.
    pub updated_at: UtcMillis,
    /// The newest operation, open or finished.
    pub operation: Option<OperationView>,
    /// The operations that it and the caller's access allow now, by the rules of the server.
    pub allowed: Vec<OperationKind>,
    /// The metrics of the newest tick; all unknown while it does not run.
    #[serde(rename = "figures")]
    pub usage: VmUsage,
}

impl VmView {
    /// What is typed to confirm destroying it: the full project path of an imported VM, else the name.
    pub fn to_confirm(&self) -> &str {
        self.adopted.as_ref().map_or(&self.name, |adopted| &adopted.directory)
    }

    /// Whether the next start is to grow its disk.
    pub fn disk_will_grow(&self) -> bool {
        self.next_spec.as_ref().is_some_and(|next| next.disk_gb > self.spec.disk_gb)
    }
}

/// A user with whom a VM is shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmShare {
    /// The user's account id.
    pub account_id: i64,
    /// The user's name.
    pub username: String,
    /// [`AccessLevel::View`] or [`AccessLevel::Operate`].
    pub access: AccessLevel,
    /// Since when.
    pub shared_at: UtcMillis,
}

/// The origin of an imported VM: a machine of a user's own Vagrant project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// The full path of the project's folder.
    pub directory: String,
    /// Its name in the Vagrantfile.
    pub machine: String,
    /// The Vagrant provider: `virtualbox`, `libvirt`, …
    pub provider: String,
}

/// A Vagrant machine of the host that can be imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoptable {
    /// Its Vagrant id.
    pub id: String,
    /// Where the machine comes from.
    pub machine: Adopted,
    /// Its last state known to Vagrant.
    pub status: VmStatus,
    /// A suggested VM name.
    pub suggested_name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian() -> Image {
        Image {
            key: "debian-12".into(),
            label: "Debian 12".into(),
            vagrant_box: "generic/debian12".into(),
            box_url: None,
            min_ram_mb: 512,
            min_disk_gb: 10,
        }
    }

    #[test]
    fn a_name_of_hexadecimal_digits_only_is_rejected() {
        assert_eq!(VmName::new("cafe"), Err(NameError::Hexadecimal));
        assert_eq!(VmName::new("db1"), Err(NameError::Hexadecimal));
        assert_eq!(VmName::new("web-1").unwrap().as_str(), "web-1");
        assert_eq!(VmName::new("WEB").unwrap().as_str(), "web");
    }

    #[test]
    fn a_name_that_could_leave_its_folder_is_rejected() {
        for name in ["..", "a/b", "x y", "-x", "x-", "ü", "x\n", "x'"] {
            assert_eq!(VmName::new(name), Err(NameError::Characters), "{name}");
        }
        assert_eq!(VmName::new(&"x".repeat(64)), Err(NameError::Length));
        assert_eq!(VmName::new(""), Err(NameError::Length));
    }

    #[test]
    fn nonsense_in_the_form_is_named_field_by_field() {
        let launch = Launch {
            name: "..".into(),
            image: "beos".into(),
            ram_mb: 1,
            cpu_cores: 0,
            disk_gb: 100_000,
            provision_script: Some("x".repeat(GUEST_FILE_MAX_BYTES + 1)),
            user_data: Some("packages: [x]".into()),
        };
        let error = check_launch(&launch, &[debian()], Limits::default()).unwrap_err();
        let named: Vec<_> = error.fields.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(
            named,
            ["name", "image", "ram_mb", "cpu_cores", "disk_gb", "provision_script", "user_data"]
        );
    }

    #[test]
    fn the_images_own_minimum_counts() {
        let launch = Launch {
            name: "web-1".into(),
            image: "debian-12".into(),
            ram_mb: 256,
            cpu_cores: 1,
            disk_gb: 10,
            ..Launch::default()
        };
        let error = check_launch(&launch, &[debian()], Limits::default()).unwrap_err();
        assert_eq!(error.field("ram_mb"), Some("Memory must be 512 to 16384 MB for this image."));
    }

    #[test]
    fn a_disk_grows_and_never_shrinks() {
        let now = VmSpec { image: "debian-12".into(), ram_mb: 1024, cpu_cores: 2, disk_gb: 20 };
        let check = |resize| check_resize(resize, &now, Some(&debian()), Limits::default());
        let grown = check(Resize { disk_gb: Some(40), ..Resize::default() }).unwrap();
        assert_eq!((grown.ram_mb, grown.cpu_cores, grown.disk_gb), (1024, 2, 40));
        let error = check(Resize { disk_gb: Some(19), ram_mb: Some(1), cpu_cores: None }).unwrap_err();
        assert_eq!(error.field("disk_gb"), Some("Disks can only grow: this one has 20 GB."));
        assert!(error.field("ram_mb").is_some());
    }

    #[test]
    fn a_snapshots_name_is_no_option_and_no_path() {
        for name in ["", "-x", ".x", "a b", "a/b", "ü", "x\n", &"x".repeat(64)] {
            assert!(SnapshotName::new(name).is_err(), "{name:?}");
        }
        assert_eq!(SnapshotName::new("before-upgrade_1.2").unwrap().as_str(), "before-upgrade_1.2");
    }
}
