//! The probes against fake guests on loopback.

use super::{
    fake_sshd::{Guest, Reply, encrypted_key, key, ssh_config_for, stalling, write_key},
    *,
};
use crate::{
    model::Source,
    server::{
        guest::sample::tests::TINY,
        provider::{
            Counters, DomainState, HypervisorSample, IndexedMachine, MachineError, Project, ReadError,
            SshConfig,
        },
    },
};
use async_trait::async_trait;
use russh::{
    Preferred, cipher, kex,
    keys::{Algorithm, PrivateKey, decode_secret_key},
    mac,
};
use std::{path::PathBuf, sync::atomic::AtomicU32};
use tempfile::TempDir;
use tokio::time::sleep;

const UUID: &str = "6695eb01-f6a4-8304-79aa-97f2502e193f";

/// Has the guests' ssh configurations and counts requests for them.
#[derive(Default)]
struct FakeGuestAccess {
    by_vm: Mutex<HashMap<String, SshConfig>>,
    requests: AtomicU32,
    in_flight: AtomicU32,
    overlapped: AtomicBool,
}

#[async_trait]
impl GuestAccess for FakeGuestAccess {
    async fn ssh_config(&self, machine: &Machine) -> Result<SshConfig, MachineError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        if self.in_flight.fetch_add(1, Ordering::SeqCst) > 0 {
            self.overlapped.store(true, Ordering::SeqCst);
        }
        sleep(Duration::from_millis(20)).await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.by_vm.lock().unwrap().get(machine.name.as_str()).cloned().ok_or_else(|| MachineError {
            kind: MachineErrorKind::NotCreated,
            text: "There is no ssh configuration.".into(),
            detail: String::new(),
        })
    }
}

/// A hypervisor whose guests may have an agent.
#[derive(Default)]
struct FakeHypervisor {
    agent_prints: Mutex<Option<String>>,
    agent_calls: AtomicU32,
}

#[async_trait]
impl Hypervisor for FakeHypervisor {
    async fn read(&self) -> Result<HypervisorSample, ReadError> {
        unreachable!("probes do not read the hypervisor")
    }

    async fn enable_memory_statistics(&self, _: &str, _: u32) -> Result<(), ReadError> {
        Ok(())
    }

    async fn address(&self, _: &str) -> Result<Option<String>, ReadError> {
        Ok(None)
    }

    async fn run_in_guest(
        &self,
        _: &str,
        _: &str,
        _: usize,
        _: Duration,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        self.agent_calls.fetch_add(1, Ordering::SeqCst);
        Ok(self.agent_prints.lock().unwrap().clone().map(String::into_bytes))
    }
}

/// Probes in a hurry, with a database of their own in which `web-1` and `web-2` are VMs.
struct Fixture {
    folder: TempDir,
    database: Database,
    access: Arc<FakeGuestAccess>,
    outside: Arc<FakeHypervisor>,
    probes: Probes,
}

fn interval() -> ProbeInterval {
    let millis = Duration::from_millis;
    ProbeInterval {
        interval: millis(20),
        ssh: SshLimits {
            connect: millis(2000),
            run: millis(1000),
            idle: Duration::from_secs(30),
            keepalive: None,
            window_bytes: 256 * 1024,
        },
        retry: Backoff { first: millis(20), longest: millis(100) },
        ssh_config_backoff: Backoff { first: millis(20), longest: millis(100) },
    }
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        let mut tx = database.write().await.unwrap();
        sqlx::raw_sql(
            "INSERT INTO account (id, username, email, password_hash, role, created_at)
             VALUES (1, 'ada', 'ada@example.org', '', 'admin', 0);
             INSERT INTO vm (id, owner_id, name, image, os_type, vagrant_box, ram_mb, cpu_cores, disk_gb, status,
                             created_at, updated_at)
             VALUES (1, 1, 'web-1', 'x', 'x', 'x', 1, 1, 1, 'running', 0, 0),
                    (2, 1, 'web-2', 'x', 'x', 'x', 1, 1, 1, 'running', 0, 0);",
        )
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let (access, outside) = (Arc::<FakeGuestAccess>::default(), Arc::<FakeHypervisor>::default());
        let probes =
            Probes::with_interval(access.clone(), outside.clone(), None, database.clone(), interval());
        Self { folder, database, access, outside, probes }
    }

    fn lead_to(&self, vm: &str, guest: &Guest) {
        let config = ssh_config_for(guest.address(), self.folder.path());
        self.access.by_vm.lock().unwrap().insert(vm.into(), config);
    }

    fn running(&self, vm_id: i64) -> RunningGuest {
        RunningGuest {
            vm_id,
            machine: Machine {
                domain_uuid: Some(UUID.into()),
                ..Machine::example(&format!("web-{vm_id}"), self.folder.path())
            },
            domain_uuid: UUID.into(),
            started_at: Some(UtcMillis(1000)),
            busy: false,
        }
    }

    fn newest(&self, vm_id: i64) -> Option<GuestSamples> {
        self.probes.newest(vm_id, &domain(Some(UtcMillis(1000))))
    }

    fn known(&self) -> GuestCredentials {
        GuestCredentials::new(self.database.clone())
    }

    async fn events(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT kind, text FROM event ORDER BY id")
            .fetch_all(self.database.read())
            .await
            .unwrap()
    }

    async fn execute(&self, sql: &'static str) {
        let mut tx = self.database.write().await.unwrap();
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}

