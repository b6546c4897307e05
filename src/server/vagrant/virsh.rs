//! Operations that Vagrant lacks and libvirt provides: growing the disk of a machine that is off, listing snapshots,
//! and finding and removing our machines whose folder is gone.

use super::driver::Vagrant;
use crate::{
    model::{Snapshot, UtcMillis},
    server::provider::{OwnedDomain, ReadError},
};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{process::Command, time::timeout};

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
        let output = Command::new(&self.options.virsh)
            .args(["--quiet", "--connect", &self.options.libvirt_uri])
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
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

    /// Makes the first disk of a domain that is off as large as is wanted. One that is large enough, or in use, stays.
    /// Answers whether it has grown.
    pub(super) async fn grow_disk(&self, uuid: &str, disk_gb: u32) -> Result<bool, ReadError> {
        if self.virsh(&["domstate", uuid]).await?.trim() != "shut off" {
            return Ok(false);
        }
        let Some(path) = first_disk(&self.virsh(&["domblklist", uuid, "--details"]).await?) else {
            return Ok(false);
        };
        let info = self.virsh(&["domblkinfo", uuid, &path]).await?;
        let wanted = u64::from(disk_gb) << 30;
        if capacity(&info).is_none_or(|bytes| bytes >= wanted) {
            return Ok(false);
        }
        self.virsh(&["vol-resize", &path, &format!("{disk_gb}G")]).await?;
        Ok(true)
    }

    /// The domain's snapshots, oldest first.
    pub(super) async fn snapshots_of(&self, uuid: &str) -> Result<Vec<Snapshot>, ReadError> {
        Ok(snapshots(&self.virsh(&["snapshot-list", uuid]).await?))
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

/// The path of the first file that is a disk, of `domblklist --details`: type, device, target, source.
fn first_disk(listed: &str) -> Option<String> {
    listed.lines().find_map(|line| {
        let mut columns = line.split_whitespace();
        let (kind, device, _target) = (columns.next()?, columns.next()?, columns.next()?);
        let path = columns.collect::<Vec<_>>().join(" ");
        (kind == "file" && device == "disk" && path.starts_with('/')).then_some(path)
    })
}

/// Bytes that the guest sees, of `domblkinfo`.
fn capacity(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("Capacity:")?.trim().parse().ok())
}

/// Of `snapshot-list`: the name, the time it was made with its zone, the state it was in.
fn snapshots(listed: &str) -> Vec<Snapshot> {
    let mut found: Vec<_> = listed
        .lines()
        .filter_map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let [name, day, time, zone, ..] = columns[..] else { return None };
            let (hours, minutes) = zone.split_at_checked(3)?;
            let saved_at = UtcMillis::from_rfc3339(&format!("{day}T{time}{hours}:{minutes}"));
            Some(Snapshot { name: name.to_owned(), saved_at })
        })
        .collect();
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
        assert_eq!(first_disk(listed).as_deref(), Some("/pool/my images/web_default.img"));
        assert_eq!(first_disk(" block disk vda /dev/sdb\n"), None);
        assert_eq!(capacity("Capacity:       21474836480\nAllocation:     1245184\n"), Some(20 << 30));
    }

    #[test]
    fn a_domain_says_which_folder_it_was_made_in() {
        let said = "Source: /data/vms/user1-web-1/Vagrantfile\n";
        assert_eq!(made_in(said).as_deref(), Some(Path::new("/data/vms/user1-web-1")));
        assert_eq!(made_in("somebody's own words"), None);
    }

    #[test]
    fn snapshots_come_oldest_first() {
        let listed =
            " second   2026-11-23 07:01:02 +0100   running\n first    2026-11-23 05:00:00 +0000   shutoff\n";
        let names: Vec<_> =
            snapshots(listed).into_iter().map(|s| (s.name, s.saved_at.map(UtcMillis::to_rfc3339))).collect();
        assert_eq!(names[0], ("first".into(), Some("2026-11-23T05:00:00Z".into())));
        assert_eq!(names[1], ("second".into(), Some("2026-11-23T06:01:02Z".into())));
    }
}
