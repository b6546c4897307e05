//! Reads what `virsh "list --all --uuid --name; domstats --raw --nowait"` prints.
//!
//! ```text
//! 6695eb01-f6a4-8304-79aa-97f2502e193f twarga-user1-web-1_default
//!
//! Domain: 'twarga-user1-web-1_default'
//!   state.state=1
//!   vcpu.0.time=8120000000
//!   …
//! ```
//! `domstats` knows domains by name only, so the list gives the UUIDs. Keys that are missing (a busy domain, one
//! that is off, an older libvirt) give no counter. A domain that was defined between the two commands has no UUID
//! yet and is left out; one that went away between them has no statistics and is `Unknown`.
//!
//! Pure. No input makes it fail: what cannot be parsed is left out.

use crate::{
    model::Source,
    server::provider::{Balloon, Counters, DiskUse, Domain, DomainState, Traffic},
};
use std::collections::{BTreeMap, HashMap};

/// All domains in `output`, in the list's order, without their start. Among their disks are all block devices with a
/// medium: which ones are disks is not in `output`.
pub fn parse(output: &str) -> Vec<Domain> {
    let mut listed = Vec::new();
    let mut sections: HashMap<&str, Section<'_>> = HashMap::new();
    let mut current: Option<&str> = None;
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("Domain: '").and_then(|rest| rest.strip_suffix('\'')) {
            current = Some(name);
            sections.entry(name).or_default();
        } else if let Some(name) = current {
            if let Some((key, value)) = line.trim_start().split_once('=')
                && let Some(section) = sections.get_mut(name)
            {
                section.insert(key, value);
            }
        } else if let Some((uuid, name)) = line.split_once(' ')
            && uuid.len() == 36
        {
            listed.push((uuid, name.trim()));
        }
    }
    listed
        .into_iter()
        .map(|(uuid, name)| {
            let section = sections.get(name);
            Domain {
                uuid: uuid.to_ascii_lowercase(),
                name: name.to_owned(),
                state: section.map_or(DomainState::Unknown, state),
                started_at: None,
                counters: section.map(counters).unwrap_or_default(),
                source: Source::Hypervisor,
            }
        })
        .collect()
}

/// One domain's keys and values.
type Section<'a> = BTreeMap<&'a str, &'a str>;

fn number<T: std::str::FromStr>(section: &Section<'_>, key: &str) -> Option<T> {
    section.get(key)?.trim().parse().ok()
}

/// libvirt's `virDomainState` and, for a domain that is off, its `virDomainShutoffReason`.
fn state(section: &Section<'_>) -> DomainState {
    const SHUTOFF_CRASHED: i64 = 3;
    const SHUTOFF_DAEMON: i64 = 8;
    match number::<i64>(section, "state.state") {
        // Running; blocked on a resource; shutting down, which the guest may still ignore.
        Some(1 | 2 | 4) => DomainState::Running,
        Some(3 | 7) => DomainState::Suspended,
        Some(SHUTOFF) => match number::<i64>(section, "state.reason") {
            Some(SHUTOFF_CRASHED | SHUTOFF_DAEMON) => DomainState::Crashed,
            // A start that failed (6) is among the rest: what never ran did not die.
            _ => DomainState::Stopped,
        },
        Some(6) => DomainState::Crashed,
        _ => DomainState::Unknown,
    }
}

/// libvirt's `virDomainState` of a domain without a QEMU process.
const SHUTOFF: i64 = 5;

fn counters(section: &Section<'_>) -> Counters {
    let is_off = number(section, "state.state") == Some(SHUTOFF);
    let vcpu_time_ns = indexed(section, "vcpu.")
        .filter(|(_, key, _)| *key == "time")
        .filter_map(|(index, _, value)| Some((index, value.parse().ok()?)))
        .collect();
    Counters {
        vcpu_time_ns,
        vcpu_current: number(section, "vcpu.current"),
        memory_kib: number(section, "balloon.maximum"),
        balloon: Balloon {
            available_kib: number(section, "balloon.available"),
            usable_kib: number(section, "balloon.usable"),
            last_update_secs: number(section, "balloon.last-update"),
        },
        interfaces: devices(section, "net.").filter_map(interface).collect(),
        disks: devices(section, "block.").filter_map(|device| disk(&device, is_off)).collect(),
    }
}

