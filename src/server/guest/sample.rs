//! A guest's own sample: the script that takes it, and the parser of its output.
//!
//! The script runs in any POSIX shell, BusyBox's too, and prints a part per source, each with its name and its length in
//! bytes:
//!
//! ```text
//! @twarga uptime 19
//! 350735.47 234388.90
//! @end
//! @twarga df 120
//! Filesystem     1024-blocks    Used Available Capacity Mounted on
//! /dev/vda2            88584   40120     41296      50% /
//! @end
//! @twarga end 0
//!
//! @end
//! ```
//! A login shell may print anything besides, with or without line breaks. A part only counts if it has its full length, so
//! that truncated or interrupted output gives fewer values, never wrong ones. Pure: whatever the guest prints, a value that
//! is not clearly there is `None`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

/// More than this is not read.
pub const MAX_OUTPUT_BYTES: usize = 256 * 1024;

/// Printed last.
pub const END_OF_OUTPUT: &[u8] = b"@twarga end 0\n\n@end\n";

/// Each part is printed by one command, so that other processes of a login rarely print into it. A part that is too long
/// is left out rather than the whole output. A container host has hundreds of interfaces of the kinds that are deleted;
/// no value includes them. `df` comes last: it is the one that a broken disk can hang.
///
/// A single line without `'` and `!`, so that [`login_command`] can quote it for any shell.
pub const SCRIPT: &str = concat!(
    "LC_ALL=C; export LC_ALL; ",
    "part() { text=$(cat); [ ${#text} -gt 100000 ] || ",
    "printf \"@twarga %s %s\\n%s\\n@end\\n\" $1 ${#text} \"$text\"; }; ",
    "{ readlink /proc/self/ns/pid; sed -n \"/ .proc.meminfo fuse.lxcfs /p\" /proc/mounts; } | part container; ",
    "sed -n /^cpu/p /proc/stat | part stat; ",
    "for name in meminfo uptime loadavg sys/kernel/random/boot_id; do cat /proc/$name | part $name; done; ",
    "sed -e \"/^ *veth/d\" -e \"/^ *vnet/d\" -e \"/^ *tap/d\" -e \"/^ *cali/d\" -e \"/^ *br-/d\" /proc/net/dev ",
    "| part net/dev; ",
    "ls -d /sys/class/net/*/device | part devices; ",
    "df -P -k / | part df; ",
    "part end < /dev/null",
);

/// The command that runs [`SCRIPT`] whatever the login shell is: fish and csh understand a quoted argument too.
pub fn login_command() -> String {
    format!("/bin/sh -c '{SCRIPT}'")
}

/// The PID namespace of a kernel's first processes has this number in every kernel; a container has another one.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";
const MARK: &[u8] = b"@twarga ";
const END_OF_PART: &[u8] = b"\n@end\n";
/// The longest name and length of a part.
const MAX_HEADER_BYTES: usize = 64;
const BYTES_PER_KIB: u64 = 1024;

/// One sample of a guest. What it did not report is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestSample {
    /// Monotonic, taken before the script ran.
    pub taken_at: Instant,
    /// Identifies one boot of the guest.
    pub boot_id: Option<String>,
    /// It is a container that sees its host's `/proc` and file system: only the network is its own, and only that is
    /// reported.
    pub sees_host: bool,
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