fn domain(started_at: Option<UtcMillis>) -> Domain {
    Domain {
        uuid: UUID.into(),
        name: "x".into(),
        state: DomainState::Running,
        started_at,
        counters: Counters::default(),
        source: Source::Hypervisor,
    }
}

fn tiny() -> Reply {
    Reply::Prints(TINY.clone())
}

/// Waits for what other tasks bring about.
async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "it does not come about");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_guest_is_read_again_and_again_over_one_connection() {
    let bench = Fixture::new().await;
    let guest = Guest::start(7, tiny()).await;
    bench.lead_to("web-1", &guest);
    bench.probes.watch(vec![bench.running(1)], &[]);
    until(|| (guest.commands() >= 5).then_some(())).await;
    let samples = until(|| bench.newest(1).filter(|samples| samples.before.is_some())).await;
    assert_eq!(samples.newest.uptime_secs, Some(107.25));
    assert!(samples.before.unwrap().taken_at < samples.newest.taken_at);
    assert_eq!((guest.connections(), bench.access.requests.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_guest_that_hangs_is_given_up_and_the_others_go_on() {
    let bench = Fixture::new().await;
    let (hanging, well) = (Guest::start(7, Reply::Hangs).await, Guest::start(8, tiny()).await);
    bench.lead_to("web-1", &hanging);
    bench.lead_to("web-2", &well);
    bench.probes.watch(vec![bench.running(1), bench.running(2)], &[]);
    until(|| (hanging.commands() >= 2 && well.commands() >= 5).then_some(())).await;
    assert_eq!(bench.newest(1), None);
    assert!(bench.newest(2).is_some());
    assert!(!bench.access.overlapped.load(Ordering::SeqCst), "one request at a time");

    hanging.reply(tiny());
    until(|| bench.newest(1)).await;
}

#[tokio::test]
async fn a_guest_that_hung_up_is_reconnected_with_the_known_ssh_config() {
    let bench = Fixture::new().await;
    let guest = Guest::start(7, tiny()).await;
    bench.lead_to("web-1", &guest);
    bench.probes.watch(vec![bench.running(1)], &[]);
    let first = until(|| bench.newest(1)).await.newest.taken_at;
    guest.hang_up();
    until(|| (guest.connections() == 2).then_some(())).await;
    until(|| bench.newest(1).filter(|samples| samples.newest.taken_at > first)).await;
    assert_eq!(bench.access.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_guest_that_moved_is_found_by_requesting_its_ssh_config_again() {
    let bench = Fixture::new().await;
    let guest = Guest::start(7, tiny()).await;
    bench.lead_to("web-1", &guest);
    bench.probes.watch(vec![bench.running(1)], &[]);
    until(|| bench.newest(1)).await;

    let elsewhere = Guest::start(7, tiny()).await;
    bench.lead_to("web-1", &elsewhere);
    guest.hang_up();
    drop(guest);
    until(|| (elsewhere.commands() > 0).then_some(())).await;
    assert!(bench.events().await.is_empty());
}

#[tokio::test]
async fn a_guest_with_another_host_key_is_not_read_and_its_owner_notified_once() {
    let bench = Fixture::new().await;
    let guest = Guest::start(7, tiny()).await;
    bench.lead_to("web-1", &guest);
    bench.probes.watch(vec![bench.running(1)], &[]);
    until(|| bench.newest(1)).await;
    let address = guest.address();
    guest.hang_up();
    drop(guest);
    sleep(Duration::from_millis(50)).await;

    *bench.outside.agent_prints.lock().unwrap() = Some(TINY.clone());
    let other = Guest::start_at(address, 9, tiny()).await;
    until(|| (bench.access.requests.load(Ordering::SeqCst) >= 4).then_some(())).await;
    assert_eq!((other.connections(), other.commands()), (0, 0), "it never learns who we are");
    let events = bench.events().await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].0, "guest_key_changed");
    assert!(events[0].1.contains("web-1") && events[0].1.contains("stop the VM and start it"), "{events:?}");

    // That it falls silent does not make up for it.
    let requests = bench.outside.agent_calls.load(Ordering::SeqCst);
    let address = other.address();
    drop(other);
    sleep(Duration::from_millis(400)).await;
    assert_eq!(bench.outside.agent_calls.load(Ordering::SeqCst), requests, "it is not read at all");
    let other = Guest::start_at(address, 9, tiny()).await;

    // Its owner stops and starts the VM: that is a yes.
    bench.probes.watch(Vec::new(), &[]);
    bench
        .execute(
            "INSERT INTO operation (vm_id, kind, state, requested_by, requested_at)
             VALUES (1, 'start', 'succeeded', 1, 9000000000000)",
        )
        .await;
    bench.probes.watch(vec![bench.running(1)], &[]);
    until(|| (other.commands() > 0).then_some(())).await;
    assert_eq!(bench.events().await.len(), 1);
}

#[tokio::test]
async fn a_guest_is_pinned_where_it_is_now_and_not_where_it_was() {
    let bench = Fixture::new().await;
    let (moved_in, guest) = (Guest::start(9, tiny()).await, Guest::start(7, tiny()).await);
    bench.lead_to("web-1", &guest);
    let old_config = ssh_config_for(moved_in.address(), bench.folder.path());
    bench.known().save_credentials(1, UUID, &old_config).await.unwrap();
    bench.probes.watch(vec![bench.running(1)], &[]);
    until(|| bench.newest(1)).await;
    assert_eq!((moved_in.connections(), guest.connections()), (0, 1));
    assert!(bench.known().find(1, UUID).await.unwrap().unwrap().host_key.is_some());
}

#[tokio::test]
async fn no_key_is_pinned_before_the_next_request_is_due() {
    let bench = Fixture::new().await;
    let guest = Guest::start(7, tiny()).await;
    let config = ssh_config_for(guest.address(), bench.folder.path());
    bench.known().save_credentials(1, UUID, &config).await.unwrap();
    bench.probes.watch(vec![bench.running(1)], &[]);
    bench.probes.watch(vec![RunningGuest { busy: true, ..bench.running(1) }], &[]);
    until(|| bench.newest(1)).await;
    assert_eq!(bench.access.requests.load(Ordering::SeqCst), 0);
    assert_eq!(bench.known().find(1, UUID).await.unwrap().unwrap().host_key, None);
}

#[tokio::test]
async fn what_is_known_of_a_guest_outlives_the_server_but_not_the_domain() {
    let bench = Fixture::new().await;
    let guest = Guest::start(7, tiny()).await;
    bench.lead_to("web-1", &guest);
    bench.probes.watch(vec![bench.running(1)], &[]);
    until(|| bench.newest(1)).await;
    bench.probes.watch(Vec::new(), &[]);

    let restarted = Probes::with_interval(
        bench.access.clone(),
        bench.outside.clone(),
        None,
        bench.database.clone(),
        interval(),
    );
    restarted.watch(vec![bench.running(1)], &[]);
    until(|| restarted.newest(1, &domain(Some(UtcMillis(1000))))).await;
    assert_eq!(bench.access.requests.load(Ordering::SeqCst), 1);
    restarted.watch(Vec::new(), &[]);

    // A new domain has new keys, and that is nothing to warn of.
    let anew = Guest::start(9, tiny()).await;
    bench.lead_to("web-1", &anew);
    let uuid = "b1b2b3b4-0000-4000-8000-97f2502e193f";
    restarted.watch(vec![RunningGuest { domain_uuid: uuid.into(), ..bench.running(1) }], &[]);
    let domain = Domain { uuid: uuid.into(), ..domain(Some(UtcMillis(1000))) };
    until(|| restarted.newest(1, &domain)).await;
    assert!(bench.events().await.is_empty());
}

#[tokio::test]
async fn what_was_read_in_one_boot_is_not_shown_in_another() {
    let bench = Fixture::new().await;
    let guest = Guest::start(7, tiny()).await;
    bench.lead_to("web-1", &guest);
    bench.probes.watch(vec![bench.running(1)], &[]);
    until(|| bench.newest(1)).await;
    let restarted = domain(Some(UtcMillis(2000)));
    assert_eq!(bench.probes.newest(1, &restarted), None);

    bench.probes.watch(vec![RunningGuest { started_at: Some(UtcMillis(2000)), ..bench.running(1) }], &[]);
    assert_eq!(bench.newest(1), None);
    until(|| bench.probes.newest(1, &restarted)).await;
    assert_eq!(guest.connections(), 2);
}

#[tokio::test]
async fn nothing_is_begun_while_an_operation_is_under_way() {
    let bench = Fixture::new().await;
    let guest = Guest::start(7, tiny()).await;
    bench.lead_to("web-1", &guest);
    bench.probes.watch(vec![RunningGuest { busy: true, ..bench.running(1) }], &[]);
    sleep(Duration::from_millis(100)).await;
    assert_eq!((guest.connections(), bench.access.requests.load(Ordering::SeqCst)), (0, 0));
    bench.probes.watch(vec![bench.running(1)], &[]);
    until(|| bench.newest(1)).await;
}

#[tokio::test]
async fn no_ssh_config_is_requested_once_an_operation_has_started() {
    let bench = Fixture::new().await;
    let ssh_config_lock = &bench.probes.shared.as_ref().unwrap().ssh_config_lock;
    let turn = ssh_config_lock.acquire().await.unwrap();
    bench.probes.watch(vec![bench.running(1)], &[]);
    sleep(Duration::from_millis(100)).await;
    bench.probes.watch(vec![RunningGuest { busy: true, ..bench.running(1) }], &[]);
    drop(turn);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.access.requests.load(Ordering::SeqCst), 0);
}

/// Vagrant's index, which counts its refreshes.
#[derive(Default)]
struct Index(AtomicU32);

#[async_trait]
impl MachineIndex for Index {
    async fn machines(&self) -> Result<Vec<IndexedMachine>, ReadError> {
        unreachable!("probes do not read the index")
    }

    async fn refresh_status(&self, machine: &Machine) -> Result<(), MachineError> {
        assert!(machine.is_indexed());
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn vagrant_refreshes_a_silent_guest_that_no_hypervisor_knows() {
    let bench = Fixture::new().await;
    let index = Arc::new(Index::default());
    let (access, outside) = (bench.access.clone(), bench.outside.clone());
    let probes =
        Probes::with_interval(access, outside, Some(index.clone()), bench.database.clone(), interval());
    let guest = Guest::start(7, tiny()).await;
    bench.lead_to("web-1", &guest);
    let mut running = bench.running(1);
    running.machine.project = Some(Project {
        directory: "/shop".into(),
        vagrantfile: None,
        data_directory: "/shop/.vagrant".into(),
        machine: "default".into(),
        provider: "docker".into(),
        is_indexed: true,
    });
    probes.watch(vec![running.clone()], &[]);
    until(|| (guest.commands() >= 3).then_some(())).await;
    assert_eq!(index.0.load(Ordering::SeqCst), 0, "there is no reason to doubt");

    guest.hang_up();
    drop(guest);
    until(|| (index.0.load(Ordering::SeqCst) >= 2).then_some(())).await;
    assert_eq!(bench.outside.agent_calls.load(Ordering::SeqCst), 0, "a hypervisor that does not know it");

    probes.watch(vec![], &[]);
    probes.watch(vec![RunningGuest { busy: true, ..running }], &[]);
    let so_far = index.0.load(Ordering::SeqCst);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(index.0.load(Ordering::SeqCst), so_far, "it does not run");
}

#[tokio::test]
async fn a_guest_of_unknown_state_is_read_on() {
    let bench = Fixture::new().await;
    let guest = Guest::start(7, tiny()).await;
    bench.lead_to("web-1", &guest);
    bench.probes.watch(vec![bench.running(1)], &[]);
    until(|| bench.newest(1)).await;
    bench.probes.watch(vec![], &[1]);
    let so_far = guest.commands();
    until(|| (guest.commands() > so_far + 2).then_some(())).await;
    bench.probes.watch(vec![], &[]);
    assert_eq!(bench.newest(1), None);
}

#[tokio::test]
async fn the_agent_is_used_where_ssh_does_not_answer() {
    let bench = Fixture::new().await;
    *bench.outside.agent_prints.lock().unwrap() = Some(TINY.clone());
    bench.probes.watch(vec![bench.running(1)], &[]);
    assert_eq!(until(|| bench.newest(1)).await.newest.uptime_secs, Some(107.25));

    let guest = Guest::start(7, tiny()).await;
    bench.lead_to("web-1", &guest);
    until(|| (guest.commands() >= 2).then_some(())).await;
    let requests = bench.outside.agent_calls.load(Ordering::SeqCst);
    until(|| (guest.commands() >= 6).then_some(())).await;
    assert_eq!(bench.outside.agent_calls.load(Ordering::SeqCst), requests, "only while ssh does not answer");
}

#[tokio::test]
async fn the_login_shell_is_asked_to_run_a_posix_shell_without_input() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::start(7, Reply::PrintsAndStays(TINY.clone())).await;
    let access = FakeGuestAccess::default();
    let machine = Machine::example("web-1", folder.path());
    access.by_vm.lock().unwrap().insert("web-1".into(), ssh_config_for(guest.address(), folder.path()));
    assert_eq!(read_once(&access, &machine).await.unwrap().uptime_secs, Some(107.25));
    assert!(guest.last_command().starts_with("/bin/sh -c '"), "{}", guest.last_command());
    until(|| guest.input_ended().then_some(())).await;
}

#[tokio::test]
async fn a_guest_is_read_though_the_login_leaves_something_running() {
    let bench = Fixture::new().await;
    let guest = Guest::start(7, Reply::PrintsAndStays(format!("{}a reminder", *TINY))).await;
    bench.lead_to("web-1", &guest);
    bench.probes.watch(vec![bench.running(1)], &[]);
    until(|| bench.newest(1).filter(|samples| samples.before.is_some())).await;
    assert_eq!(guest.connections(), 1);
}

#[tokio::test]
async fn a_guest_that_babbles_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::start(7, Reply::Babbles).await;
    let config = ssh_config_for(guest.address(), folder.path());
    let connection = Connection::open(&config, None, interval().ssh).await.unwrap();
    let error = connection.run("anything", END_OF_OUTPUT, MAX_OUTPUT_BYTES).await.unwrap_err();
    assert!(matches!(error, SshError::TooMuch(MAX_OUTPUT_BYTES)), "{error}");
}

#[tokio::test]
async fn a_guest_that_stalls_cannot_hold_the_socket() {
    for chatters in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (address, left) = stalling(chatters).await;
        let limits = SshLimits { connect: Duration::from_millis(200), ..interval().ssh };
        let opened = Connection::open(&ssh_config_for(address, folder.path()), None, limits).await;
        assert!(matches!(opened, Err(SshError::TooLate(_))), "chatters: {chatters}");
        let left = tokio::time::timeout(Duration::from_secs(5), left).await;
        assert!(left.is_ok(), "chatters: {chatters}; the socket is still open");
    }
}

#[tokio::test]
async fn each_key_is_tried_and_the_unusable_ones_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::start(7, tiny()).await;
    let config = ssh_config_for(guest.address(), folder.path());
    let (ours, missing) = (config.identity_files[0].clone(), folder.path().join("missing"));
    let encrypted = write_key(folder.path(), "encrypted", &encrypted_key());
    let foreign = write_key(folder.path(), "foreign", &key(2));
    let opened = async |identity_files: &[&PathBuf]| {
        let identity_files = identity_files.iter().map(|path| (*path).clone()).collect();
        let config = SshConfig { identity_files, ..config.clone() };
        Connection::open(&config, None, patient()).await.map(|_| ())
    };
    for keys in [&[&foreign, &ours][..], &[&missing, &encrypted, &foreign, &ours], &[&ours, &missing]] {
        assert!(opened(keys).await.is_ok(), "{keys:?}");
    }
    assert!(matches!(opened(&[&foreign, &encrypted]).await, Err(SshError::Denied { .. })));
    let unusable = opened(&[&missing, &encrypted]).await.unwrap_err().to_string();
    assert!(
        unusable.contains("missing (No such file") && unusable.contains("encrypted (not a"),
        "{unusable}"
    );
}

