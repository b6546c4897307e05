//! A guest's own sample: the script that takes it, and the parser of its output.
//!
//! The script runs in any POSIX shell, BusyBox's too, and prints a section per source, each under a line that
//! begins with `@twarga`:
//!
//! ```text
//! @twarga uptime
//! 350735.47 234388.90
//! @twarga df
//! Filesystem     1024-blocks    Used Available Capacity Mounted on
//! /dev/vda2            88584   40120     41296      50% /
//! @twarga end
//! ```
//! A section only counts if another one follows it, so that truncated output gives fewer values, never wrong ones. Pure:
//! whatever the guest prints, a part that is not clearly there is `None`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

/// More than this is not read: a guest with hundreds of interfaces prints less.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024;

/// `df` comes last: it is the one that a broken disk can hang.
pub const SCRIPT: &str = "\
LC_ALL=C; export LC_ALL
echo '@twarga stat'; grep '^cpu' /proc/stat
for part in meminfo uptime loadavg net/dev sys/kernel/random/boot_id; do
echo \"@twarga $part\"; cat /proc/$part; done
echo '@twarga devices'; ls -d /sys/class/net/*/device
echo '@twarga df'; df -P -k /
echo '@twarga end'
";

const MARK: &str = "@twarga ";
const BYTES_PER_KIB: u64 = 1024;

/// One sample of a guest. What it did not report is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestSample {
    /// Monotonic, taken before the script ran.
    pub taken_at: Instant,
    /// Identifies one boot of the guest.
    pub boot_id: Option<String>,
    pub cpu: Option<CpuTime>,
    pub memory: Option<Memory>,
    pub root_fs: Option<FileSystem>,
    /// Bytes since the guest's boot, by the name of each interface that leads out of the guest.
    pub interfaces: Option<BTreeMap<String, InterfaceBytes>>,
    pub load: Option<Load>,
    /// Since the guest's boot.
    pub uptime_secs: Option<f64>,
}

/// Ticks since the guest's boot, over all its processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTime {
    pub total_ticks: u64,
    /// Not used by the guest: idle, waiting for a disk, or taken by the hypervisor (steal).
    pub idle_ticks: u64,
    pub cores: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub total_kib: u64,
    /// What programs could still get; at most the total.
    pub available_kib: u64,
    /// Space to swap to and what of it is free; none where the guest has no swap.
    pub swap_kib: Option<(u64, u64)>,
}

/// As `df` counts: what is kept for root is neither used nor available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    pub total_bytes: u64,
    pub used_bytes: u64,
    pub available_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceBytes {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

/// How many processes ran or waited, on average over the last minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    pub over_1_min: f64,
    pub over_5_min: f64,
    pub over_15_min: f64,
}

impl GuestSample {
    /// Reads what [`SCRIPT`] printed.
    pub fn parse(taken_at: Instant, output: &[u8]) -> Self {
        let text = String::from_utf8_lossy(output);
        let sections = sections(&text);
        let section = |name: &str| sections.get(name).copied();
        Self {
            taken_at,
            boot_id: section("sys/kernel/random/boot_id").and_then(boot_id),
            cpu: section("stat").and_then(cpu),
            memory: section("meminfo").and_then(memory),
            root_fs: section("df").and_then(root_fs),
            interfaces: section("net/dev")
                .zip(section("devices"))
                .and_then(|(counters, devices)| interfaces(counters, devices)),
            load: section("loadavg").and_then(load),
            uptime_secs: section("uptime").and_then(uptime),
        }
    }

    /// Whether the guest said nothing that can be understood.
    pub fn is_empty(&self) -> bool {
        let Self { taken_at: _, boot_id: _, cpu, memory, root_fs, interfaces, load, uptime_secs } = self;
        cpu.is_none()
            && memory.is_none()
            && root_fs.is_none()
            && interfaces.is_none()
            && load.is_none()
            && uptime_secs.is_none()
    }
}

/// The complete sections by name. A name that comes twice is not to be trusted: the first one counts.
fn sections(text: &str) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    let mut open: Option<(&str, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let begin = at;
        at += line.len();
        let Some(whole) = line.strip_suffix('\n') else { break };
        let Some(next) = whole.trim_end_matches('\r').strip_prefix(MARK) else { continue };
        if let Some((name, from)) = open {
            found.entry(name).or_insert(&text[from..begin]);
        }
        open = Some((next, at));
    }
    found
}

/// `cpu  4705 356 584 3699 23 0 11 0 0 0`: user, nice, system, idle, iowait, irq, softirq, steal, and two that are
/// part of user and nice already.
fn cpu(text: &str) -> Option<CpuTime> {
    let (mut all, mut cores) = (None, 0_u32);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("cpu") => {
                let ticks: Vec<u64> = words.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
                all = Some(ticks);
            }
            Some(name) if is_numbered(name, "cpu") => cores = cores.checked_add(1)?,
            _ => {}
        }
    }
    let ticks = all.filter(|ticks| ticks.len() >= 4)?;
    let tick = |index: usize| ticks.get(index).copied().unwrap_or(0);
    let total_ticks = ticks.iter().try_fold(0_u64, |sum, ticks| sum.checked_add(*ticks))?;
    (cores > 0).then_some(CpuTime { total_ticks, idle_ticks: tick(3) + tick(4) + tick(7), cores })
}

fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn memory(text: &str) -> Option<Memory> {
    let kib = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let mut words = rest.split_whitespace();
        let kib = words.next()?.parse().ok()?;
        (words.next() == Some("kB")).then_some(kib)
    };
    let total_kib = kib("MemTotal").filter(|kib: &u64| *kib > 0)?;
    let swap_kib = kib("SwapTotal").zip(kib("SwapFree")).filter(|(total, free)| *total > 0 && free <= total);
    Some(Memory { total_kib, available_kib: kib("MemAvailable")?.min(total_kib), swap_kib })
}

/// Read from the line's end: a device's name may hold blanks.
fn root_fs(text: &str) -> Option<FileSystem> {
    let line = text.lines().skip(1).find(|line| line.trim_end().ends_with(" /"))?;
    let mut words = line.split_whitespace().rev().skip(1);
    words.next()?.strip_suffix('%')?;
    let mut bytes = || words.next()?.parse::<u64>().ok()?.checked_mul(BYTES_PER_KIB);
    let (available_bytes, used_bytes, total_bytes) = (bytes()?, bytes()?, bytes()?);
    let fits = used_bytes.checked_add(available_bytes).is_some_and(|sum| sum > 0 && sum <= total_bytes);
    fits.then_some(FileSystem { total_bytes, used_bytes, available_bytes })
}

/// `  eth0: 1296 10 0 0 0 0 0 0 840 9 0 0 0 0 0 0`: eight counters received, then eight sent. One line that cannot
/// be read spoils all: a sum without it would be wrong.
///
/// Only the guest's network hardware counts, those with a path in `devices` such as `/sys/class/net/eth0/device`: what
/// its containers send over a bridge is counted there too. A guest without any is a container itself, and then the
/// names decide.
fn interfaces(text: &str, devices: &str) -> Option<BTreeMap<String, InterfaceBytes>> {
    let hardware: BTreeSet<&str> = devices
        .lines()
        .filter_map(|line| line.trim().strip_prefix("/sys/class/net/")?.strip_suffix("/device"))
        .collect();
    let leads_out = |name: &str| {
        if hardware.is_empty() { is_named_like_an_uplink(name) } else { hardware.contains(name) }
    };
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.contains('|')) {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> =
            counters.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let bytes = InterfaceBytes { rx_bytes: *counters.first()?, tx_bytes: *counters.get(8)? };
        if leads_out(name.trim()) {
            found.insert(name.trim().to_owned(), bytes);
        }
    }
    text.contains('|').then_some(found)
}

/// Not the loop-back, a bridge or one of its ends, a tunnel, a bundle or a VLAN.
fn is_named_like_an_uplink(name: &str) -> bool {
    const OTHERS: [&str; 23] = [
        "bond",
        "br",
        "cali",
        "cni",
        "docker",
        "dummy",
        "flannel",
        "lxcbr",
        "lxdbr",
        "macvlan",
        "ovs",
        "podman",
        "tailscale",
        "tap",
        "team",
        "tun",
        "veth",
        "virbr",
        "vlan",
        "vmbr",
        "vnet",
        "vxlan",
        "wg",
    ];
    name != "lo" && !name.contains('.') && !OTHERS.iter().any(|prefix| name.starts_with(prefix))
}

fn load(text: &str) -> Option<Load> {
    let mut words = text.split_whitespace();
    let mut next = || finite(words.next()?);
    Some(Load { over_1_min: next()?, over_5_min: next()?, over_15_min: next()? })
}

fn uptime(text: &str) -> Option<f64> {
    finite(text.split_whitespace().next()?)
}

fn finite(word: &str) -> Option<f64> {
    word.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

fn boot_id(text: &str) -> Option<String> {
    let id = text.trim();
    let well_formed = id.len() == 36 && id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    well_formed.then(|| id.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the tiny BusyBox guest prints.
    pub(crate) const TINY: &str = "\
@twarga stat
cpu  312 0 425 9800 100 0 13 50 0 0
cpu0 312 0 425 9800 100 0 13 50 0 0
@twarga meminfo
MemTotal:         176212 kB
MemFree:          151324 kB
MemAvailable:     150000 kB
Buffers:             680 kB
@twarga uptime
107.25 98.00
@twarga loadavg
0.08 0.03 0.01 1/52 331
@twarga net/dev
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     500       5    0    0    0     0          0         0      500       5    0    0    0     0       0          0
  eth0:   29471     193    0    0    0     0          0         0    25890     171    0    0    0     0       0          0
@twarga sys/kernel/random/boot_id
0f9c7a1e-3a59-4a3e-9b1c-1f6d5a3f0c11
@twarga devices
/sys/class/net/eth0/device
@twarga df
Filesystem           1024-blocks    Used Available Capacity Mounted on
/dev/vda2                  88584    40120     41296  49% /
@twarga end
";

    fn parsed(output: &str) -> GuestSample {
        GuestSample::parse(Instant::now(), output.as_bytes())
    }

    #[test]
    fn the_tiny_guest_reports_everything() {
        let sample = parsed(TINY);
        assert_eq!(sample.cpu, Some(CpuTime { total_ticks: 10_700, idle_ticks: 9_950, cores: 1 }));
        assert_eq!(
            sample.memory,
            Some(Memory { total_kib: 176_212, available_kib: 150_000, swap_kib: None })
        );
        let kib = |kib: u64| kib * 1024;
        assert_eq!(
            sample.root_fs,
            Some(FileSystem {
                total_bytes: kib(88_584),
                used_bytes: kib(40_120),
                available_bytes: kib(41_296)
            })
        );
        let eth0 = InterfaceBytes { rx_bytes: 29_471, tx_bytes: 25_890 };
        assert_eq!(sample.interfaces, Some(BTreeMap::from([("eth0".to_owned(), eth0)])));
        assert_eq!(sample.load, Some(Load { over_1_min: 0.08, over_5_min: 0.03, over_15_min: 0.01 }));
        assert_eq!(sample.uptime_secs, Some(107.25));
        assert_eq!(sample.boot_id.as_deref(), Some("0f9c7a1e-3a59-4a3e-9b1c-1f6d5a3f0c11"));
    }

    #[test]
    fn what_a_login_prints_around_it_does_not_matter() {
        let noisy = format!("Welcome!\n\n{}Bye\n", TINY.replace('\n', "\r\n"));
        let sample = parsed(&noisy);
        assert_eq!(sample, GuestSample { taken_at: sample.taken_at, ..parsed(TINY) });
    }

    #[test]
    fn a_device_with_a_blank_in_its_name_is_read() {
        let text =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n//nas/my disk 100 40 60 40% /\n";
        assert_eq!(root_fs(text).map(|fs| fs.used_bytes), Some(40 * 1024));
    }

    #[test]
    fn only_interfaces_that_lead_out_of_the_guest_count() {
        let names = |devices: &str| {
            let all = ["lo", "eth0", "br0", "lxdbr0", "docker0", "vlan10", "eth0.10", "my-uplink"];
            let lines = all.map(|name| format!(" {name}: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n"));
            let counters = format!("Inter-|   Receive\n{}", lines.concat());
            interfaces(&counters, devices).unwrap().into_keys().collect::<Vec<_>>()
        };
        assert_eq!(names("/sys/class/net/eth0/device\n"), ["eth0"]);
        assert_eq!(names("/sys/class/net/br0/device\r\n"), ["br0"], "hardware, whatever its name");
        assert_eq!(names("ls: /sys/class/net/*/device: No such file or directory\n"), ["eth0", "my-uplink"]);
    }

    #[test]
    fn an_old_kernel_without_available_memory_leaves_memory_unknown() {
        assert_eq!(parsed(&TINY.replace("MemAvailable", "MemFree2")).memory, None);
    }

    #[test]
    fn an_impossible_file_system_is_unknown() {
        for line in
            ["x 100 90 20 40% /", "x 0 0 0 0% /", "x 100 - 20 40% /", "x 100 40 60 - /", "x 100 40 -6 9% /"]
        {
            assert_eq!(root_fs(&format!("Filesystem\n{line}\n")), None, "{line}");
        }
    }

    #[test]
    fn a_guest_that_only_complains_says_nothing() {
        for output in ["", "sh: not found\n", "@twarga stat\n@twarga end\n", "@twarga end\n@twarga end\n"] {
            assert!(parsed(output).is_empty(), "{output}");
        }
    }

    /// Each part is what the whole output says, or unknown.
    fn assert_nothing_invented(part: &GuestSample, whole: &GuestSample) -> Result<(), TestCaseError> {
        macro_rules! same_or_unknown {
            ($($field:ident),*) => {
                $(prop_assert!(part.$field.is_none() || part.$field == whole.$field, "{:?}", part);)*
            };
        }
        same_or_unknown!(boot_id, cpu, memory, root_fs, interfaces, load, uptime_secs);
        Ok(())
    }

    #[test]
    #[ignore = "takes a minute; make test runs it"]
    fn fuzz_parser() {
        crate::server::fuzz::fuzz(&[TINY.as_bytes()], |input| {
            let sample = GuestSample::parse(Instant::now(), input);
            assert!(
                sample.memory.is_none_or(|memory| memory.available_kib <= memory.total_kib),
                "{sample:?}"
            );
            assert!(sample.cpu.is_none_or(|cpu| cpu.idle_ticks <= cpu.total_ticks), "{sample:?}");
            let finite = |load: Load| {
                [load.over_1_min, load.over_5_min, load.over_15_min].iter().all(|l| l.is_finite())
            };
            assert!(sample.load.is_none_or(finite), "{sample:?}");
        });
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            GuestSample::parse(Instant::now(), &bytes);
        }

        #[test]
        fn no_garbage_in_a_section_makes_it_panic_or_lie(
            name in "stat|meminfo|uptime|loadavg|net/dev|df",
            body in "(cpu[0-9]?|MemTotal:|MemAvailable:|eth0:|/|kB|[0-9]{1,25}|-?[0-9.]{1,6}%?|inf|NaN| |\\|\n|\n){0,40}",
        ) {
            let sample = parsed(&format!("@twarga {name}\n{body}\n@twarga end\n"));
            if let Some(cpu) = sample.cpu {
                prop_assert!(cpu.idle_ticks <= cpu.total_ticks && cpu.cores > 0);
            }
            if let Some(memory) = sample.memory {
                prop_assert!(memory.available_kib <= memory.total_kib && memory.total_kib > 0);
            }
            if let Some(fs) = sample.root_fs {
                prop_assert!(fs.used_bytes + fs.available_bytes <= fs.total_bytes);
            }
            for number in [sample.uptime_secs, sample.load.map(|load| load.over_5_min)].into_iter().flatten() {
                prop_assert!(number.is_finite() && number >= 0.0);
            }
        }

        #[test]
        fn output_cut_off_anywhere_gives_less_but_nothing_else(end in 0..TINY.len()) {
            assert_nothing_invented(&parsed(&TINY[..end]), &parsed(TINY))?;
        }

        #[test]
        fn output_whose_beginning_is_lost_gives_less_but_nothing_else(begin in 0..TINY.len()) {
            assert_nothing_invented(&parsed(&TINY[begin..]), &parsed(TINY))?;
        }
    }
}
