//! `.vm_info`: a VM's state as a file in its folder, for scripts and other tools.
//!
//! A JSON object, written to a temporary file and renamed, so that readers never see a partial file. Unknown keys
//! survive a rewrite. A file that cannot be parsed is kept beside the new one, and an event is recorded.

use crate::model::{UtcMillis, VmStatus, VmView, rounded};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

pub const FILE_NAME: &str = ".vm_info";
const TEMPORARY_NAME: &str = ".vm_info.new";
/// A larger file is not one of ours.
const MAX_BYTES: u64 = 1024 * 1024;

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Written,
    /// It was not there.
    WasMissing,
    /// It could not be read as a JSON object; it is kept under this name.
    WasCorrupt(PathBuf),
    /// The VM's folder is not there, so neither is the file now.
    NoFolder,
    /// The VM was destroyed in the meantime.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The VM has none yet.
    New,
    Existing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Metrics only: the next tick writes them again.
    Refresh,
    /// Status or specification changed: on the disk before this returns.
    Synced,
}

/// Writes every VM's file; one writer at a time, so that a folder is never written to while it is removed.
#[derive(Debug, Default)]
pub struct VmInfoFiles {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// What we wrote last, so that an untouched file need not be read again for the keys of others.
    written: HashMap<i64, Written>,
    removed: HashSet<i64>,
}

#[derive(Debug)]
struct Written {
    signature: Signature,
    others: Map<String, Value>,
    status: VmStatus,
    updated_at: UtcMillis,
}

/// Distinguishes a file changed by others from the one we wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Signature {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

#[derive(Serialize)]
struct VmInfo<'a> {
    name: &'a str,
    os_type: &'a str,
    ram_mb: u32,
    disk_gb: u32,
    cpu_cores: u32,
    status: &'a str,
    ip_address: Option<&'a str>,
    created_at: String,
    updated_at: String,
    uptime_seconds: Option<u64>,
    cpu_percent: Option<f64>,
    memory_percent: Option<f64>,
    disk_percent: Option<f64>,
    network_rx_mb: Option<f64>,
    network_tx_mb: Option<f64>,
    last_metrics_update: Option<String>,
    #[serde(flatten)]
    others: &'a Map<String, Value>,
}