/// `(N, rest of the key, value)` of every key `prefixN.…`.
fn indexed<'a>(section: &'a Section<'a>, prefix: &'a str) -> impl Iterator<Item = (u32, &'a str, &'a str)> {
    section.iter().filter_map(move |(key, value)| {
        let (index, rest) = key.strip_prefix(prefix)?.split_once('.')?;
        Some((index.parse().ok()?, rest, value.trim()))
    })
}

/// The devices under `prefix`, each with its own keys. Numbers may be missing in between.
fn devices<'a>(section: &'a Section<'a>, prefix: &'a str) -> impl Iterator<Item = Section<'a>> {
    let mut devices: BTreeMap<u32, Section<'a>> = BTreeMap::new();
    for (index, key, value) in indexed(section, prefix) {
        devices.entry(index).or_default().insert(key, value);
    }
    devices.into_values()
}

/// libvirt turns the host's view of a tap device round: `rx` is what the guest received.
fn interface(device: Section<'_>) -> Option<(String, Traffic)> {
    let name = device.get("name")?;
    let traffic = Traffic { rx_bytes: number(&device, "rx.bytes")?, tx_bytes: number(&device, "tx.bytes")? };
    Some(((*name).to_owned(), traffic))
}

/// A block device with a medium: an empty drive has no path.
///
/// Which value is the image's size on the host? While the domain runs, QEMU answers: `physical` is the size of the
/// image's blocks, as shown by `ls -s`, and `allocation` the highest offset written, which is too little for a file
/// whose holes were filled behind it. While it is off, libvirt looks at the file: `allocation` is the size of its
/// blocks, left out when there are none, and `physical` the length of the file with its holes.
fn disk(device: &Section<'_>, is_off: bool) -> Option<(String, DiskUse)> {
    let name = device.get("name")?;
    device.get("path")?;
    let capacity_bytes = number(device, "capacity")?;
    let allocation = number(device, "allocation");
    let image_bytes =
        if is_off { allocation.unwrap_or(0) } else { number(device, "physical").or(allocation)? };
    Some(((*name).to_owned(), DiskUse { image_bytes, capacity_bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TWO_DOMAINS: &str = "\
6695eb01-f6a4-8304-79aa-97f2502e193f twarga-user1-web-1_default
b1b2b3b4-0000-4000-8000-97f2502e193f it's odd = yes_default

Domain: 'it's odd = yes_default'
  state.state=5
  state.reason=3
  vcpu.current=2
  vcpu.maximum=2
  block.count=1
  block.0.name=vda
  block.0.path=/var/lib/libvirt/images/odd.img
  block.0.allocation=22020096
  block.0.capacity=1073741824
  block.0.physical=22085632

Domain: 'twarga-user1-web-1_default'
  state.state=1
  state.reason=1
  cpu.time=9120000000
  balloon.current=196608
  balloon.maximum=196608
  balloon.available=174008
  balloon.usable=150196
  balloon.last-update=1795396890
  balloon.rss=261000
  vcpu.current=2
  vcpu.maximum=4
  vcpu.0.state=1
  vcpu.0.time=5000000000
  vcpu.0.wait=0
  vcpu.3.time=3000000000
  net.count=3
  net.0.name=vnet0
  net.0.rx.bytes=5242880
  net.0.rx.pkts=90
  net.0.tx.bytes=1024
  net.2.name=vnet7
  net.2.rx.bytes=7
  net.2.tx.bytes=8
  block.count=3
  block.0.name=vda
  block.0.path=/var/lib/libvirt/images/web.img
  block.0.rd.reqs=100
  block.0.allocation=0
  block.0.capacity=1073741824
  block.0.physical=22085632
  block.1.name=sda
  block.1.capacity=0
  block.2.name=sdb
  block.2.path=/srv/seed.iso
  block.2.allocation=366592
  block.2.capacity=366592
  block.2.physical=366592
";

    fn web() -> Domain {
        parse(TWO_DOMAINS).remove(0)
    }

    #[test]
    fn every_listed_domain_is_keyed_by_its_uuid() {
        let domains = parse(TWO_DOMAINS);
        let parsed: Vec<_> = domains.iter().map(|d| (d.uuid.as_str(), d.name.as_str(), d.state)).collect();
        assert_eq!(
            parsed,
            [
                ("6695eb01-f6a4-8304-79aa-97f2502e193f", "twarga-user1-web-1_default", DomainState::Running),
                ("b1b2b3b4-0000-4000-8000-97f2502e193f", "it's odd = yes_default", DomainState::Crashed),
            ]
        );
    }

    #[test]
    fn processors_are_keyed_by_their_number() {
        let counters = web().counters;
        assert_eq!(counters.vcpu_time_ns, BTreeMap::from([(0, 5_000_000_000), (3, 3_000_000_000)]));
        assert_eq!(counters.vcpu_current, Some(2));
    }

    #[test]
    fn the_guests_memory_is_read_with_its_time() {
        let balloon = web().counters.balloon;
        assert_eq!(
            balloon,
            Balloon {
                available_kib: Some(174_008),
                usable_kib: Some(150_196),
                last_update_secs: Some(1_795_396_890)
            }
        );
    }

    #[test]
    fn interfaces_are_keyed_by_name_even_with_one_missing_in_between() {
        assert_eq!(
            web().counters.interfaces,
            BTreeMap::from([
                ("vnet0".to_owned(), Traffic { rx_bytes: 5_242_880, tx_bytes: 1024 }),
                ("vnet7".to_owned(), Traffic { rx_bytes: 7, tx_bytes: 8 }),
            ])
        );
    }

    #[test]
    fn an_image_counts_with_the_blocks_it_takes_and_an_empty_drive_does_not_count() {
        let vda = DiskUse { image_bytes: 22_085_632, capacity_bytes: 1 << 30 };
        let sdb = DiskUse { image_bytes: 366_592, capacity_bytes: 366_592 };
        assert_eq!(web().counters.disks, BTreeMap::from([("sdb".to_owned(), sdb), ("vda".to_owned(), vda)]));
    }

    #[test]
    fn the_image_of_a_vm_that_is_off_has_the_size_of_its_blocks_not_of_its_file() {
        let image_bytes = |state: &str, sizes: &str| {
            let output = format!(
                "6695eb01-f6a4-8304-79aa-97f2502e193f x\n\nDomain: 'x'\n  state.state={state}\n  block.0.name=vda\n  \
                 block.0.path=/x.img\n  block.0.capacity=1073741824\n{sizes}"
            );
            parse(&output)[0].counters.disks.get("vda").map(|disk| disk.image_bytes)
        };
        let sparse = "  block.0.allocation=10485760\n  block.0.physical=1073741824\n";
        let without_blocks = "  block.0.physical=1073741824\n";
        let preallocated = "  block.0.allocation=1073745920\n  block.0.physical=1073741824\n";
        assert_eq!(image_bytes("5", sparse), Some(10_485_760), "a raw image with holes");
        assert_eq!(image_bytes("5", without_blocks), Some(0), "one that nothing was written to");
        assert_eq!(image_bytes("5", preallocated), Some(1_073_745_920), "one without holes");
        for active in ["1", "2", "3", "4", "6", "7"] {
            assert_eq!(
                image_bytes(active, sparse),
                Some(1_073_741_824),
                "QEMU's own answer in state {active}"
            );
        }
    }

    #[test]
    fn a_busy_domain_has_a_state_and_no_counters() {
        let output =
            "6695eb01-f6a4-8304-79aa-97f2502e193f x1_default\n\nDomain: 'x1_default'\n  state.state=1\n";
        let domain = parse(output).remove(0);
        assert_eq!((domain.state, domain.counters), (DomainState::Running, Counters::default()));
    }

    #[test]
    fn a_domain_that_came_or_went_in_between_is_not_guessed_at() {
        let output =
            "6695eb01-f6a4-8304-79aa-97f2502e193f gone_default\n\nDomain: 'new_default'\n  state.state=1\n";
        let domains = parse(output);
        assert_eq!(domains.len(), 1);
        assert_eq!((domains[0].name.as_str(), domains[0].state), ("gone_default", DomainState::Unknown));
    }

    #[test]
    fn every_state_libvirt_knows_has_its_meaning() {
        for (state, reason, meaning) in [
            ("0", "0", DomainState::Unknown),
            ("1", "1", DomainState::Running),
            ("2", "0", DomainState::Running),
            ("3", "5", DomainState::Suspended),
            ("4", "0", DomainState::Running),
            ("5", "0", DomainState::Stopped),
            ("5", "1", DomainState::Stopped),
            ("5", "3", DomainState::Crashed),
            ("5", "6", DomainState::Stopped),
            ("5", "8", DomainState::Crashed),
            ("6", "1", DomainState::Crashed),
            ("7", "0", DomainState::Suspended),
            ("99", "0", DomainState::Unknown),
            ("running", "0", DomainState::Unknown),
        ] {
            let output = format!(
                "6695eb01-f6a4-8304-79aa-97f2502e193f x\n\nDomain: 'x'\n  state.state={state}\n  state.reason={reason}\n"
            );
            assert_eq!(parse(&output)[0].state, meaning, "{state} {reason}");
        }
    }

    #[test]
    #[ignore = "takes a minute; make test runs it"]
    fn fuzz_parser() {
        use crate::{
            model::UtcMillis,
            server::monitor::derive::{Inputs, derive},
        };
        use std::time::{Duration, Instant};
        let (begin, now) = (Instant::now(), UtcMillis(1_795_396_892_000));
        crate::server::fuzz::fuzz(&[TWO_DOMAINS.as_bytes()], |input| {
            let before = parse(TWO_DOMAINS);
            for domain in parse(&String::from_utf8_lossy(input)) {
                let earlier = before.iter().find(|earlier| earlier.uuid == domain.uuid);
                let usage = derive(Inputs {
                    previous: earlier.map(|earlier| (earlier, begin)),
                    current: (&domain, begin + Duration::from_secs(5)),
                    guest: None,
                    tick_before: None,
                    now,
                    interval_secs: 5,
                });
                for percent in [usage.cpu_percent, usage.memory_percent, usage.disk_percent] {
                    assert!(percent.is_none_or(|percent| (0.0..=100.0).contains(&percent)), "{usage:?}");
                }
            }
        });
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic(output in "\\PC*") {
            parse(&output);
        }

        #[test]
        fn no_damage_to_an_output_makes_it_panic_or_invent_a_domain(
            cut in 0..TWO_DOMAINS.len(),
            with in "[\\x00-\\x7f]{0,6}",
            at in 0..TWO_DOMAINS.len(),
        ) {
            let mut output = TWO_DOMAINS[..cut].to_owned();
            output.insert_str(at.min(cut), &with);
            prop_assert!(parse(&output).len() <= 2);
        }

        #[test]
        fn a_domain_of_any_name_is_found(name in "[^\\p{C}\\p{Z}]([^\\p{C}\\p{Z}]| ){0,20}[^\\p{C}\\p{Z}]") {
            let output = format!(
                "6695eb01-f6a4-8304-79aa-97f2502e193f {name}\n\nDomain: '{name}'\n  state.state=1\n  vcpu.0.time=5\n"
            );
            let domains = parse(&output);
            prop_assert_eq!((domains[0].name.as_str(), domains[0].state), (name.as_str(), DomainState::Running));
            prop_assert_eq!(domains[0].counters.vcpu_time_ns.get(&0), Some(&5));
        }
    }
}
