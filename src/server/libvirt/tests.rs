use super::{unresponsive::DomainRef, *};
use crate::server::vagrant::fake_command::write_script;
use std::fs;
use tempfile::TempDir;

const UUID: &str = "6695eb01-f6a4-8304-79aa-97f2502e193f";

/// libvirt with a shell script in virsh's place.
fn with_virsh(script: &str) -> (TempDir, Libvirt) {
    let folder = tempfile::tempdir().unwrap();
    let virsh = folder.path().join("virsh");
    write_script(&virsh, script);
    let libvirt = Libvirt { virsh, pid_files: folder.path().to_owned(), ..Libvirt::new("qemu:///system") };
    (folder, libvirt)
}

#[tokio::test]
async fn all_domains_are_read_by_one_command() {
    let script = format!(
        "echo \"$*\" >> $(dirname $0)/calls
        printf '{UUID} x1\\n\\nDomain: '\\''x1'\\''\\n  state.state=1\\n  vcpu.0.time=7\\n'"
    );
    let (folder, libvirt) = with_virsh(&script);
    fs::write(folder.path().join("x1.pid"), "1").unwrap();
    let sample = libvirt.read().await.unwrap();
    assert_eq!(sample.domains.len(), 1);
    let domain = &sample.domains[0];
    assert_eq!((domain.uuid.as_str(), domain.state), (UUID, DomainState::Running));
    assert!(domain.started_at.is_some_and(|start| start.secs_since(sample.sampled_at).abs() < 60.0));
    assert_eq!(
        fs::read_to_string(folder.path().join("calls")).unwrap(),
        "--quiet --connect qemu:///system list --all --uuid --name; domstats --raw --nowait\n"
    );
}

#[tokio::test]
async fn a_domain_that_is_off_has_no_start() {
    let script =
        format!("printf '{UUID} x1\\n\\nDomain: '\\''x1'\\''\\n  state.state=5\\n  state.reason=1\\n'");
    let (folder, libvirt) = with_virsh(&script);
    fs::write(folder.path().join("x1.pid"), "1").unwrap();
    assert_eq!(libvirt.read().await.unwrap().domains[0].started_at, None);
}

/// A libvirt with one domain that has a disk called like an ISO image and whatever else the file `more` describes;
/// the file `list` has what `domblklist` prints. Keeps each call in the file `calls`.
fn with_block_devices() -> (TempDir, Libvirt) {
    let (folder, libvirt) = with_virsh(&format!(
        "cd $(dirname $0); touch more; shift 3; echo \"$*\" >> calls
        case \"$*\" in
            *domblklist*) echo {UUID}; cat list; echo;;
            *) printf '{UUID} x1\\n\\nDomain: '\\''x1'\\''\\n  state.state=1\\n'
                printf '  block.0.name=vda\\n  block.0.path=/x/seed.iso\\n  block.0.physical=1\\n  block.0.capacity=4\\n'
                cat more;;
        esac"
    ));
    fs::write(folder.path().join("list"), " file   disk   vda   /x/seed.iso\n").unwrap();
    (folder, libvirt)
}

async fn disks(libvirt: &Libvirt) -> Vec<String> {
    libvirt.read().await.unwrap().domains[0].counters.disks.keys().cloned().collect()
}

#[tokio::test]
async fn a_disk_is_what_the_domain_calls_one_whatever_its_file_is_called() {
    for (device, is_disk) in [("cdrom", false), ("floppy", false), ("disk", true)] {
        let (folder, libvirt) = with_block_devices();
        let more =
            "  block.1.name=sda\n  block.1.path=/x/second.img\n  block.1.physical=4\n  block.1.capacity=4\n";
        fs::write(folder.path().join("more"), more).unwrap();
        let list = format!(" file   disk   vda   /x/seed.iso\n file   {device}   sda   /x/second.img\n");
        fs::write(folder.path().join("list"), list).unwrap();
        let expected: &[&str] = if is_disk { &["sda", "vda"] } else { &["vda"] };
        assert_eq!(disks(&libvirt).await, expected, "{device}");
    }
}

