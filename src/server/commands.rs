//! The commands of the server's binary.

use super::{
    accounts::{Accounts, Registration},
    alerts::{self, Alerts},
    backup,
    config::{
        AuditCommand, CreditArgs, DEFAULT_SSH_ADDR, LibvirtDriver, LimitArgs, Provider, ServeArgs, SshAddr,
    },
    credits::{Allowances, Capacity},
    database::{Database, now},
    events::{self, Events},
    gateway::{self, Gateway},
    guest::{GuestShells, Probes},
    libvirt::Libvirt,
    metrics::Store,
    monitor::{BootSetup, Collector, Memory, health::Health, host::Host, latest::Latest, time_limit},
    network::Network,
    new_links::{NewLinks, NewRecoveryCodes},
    notifications::{Notifications, Notifier},
    provider::{GuestAccess, Hypervisor, LinkAccess, MachineDriver, MachineIndex, ShellAccess},
    simulated::{SimulatedFleet, SimulatedOptions},
    state::AppState,
    terminals::Terminals,
    vagrant::{Driver, Vagrant, VagrantOptions},
    vms::{Adoption, Backing, Offer, Vms, load_images},
    web::{self, connections::Limits as ConnectionLimits},
};
use crate::{
    asset_urls::AssetUrls,
    model::{HostUsage, Limits, ProviderKind, UtcMillis},
};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::resource::{Resource, getrlimit, rlim_t, setrlimit},
};
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, IsTerminal, Write},
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::available_parallelism,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// How long an end waits for operations; what is open after that is taken up by the next start.
const FAREWELL: Duration = Duration::from_secs(10);
const SEALING_INTERVAL: Duration = Duration::from_secs(20);
const SCHEDULED_ACTIONS_INTERVAL: Duration = Duration::from_secs(5);
const EVENTS_RETENTION_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How late a change of an account by another process takes effect.
const OTHER_PROCESSES_INTERVAL: Duration = Duration::from_secs(1);
const LAST_USES_INTERVAL: Duration = Duration::from_secs(60);
const COUNTED_EVENTS_INTERVAL: Duration = Duration::from_secs(5);
/// How late a terminal or ssh connection ends that is not allowed any more.
const TERMINALS_INTERVAL: Duration = Duration::from_millis(400);
const RETENTION_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// A day off is believed within half an hour, a year ahead after a week.
const BELIEF: i64 = 50;

/// A server that is ready to serve: everything is open, nothing runs yet.
pub struct ServerBuilder {
    pub state: AppState,
    pub hypervisor: Arc<dyn Hypervisor>,
    pub guests: Option<Arc<dyn GuestAccess>>,
    pub index: Option<Arc<dyn MachineIndex>>,
    pub data_dir: PathBuf,
}

/// Where VMs and samples come from.
pub struct Source {
    pub machines: Arc<dyn MachineDriver>,
    pub hypervisor: Arc<dyn Hypervisor>,
    /// Access to the guests, if they can be probed.
    pub guests: Option<Arc<dyn GuestAccess>>,
    /// What Vagrant has made besides.
    pub index: Option<Arc<dyn MachineIndex>>,
    /// The fleet, when they are simulated.
    pub simulated: Option<Arc<SimulatedFleet>>,
    /// What the host has, where VMs take of it.
    pub host: Option<HostUsage>,
}

impl Source {
    /// As the arguments say.
    pub fn new(arguments: &ServeArgs) -> Self {
        match arguments.provider {
            Provider::Vagrant => {
                let options = VagrantOptions {
                    libvirt_uri: arguments.libvirt_uri.clone(),
                    driver: driver(arguments.libvirt_driver),
                    ..VagrantOptions::default()
                };
                let vagrant = Arc::new(Vagrant::new(options));
                Self {
                    machines: vagrant.clone(),
                    hypervisor: Arc::new(
                        Libvirt::new(arguments.libvirt_uri.clone())
                            .with_time_limit(time_limit(arguments.collect_every)),
                    ),
                    index: Some(vagrant.clone()),
                    guests: Some(vagrant),
                    simulated: None,
                    host: Some(Host::new(arguments.data.data_dir.clone()).sample(std::time::Instant::now())),
                }
            }
            Provider::Simulated => {
                Self::simulated(Arc::new(SimulatedFleet::new(SimulatedOptions::default())))
            }
        }
    }

