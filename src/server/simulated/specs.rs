//! VMs to fill a simulated cloud with.

use super::load::{hash, unit};
use crate::model::{VmName, VmSpec};

/// What the first VMs are called, one of each kind; the busy one is the third.
const NAMES: [&str; 24] = [
    "web-1",
    "db-main",
    "transcode-1",
    "build-runner",
    "web-2",
    "api-1",
    "mail",
    "wiki",
    "queue-1",
    "shop-staging",
    "grafana",
    "git",
    "search-1",
    "cache-1",
    "vpn-gateway",
    "api-2",
    "nightly-tests",
    "proxy-1",
    "forum",
    "db-replica",
    "student-lab",
    "render-1",
    "backup-store",
    "playground",
];

/// What further ones are called, with a number.
const ROLES: [&str; 8] = ["web", "api", "worker", "build-runner", "db", "cache", "lab", "sandbox"];

const IMAGES: [(&str, u32); 3] = [("debian-12", 10), ("ubuntu-26.04", 20), ("alpine-3.23", 4)];

/// `count` VMs with names of their own; the same ones every time.
pub fn seeded_specs(count: usize) -> Vec<(VmName, VmSpec)> {
    let named = NAMES.iter().map(|name| (*name).to_owned());
    // Above the numbers that the named ones have.
    let numbered = (11_usize..).flat_map(|number| ROLES.iter().map(move |role| format!("{role}-{number}")));
    named
        .chain(numbered)
        .filter_map(|name| VmName::new(&name).ok())
        .take(count)
        .enumerate()
        .map(|(index, name)| (name, spec(index)))
        .collect()
}

fn spec(index: usize) -> VmSpec {
    let draw = |stream| unit(hash(0x7477_6172_6761, stream, index as i64));
    let (image, min_disk_gb) = IMAGES[(draw(1) * IMAGES.len() as f64) as usize];
    let doublings = |stream, least: u32, steps: f64| least << (draw(stream) * steps) as u32;
    VmSpec {
        image: image.into(),
        ram_mb: doublings(2, 512, 4.0),
        cpu_cores: doublings(3, 1, 3.0),
        disk_gb: min_disk_gb * doublings(4, 1, 3.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_vm_has_a_name_of_its_own() {
        let specs = seeded_specs(500);
        let names: HashSet<_> = specs.iter().map(|(name, _)| name.as_str().to_owned()).collect();
        assert_eq!(names.len(), 500);
        assert_eq!(specs[0].0.as_str(), "web-1");
    }

    #[test]
    fn the_first_ones_are_all_there_and_are_the_same_every_time() {
        assert_eq!(seeded_specs(24).len(), 24);
        assert_eq!(
            seeded_specs(24).last().map(|(name, _)| name.as_str().to_owned()),
            Some("playground".into())
        );
        assert_eq!(seeded_specs(60)[..24], seeded_specs(24)[..]);
    }

    #[test]
    fn specs_use_what_a_catalogue_has() {
        for (name, spec) in seeded_specs(200) {
            assert!(IMAGES.iter().any(|(key, _)| *key == spec.image), "{name}");
            assert!((512..=4096).contains(&spec.ram_mb), "{name}: {}", spec.ram_mb);
            assert!((1..=4).contains(&spec.cpu_cores), "{name}: {}", spec.cpu_cores);
            assert!((4..=80).contains(&spec.disk_gb), "{name}: {}", spec.disk_gb);
        }
    }
}