#[tokio::test]
async fn block_devices_are_looked_up_again_only_when_they_change_or_the_domain_starts() {
    let (folder, libvirt) = with_block_devices();
    let lookups = || {
        let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
        calls.lines().filter(|call| call.contains("domblklist")).count()
    };
    for _ in 0..3 {
        assert_eq!(disks(&libvirt).await, ["vda"]);
    }
    assert_eq!(lookups(), 1);
    let more = "  block.1.name=sda\n  block.1.path=/x/cd.img\n  block.1.physical=4\n  block.1.capacity=4\n";
    fs::write(folder.path().join("more"), more).unwrap();
    fs::write(folder.path().join("list"), " file disk vda /x/seed.iso\n file cdrom sda /x/cd.img\n").unwrap();
    assert_eq!((disks(&libvirt).await, lookups()), (vec!["vda".to_owned()], 2), "a CD was inserted");
    fs::write(folder.path().join("x1.pid"), "1").unwrap();
    assert_eq!((disks(&libvirt).await, lookups()), (vec!["vda".to_owned()], 3), "the domain was started");
    fs::write(folder.path().join("list"), "").unwrap();
    fs::write(folder.path().join("more"), "").unwrap();
    for lookup in [4, 5] {
        assert_eq!(
            (disks(&libvirt).await, lookups()),
            (vec![], lookup),
            "what cannot be looked up is unknown"
        );
    }
}

#[tokio::test]
async fn a_domain_that_dies_or_hangs_during_a_read_does_not_spoil_the_sample() {
    for trouble in
        ["echo 'error: Unable to read from monitor: Connection reset by peer' >&2; exit 1", "exec sleep 60"]
    {
        let (_folder, libvirt) = with_virsh(&format!(
            "F=$(dirname $0)/asked; [ -e $F ] || {{ touch $F; {trouble}; }}
            case \"$*\" in *list*) echo {UUID} x1;; esac
            case \"$*\" in *domstats*) printf '\\nDomain: '\\''x1'\\''\\n  state.state=1\\n';; esac"
        ));
        let libvirt = Libvirt { time_limit: Duration::from_secs(2), ..libvirt };
        let start = Instant::now();
        let sample = libvirt.read().await.unwrap();
        assert_eq!(sample.domains.len(), 1, "{trouble}");
        assert_eq!(sample.domains[0].state, DomainState::Running, "{trouble}");
        assert!(sample.taken_at > start);
    }
}

#[tokio::test]
async fn a_libvirt_that_hangs_is_given_up() {
    let (_folder, libvirt) = with_virsh("exec sleep 60");
    let libvirt = Libvirt { time_limit: Duration::from_millis(100), ..libvirt };
    let error = libvirt.read().await.unwrap_err();
    assert!(error.text.starts_with("libvirt did not answer at qemu:///system within"), "{}", error.text);
}

fn uuid(number: u32) -> String {
    format!("{number:08}-f6a4-8304-79aa-97f2502e193f")
}

/// A libvirt with the domains 0 to 8, of which those hang whose UUIDs are in the file `hangs`: then listing and
/// reading all of them hangs, too. Keeps each call in the file `calls`.
fn nine_domains() -> (TempDir, Libvirt) {
    let uuids: Vec<_> = (0..9).map(uuid).collect();
    let (folder, libvirt) = with_virsh(&format!(
        "cd $(dirname $0); touch hangs; echo \"$*\" >> calls
        list() {{ for U in {all}; do echo $U x$U; done; }}
        stats() {{ for U; do grep -q $U hangs && exec sleep 60; printf \"\\nDomain: 'x$U'\\n  state.state=1\\n\"; done; }}
        shift 3
        case $1 in
            hostname) echo here;;
            list*domstats*) list; stats {all};;
            list) [ -s hangs ] && exec sleep 60; list;;
            domstats) shift 3; stats $*;;
        esac",
        all = uuids.join(" "),
    ));
    (folder, libvirt)
}