    pub fn simulated(fleet: Arc<SimulatedFleet>) -> Self {
        Self {
            machines: fleet.clone(),
            hypervisor: fleet.clone(),
            guests: None,
            index: None,
            simulated: Some(fleet),
            host: None,
        }
    }
}

/// Opens what a server needs.
///
/// # Errors
/// A message for the user.
pub async fn assemble(
    arguments: &ServeArgs,
    assets: AssetUrls,
    source: Source,
) -> Result<ServerBuilder, String> {
    let provider = ProviderKind::from(arguments.provider);
    let data_dir = std::path::absolute(&arguments.data.data_dir).map_err(|e| e.to_string())?;
    let images = load_images(arguments.images.as_deref(), &arguments.lab_boxes)?;
    let database = Database::open(&data_dir).await.map_err(|e| e.to_string())?;
    database.claim(&data_dir, provider).await.map_err(|e| e.to_string())?;
    let latest = Latest::default();
    let events = Events::new(database.clone());
    let store = Store::open(database.clone(), arguments.collect_every)
        .await
        .map_err(|e| format!("The stored samples cannot be read: {e}."))?;
    let at_once =
        arguments.operations.map_or_else(|| available_parallelism().map_or(1, usize::from), |n| n as usize);
    let adoption = source.index.clone().zip(source.guests.clone()).map(|(index, guests)| Adoption {
        index,
        guests,
        hypervisor: source.hypervisor.clone(),
    });
    let allowances = allowances(arguments.credits, Some((arguments.limits, source.host)));
    allowances
        .grant_missing(&database, now().0)
        .await
        .map_err(|e| format!("The accounts' credits cannot be written: {e}."))?;
    let limits = Limits {
        max_ram_mb: arguments.limits.max_ram_mb,
        max_cpu_cores: arguments.limits.max_cores,
        max_disk_gb: arguments.limits.max_disk_gb,
    };
    let vms = Vms::new(
        database.clone(),
        events.clone(),
        Backing { machines: source.machines, adoption },
        Offer { images, limits, allowances },
        &data_dir,
        latest.clone(),
        at_once,
    );
    let (shells, links): (Arc<dyn ShellAccess>, Arc<dyn LinkAccess>) =
        match (&source.guests, &source.simulated) {
            (_, Some(fleet)) => (fleet.clone(), Arc::new(fleet.clone())),
            (Some(access), None) => {
                let shells = Arc::new(GuestShells::new(access.clone(), database.clone()));
                (shells.clone(), shells)
            }
            (None, None) => return Err("There is no access to the guests.".into()),
        };
    let terminal_idle = Duration::from_secs(60 * u64::from(arguments.terminal_idle_minutes));
    let terminals = Terminals::new(database.clone(), shells, terminal_idle);
    let accounts = Accounts::new(database.clone(), allowances);
    let network =
        Arc::new(Network::new(arguments.addr.ip(), &arguments.public_url, &arguments.trusted_proxy));
    let gateway =
        Gateway::new(accounts.clone(), vms.clone(), database.clone(), links, network.clone(), terminal_idle);
    let notified = database.clone();
    let state = AppState {
        accounts,
        registration: Registration::new(arguments.registration.into()).map_err(|e| e.to_string())?,
        new_links: NewLinks::default(),
        new_recovery_codes: NewRecoveryCodes::default(),
        alerts: Alerts::new(database.clone()),
        database,
        events,
        notifications: Notifications::new(
            notified,
            arguments.notifications.smtp_url.is_some(),
            !arguments.public_url.is_empty(),
        ),
        store,
        vms,
        terminals,
        gateway,
        latest,
        health: Health::default(),
        provider,
        interval_secs: arguments.collect_every,
        retention_days: arguments.retention_days,
        https: arguments.https,
        network,
        assets: Arc::new(assets),
        simulated: source.simulated.map(|fleet| (fleet, arguments.simulated_vms as usize)),
    };
    if let Some((fleet, _)) = &state.simulated {
        state.adopt_simulated_machines(fleet).await.map_err(|e| e.to_string())?;
        state.seed_simulated_fleet().await.map_err(|e| e.to_string())?;
    }
    Ok(ServerBuilder {
        state,
        hypervisor: source.hypervisor,
        guests: source.guests,
        index: source.index,
        data_dir,
    })
}

