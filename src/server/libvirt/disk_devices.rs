//! Which of a domain's block devices are disks. Pure.
//!
//! `domstats` reports CD drives and floppies like disks, and an image's file name says nothing: a disk may be called
//! `seed.iso`. `virsh domblklist --details` knows, so it is asked whenever a domain has started or its devices have
//! changed, for all such domains at once.

use crate::{model::UtcMillis, server::provider::Domain};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The most domains that one process looks up: its argument stays far below the kernel's limit of 128 KiB.
const LOOKED_UP_AT_ONCE: usize = 200;

/// The disks of all domains, as far as they were looked up.
#[derive(Debug, Default)]
pub struct DiskDevices(HashMap<String, Devices>);

#[derive(Debug)]
struct Devices {
    seen: Seen,
    disks: BTreeSet<String>,
}

/// What a domain looked like when its devices were looked up.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    started_at: Option<UtcMillis>,
    names: BTreeSet<String>,
}

impl Seen {
    fn of(domain: &Domain) -> Self {
        Self { started_at: domain.started_at, names: domain.counters.disks.keys().cloned().collect() }
    }
}

impl DiskDevices {
    /// The domains whose devices are not known.
    pub fn unknown<'a>(&self, domains: &'a [Domain]) -> Vec<&'a Domain> {
        let is_unknown = |domain: &&Domain| {
            let seen = Seen::of(domain);
            !seen.names.is_empty() && self.0.get(&domain.uuid).is_none_or(|known| known.seen != seen)
        };
        domains.iter().filter(is_unknown).take(LOOKED_UP_AT_ONCE).collect()
    }

    /// Learns what `output` says about `domains`. It is the output of [`question`].
    pub fn learn(&mut self, domains: &[&Domain], output: &str) {
        let mut disks = parse(output);
        for domain in domains {
            if let Some(disks) = disks.remove(domain.uuid.as_str()) {
                self.0.insert(domain.uuid.clone(), Devices { seen: Seen::of(domain), disks });
            }
        }
    }

    /// Leaves only disks in `domains`, none where the devices are not known; forgets the domains that are gone.
    pub fn keep_disks(&mut self, domains: &mut [Domain]) {
        let present: BTreeSet<&str> = domains.iter().map(|domain| domain.uuid.as_str()).collect();
        self.0.retain(|uuid, _| present.contains(uuid.as_str()));
        for domain in domains {
            let seen = Seen::of(domain);
            let known = self.0.get(&domain.uuid).filter(|known| known.seen == seen);
            domain.counters.disks.retain(|name, _| known.is_some_and(|known| known.disks.contains(name)));
        }
    }
}

/// `virsh`'s argument that lists the devices of `domains`, each list behind the domain's UUID. A list that fails is
/// missing; the last command succeeds, so the other lists count.
pub fn question(domains: &[&Domain]) -> String {
    let list = |domain: &&Domain| format!("echo {0}; domblklist {0} --details; ", domain.uuid);
    domains.iter().map(list).collect::<String>() + "echo"
}

/// The names of the disks by the domain's UUID: ` file   disk   vda   /var/lib/libvirt/images/web.img`. `echo` ends no line,
/// so the first device, or the next domain's UUID, follows on the same one. A domain without any device was not listed.
fn parse(output: &str) -> BTreeMap<&str, BTreeSet<String>> {
    let mut all: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut current = None;
    for mut line in output.lines() {
        while let Some((uuid, rest)) = line.split_at_checked(UUID_LENGTH).filter(|(start, _)| is_uuid(start))
        {
            current = Some(uuid);
            line = rest;
        }
        let mut words = line.split_whitespace();
        if let (Some(_), Some(device), Some(name)) = (words.next(), words.next(), words.next()) {
            let Some(uuid) = current else { continue };
            let disks = all.entry(uuid).or_default();
            if device == "disk" {
                disks.insert(name.to_owned());
            }
        }
    }
    all
}

const UUID_LENGTH: usize = 36;

fn is_uuid(text: &str) -> bool {
    text.len() == UUID_LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_virsh_prints_them() {
        let uuids = [
            "a4ffb7f6-9afb-4ded-9fa4-c01af0ddd3f2",
            "b5733476-cd5b-47b9-8349-2cc53695fd51",
            "c5733476-cd5b-47b9-8349-2cc53695fd51",
        ];
        let output = format!(
            "{0} file   disk    vda   /pool/a b.img\n file   cdrom   hda   /b.iso\n{1}{2} file   disk   vda   /c.img\n \
             block   disk   vdb   /dev/sdb\n",
            uuids[0], uuids[1], uuids[2]
        );
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let expected = BTreeMap::from([(uuids[0], names(&["vda"])), (uuids[2], names(&["vda", "vdb"]))]);
        assert_eq!(parse(&output), expected);
        let own_lines = format!("{}\n file   disk   vda   /x.img\n\n", uuids[0]);
        assert_eq!(parse(&own_lines), BTreeMap::from([(uuids[0], names(&["vda"]))]));
    }
}