/// The numbers of the domains that were read, of nine.
async fn read(libvirt: &Libvirt) -> Vec<usize> {
    let begin = Instant::now();
    let sample = libvirt.read().await.unwrap();
    assert!(begin.elapsed() < libvirt.time_limit, "{:?}", begin.elapsed());
    assert_eq!(sample.domains.len(), 9, "nobody is forgotten");
    let known = |number: &usize| sample.domains[*number].state == DomainState::Running;
    (0..9).filter(known).collect()
}

#[tokio::test]
async fn a_domain_that_hangs_is_found_and_left_alone_and_the_others_go_on() {
    let (folder, libvirt) = nine_domains();
    let everybody: Vec<_> = (0..9).collect();
    assert_eq!(read(&libvirt).await, everybody);
    fs::write(folder.path().join("hangs"), uuid(4)).unwrap();
    assert_eq!(read(&libvirt).await, [0, 1, 2, 6, 7, 8], "all but the group in which one hangs");
    assert_eq!(read(&libvirt).await, [0, 1, 2, 3, 5, 6, 7, 8], "all but the one");
    assert!(libvirt.address(&uuid(4)).await.is_err());

    let calls = || fs::read_to_string(folder.path().join("calls")).unwrap();
    let so_far = calls().len();
    assert_eq!(read(&libvirt).await, [0, 1, 2, 3, 5, 6, 7, 8]);
    assert!(libvirt.run_in_guest(&uuid(4), "", 1024, libvirt.time_limit).await.is_err());
    let newest = calls()[so_far..].to_owned();
    assert!(!newest.contains(&uuid(4)), "it is not read: {newest}");
    assert_eq!(newest.lines().count(), 2, "a list, and one process for all others: {newest}");

    fs::write(folder.path().join("hangs"), "").unwrap();
    libvirt.unresponsive().suspect(&[DomainRef { uuid: uuid(4), name: String::new() }]);
    assert_eq!(read(&libvirt).await, everybody, "it answers again");
    let so_far = calls().len();
    assert_eq!(read(&libvirt).await, everybody);
    assert_eq!(calls()[so_far..].lines().count(), 1, "one process for all");
}