impl ServerBuilder {
    /// A collector that has not ticked yet. Within a runtime: its boot_setup begins at once.
    pub fn collector(&self) -> Collector {
        Collector {
            database: self.state.database.clone(),
            events: self.state.events.clone(),
            store: self.state.store.clone(),
            vms: self.state.vms.clone(),
            hypervisor: self.hypervisor.clone(),
            index: self.index.clone(),
            host: Arc::new(Mutex::new(Host::new(self.data_dir.clone()))),
            latest: self.state.latest.clone(),
            alerts: alerts::AlertEngine::new(self.state.database.clone(), self.state.interval_secs),
            health: self.state.health.clone(),
            boot_setup: BootSetup::begin(
                self.hypervisor.clone(),
                self.state.vms.clone(),
                self.state.interval_secs,
            ),
            probes: self.guests.clone().map_or_else(Probes::none, |access| {
                let (hypervisor, database) = (self.hypervisor.clone(), self.state.database.clone());
                Probes::new(access, hypervisor, self.index.clone(), database, self.state.interval_secs)
            }),
            interval_secs: self.state.interval_secs,
            memory: Memory::default(),
        }
    }
}

/// Starts the server and serves until it receives a signal.
///
/// # Errors
/// A message for the user.
pub async fn serve(arguments: ServeArgs) -> Result<(), String> {
    begin_log(&arguments.log);
    let mail = arguments.notifications.mail()?;
    let assets = web::assets::urls()?;
    let connections = ConnectionLimits::for_descriptors(raise_descriptor_limit());
    let listener = listen(arguments.addr)?;
    let ssh_listener = listen_for_ssh(arguments.ssh_addr)?;
    // Before the database is opened: a newer version brings it to its own form.
    let _lock = lock(&arguments.data.data_dir)?;
    let assembly = assemble(&arguments, assets, Source::new(&arguments)).await?;
    let state = assembly.state.clone();
    state.vms.resume().await.map_err(|e| format!("The open operations cannot be read: {e}."))?;
    let notifier = Notifier::new(state.database.clone(), mail, arguments.notifications.private_webhooks)
        .map_err(|error| format!("Notifications cannot be sent: {error}."))?
        .with_public_url(arguments.public_url.first().cloned());
    let collector = tokio::spawn(assembly.collector().run());
    tokio::spawn(notifier.clone().announce_outages(state.health.clone()));
    tokio::spawn(notifier.run());
    tokio::spawn(retention(state.store.clone(), arguments.retention_days));
    tokio::spawn(events_retention(state.database.clone(), arguments.events_retention_days));
    tokio::spawn(sealing(state.store.clone()));
    tokio::spawn(planned_stops(state.vms.clone()));
    tokio::spawn(other_processes(state.database.clone()));
    tokio::spawn(last_uses(state.accounts.clone()));
    tokio::spawn(counted_events(state.accounts.clone(), state.events.clone()));
    tokio::spawn(terminals(state.clone()));
    tokio::spawn(auto_start(state.clone()));
    if let Some(listener) = ssh_listener {
        let host_key = gateway::load_or_create_host_key(&assembly.data_dir)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(|e| e.to_string())?;
        tokio::spawn(state.gateway.clone().serve(listener, host_key));
    }

    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(|e| e.to_string())?;
    if !arguments.https && !address.ip().to_canonical().is_loopback() {
        tracing::warn!(
            %address,
            "passwords and sessions cross the network unencrypted: put a proxy with https in front, see --https"
        );
    }
    if arguments.notifications.smtp_url.is_some() && arguments.public_url.is_empty() {
        tracing::warn!(
            "no e-mail address can be confirmed, because mails have no link to this server: set --public-url"
        );
    }
    let needs_first_account = state.accounts.is_empty().await.map_err(|e| e.to_string())?;
    print!("{}", greeting(&state, address, needs_first_account));
    let (vms, accounts, events) = (state.vms.clone(), state.accounts.clone(), state.events.clone());
    let (terminals, gateway) = (state.terminals.clone(), state.gateway.clone());
    let (end, mut ending) = watch::channel(false);
    tokio::spawn(async move {
        shutdown_signal().await;
        terminals.end_all("The server is shutting down.").await;
        gateway.end_all("The server is shutting down.");
        let _ = end.send(true);
    });
    let mut last_requests = ending.clone();
    let serving = web::serve(listener, state, connections, async move {
        let _ = ending.wait_for(|ending| *ending).await;
    });
    tokio::select! {
        done = serving => done.map_err(|e| format!("The server stopped: {e}."))?,
        // A client that never finishes its request does not keep the server.
        () = async {
            let _ = last_requests.wait_for(|ending| *ending).await;
            tokio::time::sleep(FAREWELL).await;
        } => {}
        broken = collector => {
            return Err(format!("The collector stopped: {}.", broken.err().map(|e| e.to_string()).unwrap_or_default()));
        }
    }
    accounts.save_last_uses().await;
    accounts.record_failed_attempts(true).await;
    events.record_counted(true).await;
    vms.wait_until_idle(FAREWELL).await;
    tracing::info!("ended");
    Ok(())
}