/// As `df` counts: what is kept for root is neither used nor available. The two may add up to a little more than the total:
/// btrfs counts its reserve as used and estimates what is available.
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
        let parts = parts(output);
        let part = |name: &str| parts.get(name).map(String::as_str);
        // Without this part it is not known whose values the others are.
        let sees_host = part("container").map(sees_host);
        let own = |name: &str| part(name).filter(|_| sees_host == Some(false));
        Self {
            taken_at,
            boot_id: part("sys/kernel/random/boot_id").and_then(boot_id),
            sees_host: sees_host == Some(true),
            cpu: own("stat").and_then(cpu),
            memory: own("meminfo").and_then(memory),
            root_fs: own("df").and_then(root_fs),
            interfaces: part("net/dev")
                .zip(part("devices"))
                .and_then(|(counters, devices)| interfaces(counters, devices)),
            load: own("loadavg").and_then(load),
            uptime_secs: own("uptime").and_then(uptime),
        }
    }

    /// Whether the guest said nothing that can be understood.
    pub fn is_empty(&self) -> bool {
        let Self {
            taken_at: _,
            boot_id: _,
            sees_host: _,
            cpu,
            memory,
            root_fs,
            interfaces,
            load,
            uptime_secs,
        } = self;
        cpu.is_none()
            && memory.is_none()
            && root_fs.is_none()
            && interfaces.is_none()
            && load.is_none()
            && uptime_secs.is_none()
    }
}

/// The complete parts by name.
fn parts(output: &[u8]) -> BTreeMap<String, String> {
    // Where the login has a terminal, it turns line feeds into CR LF.
    let output: Vec<u8> = output.iter().copied().filter(|byte| *byte != b'\r').collect();
    let mut rest = output.as_slice();
    let mut found = BTreeMap::new();
    while let Some(at) = position(rest, MARK) {
        rest = &rest[at + MARK.len()..];
        if let Some((name, text)) = part(rest) {
            found.insert(name.to_owned(), String::from_utf8_lossy(text).into_owned());
            rest = &rest[text.len()..];
        }
    }
    found
}

/// The part that begins after a [`MARK`]; `None` unless it is complete.
fn part(from: &[u8]) -> Option<(&str, &[u8])> {
    let header = from.iter().take(MAX_HEADER_BYTES).position(|byte| *byte == b'\n')?;
    let (name, length) = std::str::from_utf8(&from[..header]).ok()?.split_once(' ')?;
    let (text, rest) = from[header + 1..].split_at_checked(length.parse().ok()?)?;
    rest.starts_with(END_OF_PART).then_some((name, text))
}

/// The namespace of the processes, then the mount by which lxcfs shows a container a `/proc/meminfo` of its own. An old
/// kernel has no namespaces.
fn sees_host(text: &str) -> bool {
    let mut lines = text.lines();
    let is_container =
        lines.next().is_some_and(|line| line.starts_with("pid:[") && line != FIRST_PID_NAMESPACE);
    is_container && lines.next().is_none()
}

/// Where `wanted`, which is not empty, first occurs.
pub fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
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
    // Linux before 3.14 does not say what is available: free memory and the page cache, without what only looks like it.
    let estimate = || {
        let cache = ["Buffers", "Cached", "SReclaimable"].into_iter().filter_map(kib);
        let free_and_cache = cache.fold(kib("MemFree")?, u64::saturating_add);
        Some(free_and_cache.saturating_sub(kib("Shmem").unwrap_or(0)))
    };
    let available_kib = kib("MemAvailable").or_else(estimate)?.min(total_kib);
    let swap_kib = kib("SwapTotal").zip(kib("SwapFree")).filter(|(total, free)| *total > 0 && free <= total);
    Some(Memory { total_kib, available_kib, swap_kib })
}