#[tokio::test]
async fn a_second_domain_that_hangs_is_found_while_the_first_is_left_alone() {
    let (folder, libvirt) = nine_domains();
    read(&libvirt).await;
    libvirt.unresponsive().skip(&DomainRef { uuid: uuid(0), name: String::new() }, Instant::now());
    fs::write(folder.path().join("hangs"), format!("{}\n{}", uuid(0), uuid(8))).unwrap();
    // Eight are read, in groups of two.
    assert_eq!(read(&libvirt).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(read(&libvirt).await, [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn when_the_daemon_hangs_no_domain_is_suspected() {
    let (folder, libvirt) = nine_domains();
    let libvirt = Libvirt { time_limit: Duration::from_millis(800), ..libvirt };
    libvirt.unresponsive().set_known(vec![DomainRef { uuid: uuid(0), name: "x".into() }]);
    write_script(&folder.path().join("virsh"), "exec sleep 60");
    assert!(libvirt.read().await.is_err());
    assert!(!libvirt.unresponsive().has_suspects());
    let only = libvirt.unresponsive().known().to_vec();
    libvirt.unresponsive().suspect(&only);
    assert!(libvirt.read().await.is_err());
    assert_eq!(libvirt.unresponsive().plan(Instant::now()).alone, only, "nor is a suspect set aside");
}

#[tokio::test]
async fn a_libvirt_that_is_down_is_reported_with_what_to_do() {
    let (_folder, libvirt) = with_virsh(
        "echo 'error: failed to connect to the hypervisor
error: Failed to connect socket to /var/run/libvirt/libvirt-sock: No such file or directory' >&2; exit 1",
    );
    let error = libvirt.read().await.unwrap_err();
    assert!(error.text.contains("Start libvirtd"), "{}", error.text);
    assert!(error.detail.contains("libvirt-sock"));
}

#[tokio::test]
async fn a_server_that_is_not_let_in_is_reported() {
    let (_folder, libvirt) = with_virsh(
        "echo 'error: failed to connect to the hypervisor
error: Failed to connect socket to /var/run/libvirt/libvirt-sock: Permission denied' >&2; exit 1",
    );
    assert!(libvirt.read().await.unwrap_err().text.contains("group \"libvirt\""));
}

#[tokio::test]
async fn a_missing_virsh_is_reported_with_what_to_install() {
    let libvirt = Libvirt { virsh: "/nowhere/virsh".into(), ..Libvirt::new("qemu:///system") };
    assert!(libvirt.read().await.unwrap_err().text.contains("libvirt-clients"));
}

#[tokio::test]
async fn an_address_is_looked_up_in_the_leases_and_then_in_the_arp_table() {
    let (_folder, libvirt) = with_virsh(
        "case \"$*\" in *arp) echo ' vnet0      52:54:00:43:9c:ae    ipv4         192.168.121.30/0';; esac",
    );
    assert_eq!(libvirt.address(UUID).await, Ok(Some("192.168.121.30".into())));
}

#[tokio::test]
async fn a_domain_that_is_off_has_no_address_whatever_language_libvirtd_speaks() {
    let refused = "case \"$*\" in *domifaddr*)
        echo 'error: Failed to query for interfaces addresses' >&2
        echo 'error: Angeforderte Operation ist nicht gültig: Domain läuft nicht' >&2; exit 1;;";
    let (_folder, libvirt) =
        with_virsh(&format!("{refused} *list*) echo 11111111-0000-4000-8000-000000000000;; esac"));
    assert_eq!(libvirt.address(UUID).await, Ok(None));
    let (_folder, libvirt) = with_virsh(&format!("{refused} *list*) echo {UUID};; esac"));
    let error = libvirt.address(UUID).await.unwrap_err();
    assert!(error.text.contains("Failed to query"), "one that runs has some: {error:?}");
}

/// virsh with a guest's agent behind it: `done` is what it answers once the script has ended.
fn with_agent(done: &str) -> (TempDir, Libvirt) {
    with_virsh(&format!(
        "case \"$*\" in
        *guest-exec-status*) [ -e $0.asked ] || {{ touch $0.asked; echo '{{\"return\":{{\"exited\":false}}}}'; exit; }}
            {done};;
        *guest-exec*) echo '{{\"return\":{{\"pid\":7}}}}';;
        esac"
    ))
}

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_script_is_run_by_the_guests_agent() {
    let (_folder, libvirt) =
        with_agent("echo '{\"return\":{\"exited\":true,\"exitcode\":0,\"out-data\":\"aGkK\"}}'");
    let output = libvirt.run_in_guest(UUID, "echo hi", 1000, LIMIT).await;
    assert_eq!(output, Ok(Some(b"hi\n".to_vec())));
}

#[tokio::test]
async fn the_output_of_an_agent_is_limited() {
    let (_folder, libvirt) = with_agent("yes");
    assert!(libvirt.run_in_guest(UUID, "echo hi", 1000, LIMIT).await.is_err());
}

#[tokio::test]
async fn an_agent_that_hangs_or_is_not_there_is_given_up() {
    let (_folder, hanging) = with_virsh("exec sleep 60");
    assert!(hanging.run_in_guest(UUID, "echo hi", 1000, Duration::from_millis(200)).await.is_err());
    let (_folder, none) = with_virsh("echo 'error: QEMU guest agent is not connected' >&2; exit 1");
    assert!(none.run_in_guest(UUID, "echo hi", 1000, LIMIT).await.is_err());
}