/// What a start says in the terminal: where the pages are, and how the first account is created. The setup code is behind
/// `#`, which browsers send to no server.
fn greeting(state: &AppState, address: SocketAddr, needs_first_account: bool) -> String {
    let made_up = if state.provider == ProviderKind::Simulated {
        " (simulated fleet: nothing here is real)"
    } else {
        ""
    };
    let mut text = format!("Twarga Cloud is at http://{address}/{made_up}\n");
    if needs_first_account {
        let site =
            state.network.public_url().map_or_else(|| format!("http://{address}"), ToString::to_string);
        let code = state.registration.setup_code.expose();
        text += &format!("Create the admin account at {site}/setup#{code} (setup code {code})\n");
    }
    text
}

/// Copies the database of `data_dir` into a new `file`.
///
/// # Errors
/// A message for the user.
pub async fn back_up(file: &Path, data_dir: &Path) -> Result<(), String> {
    backup::back_up(data_dir, file).await.map_err(|e| e.to_string())?;
    println!("{} is a copy of the database. The VMs' folders and disks are not in it.", file.display());
    Ok(())
}

/// Checks the chain of events.
///
/// # Errors
/// A message for the user.
pub async fn audit(command: AuditCommand) -> Result<(), String> {
    let AuditCommand::Verify { expect, data } = command;
    let database = Database::open_as_it_is(&data.data_dir).await.map_err(|e| e.to_string())?;
    let verified = events::verify(&database, expect).await.map_err(|e| format!("{e}."))?;
    println!("{} events hold together.", verified.events);
    if verified.unchained > 0 {
        println!("{} older ones are from before events were chained.", verified.unchained);
    }
    let hash: String = verified.last_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("The last one, for --expect at a later check: {}:{hash}", verified.last_id);
    Ok(())
}

/// Puts a copy of the database in its place.
///
/// # Errors
/// A message for the user.
pub async fn restore(file: &Path, data_dir: &Path) -> Result<(), String> {
    let _lock = lock(data_dir)?;
    let kept = backup::restore(data_dir, file).await.map_err(|e| e.to_string())?;
    println!("The database is that of {}.", file.display());
    if let Some(kept) = kept {
        println!("The one before is kept as {}.", kept.display());
    }
    Ok(())
}

/// What accounts are given and may have, and what the host has for all.
pub(super) fn allowances(credits: CreditArgs, limits: Option<(LimitArgs, Option<HostUsage>)>) -> Allowances {
    let given = Allowances {
        user_credits: credits.credits,
        admin_credits: credits.admin_credits,
        ..Allowances::default()
    };
    let Some((limits, host)) = limits else { return given };
    let share = |all: f64, percent: u32| (all * f64::from(percent) / 100.0) as u64;
    let capacity = host.and_then(|host| {
        Some(Capacity {
            ram_mb: share(host.memory_total_gb? * 1024.0, limits.memory_overcommit),
            cpu_cores: share(host.cpu_cores.into(), limits.cpu_overcommit),
            disk_gb: share(host.disk_total_gb?, limits.disk_overcommit),
        })
    });
    Allowances { max_vms: limits.max_vms, refund_percent: limits.refund, capacity, ..given }
}

/// Shuts down VMs whose scheduled time has come.
async fn planned_stops(vms: Vms) {
    let mut interval = tokio::time::interval(SCHEDULED_ACTIONS_INTERVAL);
    loop {
        interval.tick().await;
        if let Err(error) = vms.stop_due(now()).await {
            tracing::error!(%error, "scheduled shutdowns could not be read");
        }
    }
}

/// Lets what is kept in memory be read again when another process has changed it.
async fn other_processes(database: Database) {
    let mut interval = tokio::time::interval(OTHER_PROCESSES_INTERVAL);
    loop {
        interval.tick().await;
        database.check_other_processes().await;
    }
}

