//! The application state shared by all requests, created once at start.

use super::{
    accounts::{Accounts, AdminAccess, NewInvitation, Registration, RegistrationForm, Token},
    alerts::Alerts,
    database::Database,
    events::Events,
    gateway::Gateway,
    metrics::{Span, Store},
    monitor::{health::Health, latest::Latest},
    network::Network,
    new_links::{NewLinks, NewRecoveryCodes},
    notifications::Notifications,
    provider::Machine,
    simulated::SimulatedFleet,
    terminals::Terminals,
    vms::{Scope, Vms},
};
use crate::{
    asset_urls::AssetUrls,
    model::{
        ApiError, Charts, CollectorHealth, CurrentUser, Instance, Live, ProviderKind, RegistrationMode,
        Transport, UtcMillis, VmUsage, VmView,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sha2::{Digest, Sha256};
use std::{net::IpAddr, sync::Arc, time::Instant};

/// The span of a page's first load, and the longest that a poll may request.
const WINDOW_SECS: u32 = 15 * 60;

/// More marks than this could not be distinguished on a chart.
const CHARTED_EVENTS: u32 = 200;

const CHARTED_OF_VM: [&str; 6] = [
    "vm_cpu_percent",
    "vm_memory_percent",
    "vm_disk_percent",
    "vm_image_percent",
    "vm_network_rx_mb_per_s",
    "vm_network_tx_mb_per_s",
];

const CHARTED_OF_HOST: [&str; 9] = [
    "host_cpu_percent",
    "host_memory_percent",
    "host_disk_percent",
    "host_net_recv_speed",
    "host_net_send_speed",
    "host_swap_percent",
    "host_load_1",
    "host_load_5",
    "host_load_15",
];

/// A version of `vms` without their values.
fn version(vms: &[VmView]) -> String {
    let mut digest = Sha256::new();
    for vm in vms {
        let bare = VmView { usage: VmUsage::default(), ..vm.clone() };
        digest.update(serde_json::to_vec(&bare).unwrap_or_default());
    }
    BASE64.encode(&digest.finalize()[..12])
}

#[derive(Clone)]
pub struct AppState {
    pub database: Database,
    pub accounts: Accounts,
    pub registration: Registration,
    pub new_links: NewLinks,
    pub new_recovery_codes: NewRecoveryCodes,
    pub alerts: Alerts,
    pub events: Events,
    pub notifications: Notifications,
    pub store: Store,
    pub vms: Vms,
    pub terminals: Terminals,
    pub gateway: Gateway,
    pub latest: Latest,
    pub health: Health,
    pub provider: ProviderKind,
    pub interval_secs: u32,
    pub retention_days: u32,
    pub https: bool,
    pub network: Arc<Network>,
    pub assets: Arc<AssetUrls>,
    /// When VMs are simulated: the fleet, and how many VMs the first account gets.
    pub simulated: Option<(Arc<SimulatedFleet>, usize)>,
}

impl AppState {
    /// What every page needs to know.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn instance(&self, transport: Transport) -> Result<Instance, ApiError> {
        Ok(Instance {
            provider: self.provider,
            needs_first_account: self.accounts.is_empty().await?,
            registration: self.registration.mode,
            version: env!("CARGO_PKG_VERSION").into(),
            transport,
            public_url: self.network.public_url().map(ToString::to_string),
        })
    }

    /// Makes an account; the first one is given the simulated fleet, where there is one.
    ///
    /// # Errors
    /// As [`Accounts::register_visitor`].
    pub async fn register(
        &self,
        form: RegistrationForm<'_>,
        address: IpAddr,
    ) -> Result<CurrentUser, ApiError> {
        let user = self.accounts.register_visitor(&self.registration, form, address).await?;
        self.seed_simulated_fleet().await?;
        Ok(user)
    }

    /// Makes an invitation, where they are of use. Gives its token, and until when it is valid.
    ///
    /// # Errors
    /// `Conflict` while registration is closed; otherwise as [`Accounts::create_invitation`].
    pub async fn invite(
        &self,
        admin: &AdminAccess,
        new: &NewInvitation,
    ) -> Result<(Token, UtcMillis), ApiError> {
        if self.registration.mode == RegistrationMode::Closed {
            return Err(ApiError::conflict(
                "Registration is closed, so nobody could use the invitation. Start the server with --registration invited.",
            ));
        }
        self.accounts.create_invitation(admin, new).await
    }

    /// The state of the VMs in a scope, with their points since `cursor` or of the last `window_secs`, and all open alerts
    /// that `user` may see.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn live(
        &self,
        user: &CurrentUser,
        scope: Scope,
        cursor: Option<UtcMillis>,
        window_secs: Option<u32>,
    ) -> Result<Live, ApiError> {
        let snapshot = self.latest.get();
        let mut vms = self.vms.list(scope).await?;
        for vm in &mut vms {
            vm.usage = vm.usage.rounded();
        }
        let oldest =
            snapshot.sampled_at.plus_secs(-i64::from(window_secs.unwrap_or(WINDOW_SECS).min(WINDOW_SECS)));
        let after = cursor.unwrap_or(oldest).max(oldest);
        let ids: Vec<_> = vms.iter().map(|vm| vm.id).collect();
        let mut series = self.store.series(&ids, after, snapshot.sampled_at).await?;
        if cursor.is_none() {
            // Nothing was drawn before the first point, so there is no gap before it.
            for series in &mut series {
                series.drop_leading_gap();
            }
        }
        Ok(Live {
            cursor: snapshot.sampled_at,
            interval_secs: self.interval_secs,
            trouble: snapshot.trouble(self.interval_secs),
            host: snapshot.host,
            version: version(&vms),
            vms,
            usage: Vec::new(),
            series,
            alerts: self.alerts.open(Scope::of(user)).await?,
            collector: None,
        })
    }

    /// The data of the charts of a VM, or of the host (`None`), over a span of time: by default the `last_secs` up to the
    /// newest tick.
    ///
    /// # Errors
    /// `Invalid` when the span is none.
    pub async fn charts(
        &self,
        vm_id: Option<i64>,
        span: Span,
        last_secs: Option<u32>,
    ) -> Result<Charts, ApiError> {
        let names = if vm_id.is_some() { &CHARTED_OF_VM[..] } else { &CHARTED_OF_HOST[..] };
        let to = span.to.unwrap_or_else(|| self.latest.get().sampled_at);
        let last_secs = last_secs.unwrap_or(WINDOW_SECS);
        let from = span.from.unwrap_or_else(|| to.plus_secs(-i64::from(last_secs)));
        // What has happened since the newest tick belongs to the newest time, too.
        let is_past = span.from.is_some() && span.to.is_some();
        let until = if is_past { to } else { to.plus_secs(self.interval_secs.into()) };
        let span = Span { from: Some(from), to: Some(to) };
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let ranges = self.store.ranges(vm_id.as_slice(), &names, span, None).await?;
        let mut statistics = Vec::with_capacity(ranges.len());
        for range in &ranges {
            statistics.push(self.store.statistics(vm_id, &range.metric_name, span).await?);
        }
        let events = self.events.between(vm_id, from, until, CHARTED_EVENTS).await?;
        Ok(Charts { from, to, ranges, statistics, events })
    }

    /// How the collector is doing.
    pub fn collector_health(&self, _: &AdminAccess) -> CollectorHealth {
        self.health.report(Instant::now(), self.interval_secs)
    }

    /// Gives the first account its simulated VMs, if there is an account and there are no VMs yet.
    ///
    /// # Errors
    /// `Internal` when database or disk say no.
    pub async fn seed_simulated_fleet(&self) -> Result<(), ApiError> {
        let Some((fleet, count)) = &self.simulated else { return Ok(()) };
        let Some(owner) = self.accounts.first().await? else { return Ok(()) };
        if self.vms.has_ever_existed().await? {
            return Ok(());
        }
        let now = super::database::now();
        let begin = |machine: &Machine| fleet.adopt(machine, Some(now));
        self.vms.seed(owner.id, super::simulated::seeded_specs(*count), begin).await
    }

    /// Adds the machines of the database to the fleet, which only exists in memory.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn adopt_simulated_machines(&self, fleet: &SimulatedFleet) -> Result<(), ApiError> {
        use crate::model::VmStatus::{Failed, NotCreated, Pending, Stopped};
        for monitored in self.vms.monitored().await.map_err(super::internal)? {
            let since = match monitored.view.status {
                Failed | NotCreated | Pending => continue,
                Stopped => None,
                _ => Some(monitored.view.updated_at),
            };
            fleet.adopt(&monitored.machine, since);
        }
        Ok(())
    }
}