impl VmInfoFiles {
    /// Writes the file of `vm` in `folder`. Blocking.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn write(
        &self,
        folder: &Path,
        vm: &VmView,
        sampled_at: Option<UtcMillis>,
        expect: Expect,
        durability: Durability,
    ) -> io::Result<Outcome> {
        let mut known = self.lock();
        if known.removed.contains(&vm.id) {
            return Ok(Outcome::Gone);
        }
        let path = folder.join(FILE_NAME);
        let last = known.written.get(&vm.id);
        // The VM has moved on since `vm` was read, and its file with it.
        if last.is_some_and(|last| last.updated_at > vm.updated_at) {
            return Ok(Outcome::Written);
        }
        let durability =
            if last.is_some_and(|last| last.status == vm.status) { durability } else { Durability::Synced };
        let (others, outcome) = match last {
            Some(last) if Signature::of(&path).is_ok_and(|signature| signature == last.signature) => {
                (last.others.clone(), Outcome::Written)
            }
            _ => match keys_of_others(&path) {
                Ok(others) => (others, Outcome::Written),
                Err(Unreadable::Missing) if !folder.is_dir() => return Ok(Outcome::NoFolder),
                Err(Unreadable::Missing) => {
                    let outcome = if expect == Expect::New { Outcome::Written } else { Outcome::WasMissing };
                    (Map::new(), outcome)
                }
                Err(Unreadable::Corrupt) => {
                    let aside =
                        folder.join(format!("{FILE_NAME}.corrupt-{}", super::super::database::now().0));
                    fs::rename(&path, &aside)?;
                    (Map::new(), Outcome::WasCorrupt(aside))
                }
                Err(Unreadable::Io(error)) => return Err(error),
            },
        };
        let f = &vm.usage;
        let info = VmInfo {
            name: &vm.name,
            os_type: &vm.os_type,
            ram_mb: vm.spec.ram_mb,
            disk_gb: vm.spec.disk_gb,
            cpu_cores: vm.spec.cpu_cores,
            status: vm.status.as_str(),
            ip_address: vm.ip_address.as_deref(),
            created_at: vm.created_at.to_rfc3339(),
            updated_at: vm.updated_at.to_rfc3339(),
            uptime_seconds: f.uptime_seconds,
            cpu_percent: f.cpu_percent.map(rounded),
            memory_percent: f.memory_percent.map(rounded),
            disk_percent: f.disk_percent.map(rounded),
            network_rx_mb: f.network_rx_mb.map(rounded),
            network_tx_mb: f.network_tx_mb.map(rounded),
            last_metrics_update: sampled_at.map(UtcMillis::to_rfc3339),
            others: &others,
        };
        let mut text = serde_json::to_vec_pretty(&info)?;
        text.push(b'\n');
        replace(folder, &path, &text, durability)?;
        let signature = Signature::of(&path)?;
        let written = Written { signature, others, status: vm.status, updated_at: vm.updated_at };
        known.written.insert(vm.id, written);
        Ok(outcome)
    }

    /// Removes a destroyed VM's folder and everything in it; from now on nothing is written there. Blocking.
    ///
    /// # Errors
    /// When the disk says no; a folder that is not there is no error.
    pub fn remove_folder(&self, folder: &Path, vm_id: i64) -> io::Result<()> {
        let mut known = self.lock();
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        known.written.remove(&vm_id);
        known.removed.insert(vm_id);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Unreadable {
    Missing,
    Corrupt,
    Io(io::Error),
}

/// The keys in the file that are not ours.
fn keys_of_others(path: &Path) -> Result<Map<String, Value>, Unreadable> {
    let describe = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unreadable::Missing,
        io::ErrorKind::InvalidData => Unreadable::Corrupt,
        _ => Unreadable::Io(error),
    };
    let metadata = fs::symlink_metadata(path).map_err(describe)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(Unreadable::Corrupt);
    }
    let text = fs::read_to_string(path).map_err(describe)?;
    let mut object: Map<String, Value> = serde_json::from_str(&text).map_err(|_| Unreadable::Corrupt)?;
    for key in OWN_KEYS {
        object.remove(key);
    }
    Ok(object)
}

const OWN_KEYS: [&str; 16] = [
    "name",
    "os_type",
    "ram_mb",
    "disk_gb",
    "cpu_cores",
    "status",
    "ip_address",
    "created_at",
    "updated_at",
    "uptime_seconds",
    "cpu_percent",
    "memory_percent",
    "disk_percent",
    "network_rx_mb",
    "network_tx_mb",
    "last_metrics_update",
];