/// Read from the line's end: a device's name may hold blanks.
fn root_fs(text: &str) -> Option<FileSystem> {
    let line = text.lines().skip(1).find(|line| line.trim_end().ends_with(" /"))?;
    let mut words = line.split_whitespace().rev().skip(1);
    words.next()?.strip_suffix('%')?;
    let mut bytes = || words.next()?.parse::<u64>().ok()?.checked_mul(BYTES_PER_KIB);
    let (available_bytes, used_bytes, total_bytes) = (bytes()?, bytes()?, bytes()?);
    let is_empty = used_bytes == 0 && available_bytes == 0;
    let fits = used_bytes.max(available_bytes) <= total_bytes;
    (fits && !is_empty).then_some(FileSystem { total_bytes, used_bytes, available_bytes })
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
    use std::{process::Command, sync::LazyLock};

    /// What the parts of the tiny BusyBox guest hold.
    const TINY_PARTS: [(&str, &str); 10] = [
        ("container", FIRST_PID_NAMESPACE),
        ("stat", "cpu  312 0 425 9800 100 0 13 50 0 0\ncpu0 312 0 425 9800 100 0 13 50 0 0"),
        (
            "meminfo",
            "MemTotal:         176212 kB
MemFree:          151324 kB
MemAvailable:     150000 kB
Buffers:             680 kB
Cached:             9000 kB
SReclaimable:       1000 kB
Shmem:              2000 kB",
        ),
        ("uptime", "107.25 98.00"),
        ("loadavg", "0.08 0.03 0.01 1/52 331"),
        ("sys/kernel/random/boot_id", "0f9c7a1e-3a59-4a3e-9b1c-1f6d5a3f0c11"),
        (
            "net/dev",
            "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     500       5    0    0    0     0          0         0      500       5    0    0    0     0       0          0
  eth0:   29471     193    0    0    0     0          0         0    25890     171    0    0    0     0       0          0",
        ),
        ("devices", "/sys/class/net/eth0/device"),
        (
            "df",
            "Filesystem           1024-blocks    Used Available Capacity Mounted on
/dev/vda2                  88584    40120     41296  49% /",
        ),
        ("end", ""),
    ];

    /// What the tiny BusyBox guest prints.
    pub(crate) static TINY: LazyLock<String> =
        LazyLock::new(|| TINY_PARTS.iter().map(|(name, text)| printed(name, text)).collect());

    pub(crate) fn printed(name: &str, text: &str) -> String {
        format!("@twarga {name} {}\n{text}\n@end\n", text.len())
    }

    /// The tiny guest with another part of that name.
    pub(crate) fn tiny_with(name: &str, text: &str) -> GuestSample {
        parsed(&format!("{}{}", *TINY, printed(name, text)))
    }

    fn parsed(output: &str) -> GuestSample {
        GuestSample::parse(Instant::now(), output.as_bytes())
    }

    #[test]
    fn the_tiny_guest_reports_everything() {
        let sample = parsed(&TINY);
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
    fn hundreds_of_interfaces_cost_no_value() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dev");
        let net_dev = TINY_PARTS.iter().find(|(name, _)| *name == "net/dev").unwrap().1;
        let counters = "1234567890 ".repeat(16);
        for (kind, count, reported) in
            [("veth", 900, Some(1)), ("cali", 900, Some(1)), ("enp1s", 400, Some(401)), ("enp1s", 900, None)]
        {
            let more: String = (0..count).map(|n| format!("\n{kind}{n}: {counters}")).collect();
            assert!(more.len() > 64 * 1024);
            std::fs::write(&file, format!("{net_dev}{more}\n")).unwrap();
            // Without hardware, as in a container, the names decide.
            let script =
                SCRIPT.replace("/proc/net/dev", file.to_str().unwrap()).replace("/sys/class/net", "/none");
            let output = Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
            assert!(output.len() <= MAX_OUTPUT_BYTES && output.ends_with(END_OF_OUTPUT), "{kind}");
            let sample = GuestSample::parse(Instant::now(), &output);
            assert_eq!(sample.interfaces.map(|all| all.len()), reported, "{kind}");
            assert!(
                ["stat", "meminfo", "uptime", "df"].iter().all(|part| parts(&output).contains_key(*part))
            );
        }
    }

    fn assert_reports_as_the_tiny_guest(output: &str) {
        let sample = parsed(output);
        assert_eq!(sample, GuestSample { taken_at: sample.taken_at, ..parsed(&TINY) }, "{output}");
    }

    #[test]
    fn what_a_login_prints_before_between_and_after_does_not_matter() {
        for noise in
            ["Welcome!\n\n", "no line break", "@twarga uptime", "@twarga uptime 1\n7200.5 1.0\n", "\n@end\n"]
        {
            let between: String =
                TINY_PARTS.iter().map(|(name, text)| noise.to_owned() + &printed(name, text)).collect();
            assert_reports_as_the_tiny_guest(&format!("{between}{noise}"));
        }
        assert_reports_as_the_tiny_guest(&TINY.replace('\n', "\r\n"));
    }

    /// The command has to work for whatever shells the guests have; here it runs in those that this machine has.
    #[test]
    fn the_script_runs_in_any_login_shell() {
        assert!(!SCRIPT.contains(['\'', '!', '\n']));
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        for shell in ["sh", "bash", "dash", "zsh", "ksh", "fish", "tcsh"] {
            let noisy = format!("printf hello; {}; printf bye", login_command());
            let Ok(output) = Command::new(shell).args(["-c", &noisy]).output() else { continue };
            let parts = parts(&output.stdout);
            let names: Vec<&str> = TINY_PARTS.iter().map(|(name, _)| *name).collect();
            assert!(names.iter().all(|name| parts.contains_key(*name)), "{shell}: {output:?}");
            assert_eq!(parts["sys/kernel/random/boot_id"], boot_id.trim_end(), "{shell}");
            assert!(position(&output.stdout, END_OF_OUTPUT).is_some(), "{shell}");
        }
    }

    #[test]
    fn a_part_that_is_too_long_is_left_out_and_the_others_stay() {
        let long = SCRIPT.replace("sed -n /^cpu/p /proc/stat", "yes | head -n 100000");
        let output = Command::new("sh").args(["-c", &long]).output().unwrap();
        let parts = parts(&output.stdout);
        assert!(!parts.contains_key("stat") && parts.contains_key("df"), "{parts:?}");
    }

    #[test]
    fn a_device_with_a_blank_in_its_name_is_read() {
        let text =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n//nas/my disk 100 40 60 40% /\n";
        assert_eq!(root_fs(text).map(|fs| fs.used_bytes), Some(40 * 1024));
    }

    #[test]
    fn the_script_leaves_out_only_interfaces_that_do_not_count() {
        let kinds: Vec<&str> =
            SCRIPT.split("/^ *").skip(1).filter_map(|rest| Some(rest.split_once("/d")?.0)).collect();
        assert!(
            kinds.contains(&"veth") && !kinds.iter().any(|kind| is_named_like_an_uplink(kind)),
            "{kinds:?}"
        );
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
    fn an_old_kernel_without_available_memory_has_what_is_free_or_cache() {
        let available =
            |meminfo: &str| tiny_with("meminfo", meminfo).memory.map(|memory| memory.available_kib);
        let old = "MemTotal: 1000 kB\nMemFree: 300 kB\nBuffers: 50 kB\nCached: 200 kB";
        assert_eq!(available(old), Some(550));
        assert_eq!(available(&format!("{old}\nSReclaimable: 30 kB\nShmem: 100 kB")), Some(480));
        assert_eq!(available("MemTotal: 1000 kB\nMemFree: 900 kB\nCached: 800 kB"), Some(1000));
        assert_eq!(available("MemTotal: 1000 kB\nMemFree: 0 kB\nShmem: 5 kB"), Some(0));
        assert_eq!(available("MemTotal: 1000 kB\nCached: 5 kB"), None);
    }

    #[test]
    fn a_container_that_sees_its_host_reports_its_network_alone() {
        let own_meminfo = "pid:[4026532281]\nlxcfs /proc/meminfo fuse.lxcfs rw,nosuid,nodev 0 0";
        for container in ["pid:[4026532281]", "pid:[4026531999]"] {
            let sample = tiny_with("container", container);
            let network = GuestSample {
                taken_at: sample.taken_at,
                sees_host: true,
                cpu: None,
                memory: None,
                root_fs: None,
                load: None,
                uptime_secs: None,
                ..parsed(&TINY)
            };
            assert_eq!(sample, network);
        }
        let cut = TINY.replace(FIRST_PID_NAMESPACE, "pid:[");
        assert_eq!(
            (parsed(&cut).memory, parsed(&cut).sees_host),
            (None, false),
            "whose it is remains unknown"
        );
        for own in [own_meminfo, FIRST_PID_NAMESPACE, ""] {
            let sample = tiny_with("container", own);
            assert_eq!(sample, GuestSample { taken_at: sample.taken_at, ..parsed(&TINY) }, "{own}");
        }
    }

    #[test]
    fn used_and_available_may_exceed_the_size_a_little() {
        for (line, kib) in [
            ("/dev/vda4 15724544 11987988 3816604 76% /", (15_724_544, 11_987_988, 3_816_604)),
            ("/dev/vda4 15724544 15724544 80048 100% /", (15_724_544, 15_724_544, 80_048)),
            ("/dev/mapper/luks-root 1048576 3840 1048576 1% /", (1_048_576, 3_840, 1_048_576)),
        ] {
            let root_fs =
                root_fs(&format!("Filesystem 1024-blocks Used Available Capacity Mounted on\n{line}"));
            let (total_bytes, used_bytes, available_bytes) = (kib.0 * 1024, kib.1 * 1024, kib.2 * 1024);
            assert_eq!(root_fs, Some(FileSystem { total_bytes, used_bytes, available_bytes }), "{line}");
        }
    }

    #[test]
    fn an_impossible_file_system_is_unknown() {
        for line in [
            "x 100 110 0 100% /",
            "x 100 0 110 0% /",
            "x 0 0 0 0% /",
            "x 100 - 20 40% /",
            "x 100 40 60 - /",
            "x 100 40 -6 9% /",
        ] {
            assert_eq!(root_fs(&format!("Filesystem\n{line}\n")), None, "{line}");
        }
    }

    #[test]
    fn a_guest_that_only_complains_says_nothing() {
        for output in ["", "sh: not found\n", "@twarga stat\n@twarga end\n", "@twarga stat 0\n\n@end\n"] {
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
            let sample = tiny_with(&name, &body);
            if let Some(cpu) = sample.cpu {
                prop_assert!(cpu.idle_ticks <= cpu.total_ticks && cpu.cores > 0);
            }
            if let Some(memory) = sample.memory {
                prop_assert!(memory.available_kib <= memory.total_kib && memory.total_kib > 0);
            }
            if let Some(fs) = sample.root_fs {
                prop_assert!(fs.used_bytes.max(fs.available_bytes) <= fs.total_bytes && fs.total_bytes > 0);
            }
            for number in [sample.uptime_secs, sample.load.map(|load| load.over_5_min)].into_iter().flatten() {
                prop_assert!(number.is_finite() && number >= 0.0);
            }
        }

        #[test]
        fn a_text_inside_the_output_gives_less_but_nothing_else(
            at in 0..TINY.len(),
            noise in "(@twarga |@end|uptime |[0-9]{1,3}|\n|x){1,8}",
        ) {
            let (begin, rest) = TINY.split_at(at);
            assert_nothing_invented(&parsed(&format!("{begin}{noise}{rest}")), &parsed(&TINY))?;
        }

        #[test]
        fn output_cut_off_anywhere_gives_less_but_nothing_else(end in 0..TINY.len()) {
            assert_nothing_invented(&parsed(&TINY[..end]), &parsed(&TINY))?;
        }

        #[test]
        fn output_whose_beginning_is_lost_gives_less_but_nothing_else(begin in 0..TINY.len()) {
            assert_nothing_invented(&parsed(&TINY[begin..]), &parsed(&TINY))?;
        }
    }
}
