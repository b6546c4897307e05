use serde::{Deserialize, Serialize};

/// An entry of the images catalogue: what a VM can be launched from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Stable name in forms and rows, such as `debian-12`.
    pub key: String,
    /// The name shown to users, such as `Debian 12`.
    pub label: String,
    /// Vagrant's name of the box, such as `generic/debian12`.
    #[serde(rename = "box")]
    pub vagrant_box: String,
    /// Where the box comes from when Vagrant cannot find it by name.
    #[serde(default)]
    pub box_url: Option<String>,
    /// The minimum memory of a VM with this image, in MB.
    pub min_ram_mb: u32,
    /// The minimum disk of a VM with this image, in GB.
    pub min_disk_gb: u32,
}
