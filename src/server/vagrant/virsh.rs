//! Operations that Vagrant lacks and libvirt provides: growing the disk of a machine that is off, listing snapshots,
//! and finding and removing our machines whose folder is gone.

use super::driver::Vagrant;
use crate::{
    model::{Snapshot, UtcMillis, VmSpec},
    server::{
        child_process,
        provider::{OwnedDomain, ReadError},
    },
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;

/// No question or order takes longer; growing a disk writes a few blocks.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// What the names of our domains begin with.
const OUR_PREFIX: &str = "twarga-user";
/// What vagrant-libvirt writes into a domain's description, in front of the Vagrantfile's path.
const SOURCE: &str = "Source: ";

impl Vagrant {
    async fn virsh(&self, arguments: &[&str]) -> Result<String, ReadError> {
        let failed = |detail: String| ReadError {
            text: format!("libvirt did not do what was asked ({}).", arguments.first().unwrap_or(&"")),
            detail,
        };
        let output = child_process::command(&self.options.virsh)
            .args(["--quiet", "--connect", &self.options.libvirt_uri])
            .args(arguments)
            .kill_on_drop(true)
            .output();
        match timeout(TIME_LIMIT, output).await {
            Err(_) => Err(failed("virsh was killed at its time limit".into())),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Ok(Ok(output)) if output.status.success() => {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Ok(Ok(output)) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }

    async fn statistics(&self, uuid: &str) -> Result<Statistics, ReadError> {
        let groups = ["--state", "--balloon", "--vcpu", "--block"];
        self.virsh(&[&["domstats", "--raw"], &groups[..], &[uuid]].concat()).await.map(Statistics)
    }

    /// Whether no QEMU process runs for the domain.
    pub(super) async fn is_domain_off(&self, uuid: &str) -> Result<bool, ReadError> {
        Ok(self.statistics(uuid).await?.is_off())
    }

    /// Powers a domain off, whatever its guest does.
    pub(super) async fn destroy_domain(&self, uuid: &str) -> Result<(), ReadError> {
        let destroyed = self.virsh(&["destroy", uuid]).await;
        // One that is off already cannot be powered off, which is as well.
        if self.is_domain_off(uuid).await? {
            return Ok(());
        }
        Err(destroyed.err().unwrap_or_else(|| ReadError {
            text: "libvirt did not power the VM off.".into(),
            detail: "the domain still runs".into(),
        }))
    }

    /// The domain's memory, cores and first disk, in place of those in `spec`.
    pub(super) async fn spec_of(&self, uuid: &str, spec: &VmSpec) -> Result<VmSpec, ReadError> {
        let statistics = self.statistics(uuid).await?;
        let disk = first_disk(&self.virsh(&["domblklist", uuid, "--details"]).await?);
        let capacity = disk.and_then(|disk| statistics.capacity(&disk.target));
        let as_u32 = |number: u64| u32::try_from(number).ok();
        Ok(VmSpec {
            image: spec.image.clone(),
            ram_mb: statistics
                .number("balloon.maximum")
                .and_then(|kib| as_u32(kib >> 10))
                .unwrap_or(spec.ram_mb),
            cpu_cores: statistics.number("vcpu.current").and_then(as_u32).unwrap_or(spec.cpu_cores),
            disk_gb: capacity.and_then(|bytes| as_u32(bytes >> 30)).unwrap_or(spec.disk_gb),
        })
    }

    /// Makes the first disk of a domain that is off as large as is wanted. One that is large enough, or in use, stays.
    pub(super) async fn grow_disk(&self, uuid: &str, disk_gb: u32) -> Result<Growth, ReadError> {
        let statistics = self.statistics(uuid).await?;
        if !statistics.is_off() {
            return Ok(Growth::NotNeeded);
        }
        let Some(disk) = first_disk(&self.virsh(&["domblklist", uuid, "--details"]).await?) else {
            return Ok(Growth::NotNeeded);
        };
        let wanted = u64::from(disk_gb) << 30;
        if statistics.capacity(&disk.target).is_none_or(|bytes| bytes >= wanted) {
            return Ok(Growth::NotNeeded);
        }
        if !self.snapshots_of(uuid).await?.is_empty() {
            return Ok(Growth::HasSnapshots);
        }
        self.virsh(&["vol-resize", &disk.path, &format!("{disk_gb}G")]).await?;
        match self.statistics(uuid).await?.capacity(&disk.target) {
            Some(bytes) if bytes >= wanted => Ok(Growth::Grown),
            bytes => Err(ReadError {
                text: "libvirt did not grow the disk.".into(),
                detail: format!("the disk has {bytes:?} bytes afterwards"),
            }),
        }
    }

    /// The domain's snapshots, oldest first.
    pub(super) async fn snapshots_of(&self, uuid: &str) -> Result<Vec<Snapshot>, ReadError> {
        let names = self.virsh(&["snapshot-list", uuid, "--name"]).await?;
        if names.trim().is_empty() {
            return Ok(Vec::new());
        }
        // Only the table has their times.
        Ok(snapshots(&names, &self.virsh(&["snapshot-list", uuid]).await?))
    }

    pub(super) async fn domains_made_in(&self, folders: &Path) -> Result<Vec<OwnedDomain>, ReadError> {
        let listed = self.virsh(&["list", "--all", "--uuid", "--name"]).await?;
        let mut owned = Vec::new();
        for (uuid, name) in listed.lines().filter_map(|line| line.trim().split_once(char::is_whitespace)) {
            if !name.trim().starts_with(OUR_PREFIX) {
                continue;
            }
            // One that was removed meanwhile has no description, and is none of ours any more.
            let Ok(description) = self.virsh(&["desc", uuid]).await else { continue };
            if let Some(directory) = made_in(&description).filter(|made| made.parent() == Some(folders)) {
                owned.push(OwnedDomain { uuid: uuid.to_owned(), name: name.trim().to_owned(), directory });
            }
        }
        Ok(owned)
    }

    pub(super) async fn remove(&self, uuid: &str) -> Result<(), ReadError> {
        // One that is off is not turned off, which is as well.
        let _ = self.virsh(&["destroy", uuid]).await;
        self.virsh(&[
            "undefine",
            uuid,
            "--managed-save",
            "--snapshots-metadata",
            "--nvram",
            "--remove-all-storage",
        ])
        .await
        .map(|_| ())
    }
}

/// The folder that a domain's description says it was made in.
fn made_in(description: &str) -> Option<PathBuf> {
    let file = description.lines().find_map(|line| line.trim().strip_prefix(SOURCE))?;
    Path::new(file.trim()).parent().map(Path::to_owned)
}

/// What became of a disk that was to grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    NotNeeded,
    Grown,
    /// QEMU cannot resize an image with snapshots.
    HasSnapshots,
}

/// What `domstats --raw` prints of one domain: `state.state=5`, a key a line.
struct Statistics(String);

impl Statistics {
    fn value(&self, key: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.parse().ok()
    }

    /// `virDomainState`: shut off, or crashed.
    fn is_off(&self) -> bool {
        matches!(self.number("state.state"), Some(5 | 6))
    }

    /// Bytes that the guest sees of a disk.
    fn capacity(&self, target: &str) -> Option<u64> {
        let count = self.number("block.count")?.min(1000);
        let disk = (0..count).find(|i| self.value(&format!("block.{i}.name")) == Some(target))?;
        self.number(&format!("block.{disk}.capacity"))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Disk {
    /// Its name in the domain: `vda`.
    target: String,
    path: String,
}

/// The first file that is a disk, of `domblklist --details`: type, device, target, source.
fn first_disk(listed: &str) -> Option<Disk> {
    listed.lines().find_map(|line| {
        let mut columns = line.split_whitespace();
        let (kind, device, target) = (columns.next()?, columns.next()?, columns.next()?);
        let path = columns.collect::<Vec<_>>().join(" ");
        let is_disk = kind == "file" && device == "disk" && path.starts_with('/');
        is_disk.then(|| Disk { target: target.to_owned(), path })
    })
}

/// Of the names that `snapshot-list --name` prints, and its table: the name, the time it was made with its zone, the state
/// it was in.
fn snapshots(names: &str, table: &str) -> Vec<Snapshot> {
    let saved_at = |name: &str| {
        let columns = table.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(' '))?;
        let [day, time, zone, ..] = columns.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        let (hours, minutes) = zone.split_at_checked(3)?;
        UtcMillis::from_rfc3339(&format!("{day}T{time}{hours}:{minutes}"))
    };
    let names = names.lines().map(str::trim).filter(|name| !name.is_empty());
    let mut found: Vec<_> =
        names.map(|name| Snapshot { name: name.to_owned(), saved_at: saved_at(name) }).collect();
    found.sort_by_key(|snapshot| snapshot.saved_at);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_disk_is_the_one_that_grows() {
        let listed = " file   cdrom    hda      -\n file   disk     vda      /pool/my images/web_default.img\n \
                      file   disk     vdb      /pool/more.img\n";
        let first = Disk { target: "vda".into(), path: "/pool/my images/web_default.img".into() };
        assert_eq!(first_disk(listed), Some(first));
        assert_eq!(first_disk(" block disk vda /dev/sdb\n"), None);
        let statistics = Statistics(
            "Domain: 'web_default'\n  state.state=5\n  balloon.maximum=1048576\n  block.count=3\n  block.0.name=hda\n  \
             block.1.name=vda\n  block.1.capacity=21474836480\n  block.2.name=vdb\n  block.2.capacity=1\n"
                .into(),
        );
        assert_eq!(statistics.capacity("vda"), Some(20 << 30));
        assert_eq!((statistics.capacity("hda"), statistics.capacity("vd")), (None, None));
        assert!(statistics.is_off());
    }

    #[test]
    fn a_domain_says_which_folder_it_was_made_in() {
        let said = "Source: /data/vms/user1-web-1/Vagrantfile\n";
        assert_eq!(made_in(said).as_deref(), Some(Path::new("/data/vms/user1-web-1")));
        assert_eq!(made_in("somebody's own words"), None);
    }

    #[test]
    fn snapshots_come_oldest_first() {
        let listed = " second   2026-11-23 07:01:02 +0100   running\n first    2026-11-23 05:00:00 +0000   shutoff\n \
                      by hand  2026-11-23 08:00:00 +0000   running\n";
        let names: Vec<_> = snapshots("first\nsecond\nby hand\n\n", listed)
            .into_iter()
            .map(|s| (s.name, s.saved_at.map(UtcMillis::to_rfc3339)))
            .collect();
        assert_eq!(names[0], ("first".into(), Some("2026-11-23T05:00:00Z".into())));
        assert_eq!(names[1], ("second".into(), Some("2026-11-23T06:01:02Z".into())));
        assert_eq!(names[2], ("by hand".into(), Some("2026-11-23T08:00:00Z".into())));
    }
}