fn replace(folder: &Path, path: &Path, text: &[u8], durability: Durability) -> io::Result<()> {
    let temporary = folder.join(TEMPORARY_NAME);
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    // One that a crash has left may have other rights.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(&temporary, path)?;
    if durability == Durability::Synced {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

impl Signature {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{VmSpec, VmUsage};

    fn vm() -> VmView {
        VmView {
            id: 3,
            name: "web-1".into(),
            owner_id: 1,
            owner_name: "ada".into(),
            os_type: "Debian 12".into(),
            spec: VmSpec { image: "debian-12".into(), ram_mb: 512, cpu_cores: 1, disk_gb: 10 },
            next_spec: None,
            auto_start: false,
            stop_at: None,
            unexpected_stop_at: None,
            status: VmStatus::Running,
            problem: None,
            ip_address: None,
            adopted: None,
            created_at: UtcMillis(0),
            updated_at: UtcMillis(1000),
            operation: None,
            access: crate::model::AccessLevel::Own,
            allowed: vec![],
            usage: VmUsage { cpu_percent: Some(12.3456), ..VmUsage::default() },
        }
    }

    fn write(files: &VmInfoFiles, folder: &Path) -> Outcome {
        files.write(folder, &vm(), Some(UtcMillis(5000)), Expect::Existing, Durability::Refresh).unwrap()
    }

    #[test]
    fn nobody_else_reads_the_file_even_if_it_was_readable() {
        let folder = tempfile::tempdir().unwrap();
        for readable in [None, Some(FILE_NAME), Some(TEMPORARY_NAME)] {
            if let Some(name) = readable {
                let file = folder.path().join(name);
                fs::write(&file, "{}").unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
            }
            write(&VmInfoFiles::default(), folder.path());
            let mode = folder.path().join(FILE_NAME).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{readable:?}");
        }
    }

    fn read(folder: &Path) -> Map<String, Value> {
        serde_json::from_str(&fs::read_to_string(folder.join(FILE_NAME)).unwrap()).unwrap()
    }

    #[test]
    fn it_holds_the_keys_of_the_contract_in_their_order_and_null_for_the_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let files = VmInfoFiles::default();
        files.write(folder.path(), &vm(), Some(UtcMillis(5000)), Expect::New, Durability::Synced).unwrap();
        let text = fs::read_to_string(folder.path().join(FILE_NAME)).unwrap();
        let keys: Vec<_> =
            text.lines().filter_map(|l| l.strip_prefix("  \"")?.split_once('"').map(|k| k.0)).collect();
        assert_eq!(keys, OWN_KEYS, "indented by two spaces");
        let object = read(folder.path());
        assert_eq!(object["cpu_percent"], 12.35);
        assert_eq!(object["memory_percent"], Value::Null);
        assert_eq!(object["last_metrics_update"], "1970-01-01T00:00:05Z");
    }

    #[test]
    fn keys_of_others_survive_even_when_they_come_between_two_writes() {
        let folder = tempfile::tempdir().unwrap();
        let files = VmInfoFiles::default();
        assert_eq!(write(&files, folder.path()), Outcome::WasMissing);
        let mut object = read(folder.path());
        object.insert("team".into(), "blue".into());
        fs::write(folder.path().join(FILE_NAME), serde_json::to_vec(&object).unwrap()).unwrap();
        assert_eq!(write(&files, folder.path()), Outcome::Written);
        assert_eq!(write(&files, folder.path()), Outcome::Written);
        assert_eq!(read(folder.path())["team"], "blue");
    }

    #[test]
    fn a_truncated_file_is_rebuilt_and_kept_beside() {
        let folder = tempfile::tempdir().unwrap();
        let files = VmInfoFiles::default();
        for broken in ["{\"name\": \"web", "", "[]", "\u{0}"] {
            fs::write(folder.path().join(FILE_NAME), broken).unwrap();
            let Outcome::WasCorrupt(aside) = write(&files, folder.path()) else { panic!("{broken:?}") };
            assert_eq!(fs::read_to_string(&aside).unwrap(), broken);
            fs::remove_file(aside).unwrap();
            assert_eq!(read(folder.path())["name"], "web-1");
        }
        fs::write(folder.path().join(FILE_NAME), [0xff, 0xfe]).unwrap();
        assert!(matches!(write(&files, folder.path()), Outcome::WasCorrupt(_)));
    }

    #[test]
    fn a_folder_that_is_gone_stays_gone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("user1-web-1");
        let files = VmInfoFiles::default();
        assert_eq!(write(&files, &folder), Outcome::NoFolder);
        fs::create_dir(&folder).unwrap();
        files.remove_folder(&folder, 3).unwrap();
        fs::create_dir(&folder).unwrap();
        assert_eq!(write(&files, &folder), Outcome::Gone);
    }
}