/// Old algorithms and RSA take long in a debug build on a busy machine.
fn patient() -> SshLimits {
    SshLimits { connect: Duration::from_secs(30), ..interval().ssh }
}

/// A guest whose ssh server has only these algorithms; its host key is Ed25519.
async fn guest_with(preferred: Preferred, trusted: &PrivateKey) -> Guest {
    Guest::start_with("127.0.0.1:0".parse().unwrap(), 7, tiny(), preferred, trusted).await
}

#[tokio::test]
async fn a_guest_that_knows_only_old_algorithms_is_read() {
    let rsa = decode_secret_key(include_str!("../../../tests/data/rsa_key_for_tests"), None).unwrap();
    let plain_rsa = [Algorithm::Ed25519, Algorithm::Rsa { hash: None }];
    let default = Preferred::default;
    for (preferred, key) in [
        (Preferred { key: vec![Algorithm::Ed25519].into(), ..default() }, &rsa),
        (Preferred { key: plain_rsa.to_vec().into(), ..default() }, &rsa),
        (Preferred { kex: vec![kex::DH_G14_SHA1].into(), ..default() }, &key(1)),
        (
            Preferred {
                kex: vec![kex::ECDH_SHA2_NISTP256].into(),
                mac: vec![mac::HMAC_SHA1].into(),
                cipher: vec![cipher::AES_128_CTR].into(),
                ..default()
            },
            &rsa,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let guest = guest_with(preferred.clone(), key).await;
        let identity_files = vec![write_key(folder.path(), "key", key)];
        let config = SshConfig { identity_files, ..ssh_config_for(guest.address(), folder.path()) };
        let opened = Connection::open(&config, None, patient()).await;
        assert!(opened.is_ok(), "{preferred:?}: {:?}", opened.err());
    }
}

#[tokio::test]
async fn a_guest_whose_ssh_server_is_too_old_is_reported_as_such() {
    let default = Preferred::default;
    for (preferred, lacks) in [
        (Preferred { kex: vec![kex::DH_G1_SHA1].into(), ..default() }, "no key exchange"),
        (Preferred { cipher: vec![cipher::AES_128_CBC].into(), ..default() }, "no cipher"),
        (
            Preferred { mac: vec![mac::NONE].into(), cipher: vec![cipher::AES_128_CTR].into(), ..default() },
            "no MAC",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let guest = guest_with(preferred, &key(1)).await;
        let access = FakeGuestAccess::default();
        access.by_vm.lock().unwrap().insert("web-1".into(), ssh_config_for(guest.address(), folder.path()));
        let read = read_once(&access, &Machine::example("web-1", folder.path())).await;
        let Err(ReadOnceError::Unsupported(text)) = read else { panic!("{lacks}: {read:?}") };
        assert!(text.contains(lacks) && text.contains("Update"), "{text}");
    }
}

#[tokio::test]
async fn all_keys_of_a_guest_outlive_the_server() {
    let bench = Fixture::new().await;
    let keys = vec![PathBuf::from("/my keys/rsa"), PathBuf::from("/keys/ed25519")];
    let config = SshConfig {
        identity_files: keys.clone(),
        ..ssh_config_for("127.0.0.1:22".parse().unwrap(), bench.folder.path())
    };
    bench.known().save_credentials(1, UUID, &config).await.unwrap();
    assert_eq!(bench.known().find(1, UUID).await.unwrap().unwrap().ssh_config.identity_files, keys);
}

#[tokio::test]
async fn no_error_contains_a_private_key() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::start(7, tiny()).await;
    let config = ssh_config_for(guest.address(), folder.path());
    let secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n";
    std::fs::write(&config.identity_files[0], secret).unwrap();
    let error = Connection::open(&config, None, interval().ssh).await.err().unwrap();
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(shown.contains("private_key") && !shown.contains("c2Vj"), "{shown}");
    }
}