async fn last_uses(accounts: Accounts) {
    let mut interval = tokio::time::interval(LAST_USES_INTERVAL);
    loop {
        interval.tick().await;
        accounts.save_last_uses().await;
    }
}

/// Writes the events about what is counted.
async fn counted_events(accounts: Accounts, events: Events) {
    let mut interval = tokio::time::interval(COUNTED_EVENTS_INTERVAL);
    loop {
        interval.tick().await;
        accounts.record_failed_attempts(false).await;
        events.record_counted(false).await;
    }
}

/// Ends terminals and ssh connections whose users or VMs are not what they were.
async fn terminals(state: AppState) {
    let mut interval = tokio::time::interval(TERMINALS_INTERVAL);
    loop {
        interval.tick().await;
        state.terminals.end_unallowed(&state.accounts, &state.vms).await;
        state.gateway.end_unallowed().await;
    }
}

/// Starts the VMs that start with the server, once a sample has shown their state.
async fn auto_start(state: AppState) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    while state.latest.get().sampled_at == UtcMillis::default() {
        interval.tick().await;
    }
    if let Err(error) = state.vms.start_those_that_start_with_the_server().await {
        tracing::error!(%error, "VMs could not be started with the server");
    }
}

fn begin_log(filter: &str) {
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let has_colours = io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(has_colours)
        .with_writer(move || OneLine { writer: io::stderr(), has_colours })
        .try_init();
}

/// Writes each event of the log as one line, whatever text it contains: a line break in it could pass for another event, and
/// a control sequence could hide one from a terminal.
struct OneLine<W> {
    writer: W,
    /// Escape characters are those of `tracing_subscriber`, which escapes the others itself.
    has_colours: bool,
}

impl<W: Write> Write for OneLine<W> {
    /// `event` is a whole one: that is how `tracing_subscriber` writes.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event.strip_suffix(b"\n").unwrap_or(event));
        let mut line = String::with_capacity(event.len());
        for character in text.chars() {
            match character {
                '\x1b' if self.has_colours => line.push(character),
                _ if character.is_control() || moves_text(character) => {
                    line.extend(character.escape_default());
                }
                _ => line.push(character),
            }
        }
        line.push('\n');
        self.writer.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Line and paragraph separators, and marks that change the direction of text.
fn moves_text(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
        || ('\u{202a}'..='\u{202e}').contains(&character)
        || ('\u{2066}'..='\u{2069}').contains(&character)
}

/// One server a folder: two would carry out each other's operations. Held until it is dropped.
pub(super) fn lock(data_dir: &Path) -> Result<Flock<File>, String> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(|e| {
        format!("The folder {} cannot be made: {e}. Choose another with --data-dir.", data_dir.display())
    })?;
    let file = File::create(data_dir.join("lock"))
        .map_err(|e| format!("{} cannot be locked: {e}.", data_dir.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        format!(
            "Another server uses the folder {} already. End that one, or choose another folder with --data-dir.",
            data_dir.display()
        )
    })
}

/// Lets this process have as many descriptors as the system allows, and returns how many that are: each connection, guest
/// and child process takes some, and the usual limit of 1024 is kept low for programs that use `select` only.
fn raise_descriptor_limit() -> rlim_t {
    /// What systems without any setting of their own allow.
    const ASSUMED: rlim_t = 1024;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return ASSUMED };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, hard, "the limit of descriptors cannot be raised");
            soft
        }
    }
}

/// The socket that was handed in (LISTEN_FDS), or a new one.
fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    let handed_in = listenfd::ListenFd::from_env()
        .take_tcp_listener(0)
        .map_err(|e| format!("The socket that was handed in (LISTEN_FDS) is no TCP socket: {e}."))?;
    let listener = match handed_in {
        Some(listener) => listener,
        None => TcpListener::bind(address).map_err(|e| {
            format!("{address} cannot be listened on: {e}. Choose another address with --addr, such as 127.0.0.1:3001.")
        })?,
    };
    listener.set_nonblocking(true).map_err(|e| e.to_string())?;
    Ok(listener)
}

