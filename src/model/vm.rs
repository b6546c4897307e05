use super::{ApiError, FieldError, Image, OperationKind, OperationView, UtcMillis, VmFigures};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmStatus {
    /// An operation is queued or under way.
    Pending,
    Running,
    Stopped,
    Suspended,
    /// The last operation failed and left the VM in no usable state.
    Failed,
    /// The hypervisor has no such machine.
    NotCreated,
    /// The hypervisor does not say.
    Unknown,
}

impl VmStatus {
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Stopped,
        Self::Suspended,
        Self::Failed,
        Self::NotCreated,
        Self::Unknown,
    ];

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

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// What a person reads.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("A VM's name has 1 to 63 characters.")]
    Length,
    #[error("A VM's name has only letters, digits and hyphens, and no hyphen at either end.")]
    Characters,
    #[error(
        "A VM's name cannot consist of the digits 0-9 and the letters a-f only: Vagrant would take it for an id. \
         Add another letter or a hyphen."
    )]
    Hexadecimal,
}

impl VmName {
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

/// What a VM is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSpec {
    /// Key of an [`Image`].
    pub image: String,
    pub ram_mb: u32,
    pub cpu_cores: u32,
    pub disk_gb: u32,
}

/// The launch form, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    pub name: String,
    pub image: String,
    pub ram_mb: u32,
    pub cpu_cores: u32,
    pub disk_gb: u32,
}

impl Launch {
    /// What a form holds, sent or still being filled in. What is no number is 0, which every rule refuses in its
    /// own words.
    pub fn from_form(name: String, image: String, ram_mb: &str, cpu_cores: &str, disk_gb: &str) -> Self {
        let number = |text: &str| text.trim().parse().unwrap_or(0);
        Self { name, image, ram_mb: number(ram_mb), cpu_cores: number(cpu_cores), disk_gb: number(disk_gb) }
    }
}

/// What may be asked for at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub max_ram_mb: u32,
    pub max_cpu_cores: u32,
    pub max_disk_gb: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_ram_mb: 16 * 1024, max_cpu_cores: 8, max_disk_gb: 500 }
    }
}

/// Checks a launch form against the catalogue; the same on both sides.
///
/// # Errors
/// `Invalid`, with a text for every field that is wrong.
pub fn check_launch(launch: &Launch, images: &[Image], limits: Limits) -> Result<(VmName, VmSpec), ApiError> {
    let mut fields = Vec::new();
    let mut wrong = |field: &str, text: String| fields.push(FieldError { field: field.into(), text });
    let name = VmName::new(launch.name.trim());
    if let Err(error) = &name {
        wrong("name", error.to_string());
    }
    let image = images.iter().find(|image| image.key == launch.image);
    if image.is_none() {
        wrong("image", "Choose one of the images in the list.".into());
    }
    let (min_ram_mb, min_disk_gb) = image.map_or((128, 1), |i| (i.min_ram_mb, i.min_disk_gb));
    if !(min_ram_mb..=limits.max_ram_mb).contains(&launch.ram_mb) {
        wrong("ram_mb", format!("Memory is {min_ram_mb} to {} MB for this image.", limits.max_ram_mb));
    }
    if !(1..=limits.max_cpu_cores).contains(&launch.cpu_cores) {
        wrong("cpu_cores", format!("A VM has 1 to {} cores.", limits.max_cpu_cores));
    }
    if !(min_disk_gb..=limits.max_disk_gb).contains(&launch.disk_gb) {
        wrong("disk_gb", format!("The disk is {min_disk_gb} to {} GB for this image.", limits.max_disk_gb));
    }
    match name {
        Ok(name) if fields.is_empty() => Ok((
            name,
            VmSpec {
                image: launch.image.clone(),
                ram_mb: launch.ram_mb,
                cpu_cores: launch.cpu_cores,
                disk_gb: launch.disk_gb,
            },
        )),
        _ => Err(ApiError::invalid(fields)),
    }
}

/// A VM as a page shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmView {
    pub id: i64,
    pub name: String,
    pub owner_id: i64,
    pub owner_name: String,
    /// Label of the image it was launched from.
    pub os_type: String,
    pub spec: VmSpec,
    pub status: VmStatus,
    /// What is wrong with it and what to do about it.
    pub problem: Option<String>,
    pub ip_address: Option<String>,
    /// Where it comes from if it was not launched here.
    #[serde(default)]
    pub adopted: Option<Adopted>,
    pub created_at: UtcMillis,
    pub updated_at: UtcMillis,
    /// The newest operation, open or finished.
    pub operation: Option<OperationView>,
    /// What may be asked of it now, by the rules the server decides with.
    pub allowed: Vec<OperationKind>,
    /// The figures of the newest tick; all unknown while it does not run.
    pub figures: VmFigures,
}

impl VmView {
    /// What is typed to confirm that this VM is to be destroyed: the full path of an adopted one's project, the name of
    /// any other.
    pub fn to_confirm(&self) -> &str {
        self.adopted.as_ref().map_or(&self.name, |adopted| &adopted.directory)
    }
}

/// A machine of a person's own Vagrant project that was taken into the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// The full path of the project's folder.
    pub directory: String,
    /// Its name within the Vagrantfile.
    pub machine: String,
    /// Vagrant's name of what runs it: `virtualbox`, `libvirt`, …
    pub provider: String,
}

/// A machine that Vagrant knows on the server's host and that is not in the list yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoptable {
    /// Vagrant's id of it.
    pub id: String,
    pub machine: Adopted,
    /// What Vagrant knew last.
    pub status: VmStatus,
    /// A name that it could have in the list.
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
    fn a_name_of_hexadecimal_digits_only_is_refused() {
        assert_eq!(VmName::new("cafe"), Err(NameError::Hexadecimal));
        assert_eq!(VmName::new("db1"), Err(NameError::Hexadecimal));
        assert_eq!(VmName::new("web-1").unwrap().as_str(), "web-1");
        assert_eq!(VmName::new("WEB").unwrap().as_str(), "web");
    }

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for name in ["..", "a/b", "x y", "-x", "x-", "ü", "x\n", "x'"] {
            assert_eq!(VmName::new(name), Err(NameError::Characters), "{name}");
        }
        assert_eq!(VmName::new(&"x".repeat(64)), Err(NameError::Length));
        assert_eq!(VmName::new(""), Err(NameError::Length));
    }

    #[test]
    fn nonsense_in_the_form_is_named_field_by_field() {
        let launch =
            Launch { name: "..".into(), image: "beos".into(), ram_mb: 1, cpu_cores: 0, disk_gb: 100_000 };
        let error = check_launch(&launch, &[debian()], Limits::default()).unwrap_err();
        let named: Vec<_> = error.fields.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(named, ["name", "image", "ram_mb", "cpu_cores", "disk_gb"]);
    }

    #[test]
    fn the_images_own_minimum_counts() {
        let launch = Launch {
            name: "web-1".into(),
            image: "debian-12".into(),
            ram_mb: 256,
            cpu_cores: 1,
            disk_gb: 10,
        };
        let error = check_launch(&launch, &[debian()], Limits::default()).unwrap_err();
        assert_eq!(error.field("ram_mb"), Some("Memory is 512 to 16384 MB for this image."));
    }
}