/// The socket of the ssh gateway; `None` without one. Unless an address was chosen, another program may have it.
fn listen_for_ssh(chosen: Option<SshAddr>) -> Result<Option<TcpListener>, String> {
    let address = match chosen {
        Some(SshAddr::None) => return Ok(None),
        Some(SshAddr::At(address)) => address,
        None => DEFAULT_SSH_ADDR,
    };
    match TcpListener::bind(address) {
        Ok(listener) => {
            listener.set_nonblocking(true).map_err(|e| e.to_string())?;
            Ok(Some(listener))
        }
        Err(error) if chosen.is_none() => {
            tracing::warn!(%address, %error, "there is no ssh gateway: choose another address with --ssh-addr");
            Ok(None)
        }
        Err(error) => Err(format!(
            "{address} cannot be listened on for ssh: {error}. Choose another address with --ssh-addr, or none."
        )),
    }
}

fn driver(asked: LibvirtDriver) -> Driver {
    let kvm_is_ours = || OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    match asked {
        LibvirtDriver::Kvm => Driver::Kvm,
        LibvirtDriver::Qemu => Driver::Qemu,
        LibvirtDriver::Auto if kvm_is_ours() => Driver::Kvm,
        LibvirtDriver::Auto => Driver::Qemu,
    }
}

/// Removes what is too old. The clock may be wrong for a while, as after a start without a network, and what is
/// removed is gone: a jump ahead is believed bit by bit, [`BELIEF`] times as fast as time passes.
async fn retention(store: Store, days: u32) {
    let mut interval = tokio::time::interval(RETENTION_INTERVAL);
    let mut believed = store.newest_tick();
    loop {
        interval.tick().await;
        let most = believed.plus_secs(BELIEF * RETENTION_INTERVAL.as_secs().cast_signed());
        let newest = store.newest_tick();
        believed = if believed == UtcMillis(0) { newest } else { newest.min(most) };
        let before = believed.plus_secs(-i64::from(days) * 24 * 60 * 60);
        match store.delete_before(before).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "deleted expired ticks"),
            Err(error) => tracing::error!(%error, "expired samples could not be deleted"),
        }
    }
}

/// Deletes expired events once an hour: none of the first hour, in which a wrong clock may be set right.
async fn events_retention(database: Database, days: u32) {
    let mut interval = tokio::time::interval(EVENTS_RETENTION_INTERVAL);
    interval.tick().await;
    loop {
        interval.tick().await;
        let before = now().plus_secs(-i64::from(days) * 24 * 60 * 60);
        match events::delete_before(&database, before).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "deleted expired events"),
            Err(error) => tracing::error!(%error, "expired events could not be deleted"),
        }
    }
}

/// Seals completed hours, and deletes the samples whose deletion was requested.
async fn sealing(store: Store) {
    let mut interval = tokio::time::interval(SEALING_INTERVAL);
    loop {
        interval.tick().await;
        match store.seal().await {
            Ok(0) => {}
            Ok(hours) => tracing::debug!(hours, "sealed"),
            Err(error) => tracing::error!(%error, "an hour could not be compressed; it stays uncompressed"),
        }
        match store.delete_expired().await {
            Ok(0) => {}
            Ok(vms) => tracing::info!(vms, "deleted the samples of destroyed VMs as requested"),
            Err(error) => tracing::error!(%error, "a destroyed VM's samples could not be removed"),
        }
    }
}

async fn shutdown_signal() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
    tracing::info!("shutting down: waiting for operations");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn text_in_the_log_cannot_pass_for_another_event() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || OneLine { writer: writer.clone(), has_colours: false })
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let forged = "fun\n2026-11-30T00:00:00Z  INFO twarga_cloud: ada made eve an admin.";
            tracing::info!("ada gave bob 5 credits: {forged}");
            tracing::error!(error = %"no\r\n2026-11-30 ERROR all is lost", "a request failed");
            tracing::warn!(detail = forged, "vagrant failed");
            tracing::info!(name = %"a\x1b[2K\x0b\x0c\u{85}\u{9b}2K\u{2028}\u{2029}\u{202e}b", "names");
        });
        let bytes = written.0.lock().unwrap().clone();
        let text = std::str::from_utf8(&bytes).unwrap();
        let ends = |c: char| c == '\u{2028}' || c == '\u{2029}' || c == '\u{202e}' || c.is_control();
        let lines: Vec<_> = text.split_terminator(ends).collect();
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(lines[0].contains("5 credits: fun\\n2026-11-30T00:00:00Z  INFO"), "{}", lines[0]);
    }
}
