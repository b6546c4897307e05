//! Polls for the metrics and VMs that a page shows.
//!
//! Polling continues from the cursor of the data that the page was rendered with. At most one poll runs at a time. It
//! pauses while the page is hidden and resumes at once when the page is visible again. When a poll fails, the page keeps
//! the last data and shows the error, and the poll is retried with exponential backoff. Polling stops when the reactive
//! owner that started it is disposed. It never runs on the server.

use super::{
    auth::sign_in_address,
    browser,
    notify::Notify,
    sparkline_geometry::{self, Point},
};
use crate::{
    api::metrics_since,
    model::{ApiError, ErrorCode, Live, OperationView, Series, UtcMillis, VmUsage, VmView},
};
use leptos::{prelude::*, reactive::spawn_local_scoped_with_cancellation};
use leptos_router::{NavigateOptions, hooks::use_navigate};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// What a page polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// One VM, or all VMs that the user may see.
    pub vm_id: Option<i64>,
    /// How far back the page shows samples; at most 900.
    pub window_secs: u32,
}

/// The state of the connection to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// There was no poll yet: the data is what the page was rendered with.
    Rendered,
    /// The last poll succeeded.
    Live,
    /// The last polls failed, this many in a row; the data is out of date.
    Lost { failures: u32, text: String },
    /// The VM no longer exists. Polling has stopped.
    Gone,
}

const POLL_TIMEOUT_MILLIS: u32 = 10_000;
/// The interval while an operation is queued or running, to follow its output.
const BUSY_INTERVAL_MILLIS: u32 = 1500;
const LONGEST_WAIT_MILLIS: u32 = 30_000;

#[derive(Clone, Copy)]
pub struct Feed {
    pub scope: Scope,
    /// The latest response, with the samples of the whole window.
    pub live: RwSignal<Live>,
    pub connection: RwSignal<Connection>,
    /// The server's time, estimated from its latest response and this machine's clock.
    pub now: RwSignal<UtcMillis>,
    /// The version in `live`; notifies only when it changes.
    version: RwSignal<String>,
    wake: StoredValue<Notify>,
    /// How far the server's clock is ahead of this machine's, in milliseconds.
    clock_offset: StoredValue<Option<i64>>,
}

impl Feed {
    pub fn start(first: Live, scope: Scope) -> Self {
        let feed = Self {
            scope,
            now: RwSignal::new(first.cursor),
            version: RwSignal::new(first.version.clone()),
            live: RwSignal::new(first),
            connection: RwSignal::new(Connection::Rendered),
            wake: StoredValue::default(),
            clock_offset: StoredValue::new(None),
        };
        Effect::new(move || feed.begin());
        feed
    }

    /// Polls at once, or as soon as the current poll has finished.
    pub fn poll_now(self) {
        self.wake.try_with_value(Notify::notify_one);
    }

    fn begin(self) {
        self.set_clock();
        browser::on_visibility_change(move || self.poll_now());
        browser::on_network_return(move || self.poll_now());
        // Only the duration of a running operation is shown to the second.
        let busy = self.of_facts(|vms| vms.iter().any(|vm| open_operation(vm).is_some()));
        Effect::new(move || {
            if busy.get()
                && let Ok(clock) = set_interval_with_handle(move || self.set_clock(), Duration::from_secs(1))
            {
                on_cleanup(move || clock.clear());
            }
        });
        let (navigate, sign_in) = (use_navigate(), sign_in_address());
        spawn_local_scoped_with_cancellation(async move {
            while self.poll_next().await {}
            if self.connection.get_untracked() != Connection::Gone {
                navigate(&sign_in(), NavigateOptions::default());
            }
        });
    }

    /// Waits for the next poll and runs it. False when polling has to stop.
    async fn poll_next(self) -> bool {
        let wake = self.wake.get_value();
        browser::timeout(self.wait_millis(), wake.notified()).await;
        while !browser::page_is_visible() {
            wake.notified().await;
        }
        let Scope { vm_id, window_secs } = self.scope;
        let (cursor, version) = self.live.with_untracked(|live| (live.cursor, live.version.clone()));
        let poll = metrics_since(Some(cursor), vm_id, Some(window_secs), Some(version.clone()));
        let answer = browser::timeout(POLL_TIMEOUT_MILLIS, poll).await;
        match answer.unwrap_or_else(|| Err(ApiError::no_answer())) {
            Ok(newer) => {
                self.live.update(|live| merge(live, newer, self.scope.window_secs));
                let newest = self.live.with_untracked(|live| live.version.clone());
                if newest != version {
                    self.version.set(newest);
                }
                self.set_clock();
                self.set_connection(Connection::Live);
            }
            Err(error) if error.code == ErrorCode::NotSignedIn => return false,
            Err(error) if error.code == ErrorCode::NotFound => {
                self.set_connection(Connection::Gone);
                return false;
            }
            Err(error) => {
                let failures = match self.connection.get_untracked() {
                    Connection::Lost { failures, .. } => failures + 1,
                    Connection::Rendered | Connection::Live | Connection::Gone => 1,
                };
                self.set_connection(Connection::Lost { failures, text: error.text });
            }
        }
        true
    }

    fn wait_millis(self) -> u32 {
        match self.connection.get_untracked() {
            Connection::Lost { failures, .. } => backoff_millis(failures),
            Connection::Rendered | Connection::Live | Connection::Gone if self.is_busy() => {
                BUSY_INTERVAL_MILLIS
            }
            Connection::Rendered | Connection::Live | Connection::Gone => {
                self.live.with_untracked(|live| live.interval_secs.max(1) * 1000)
            }
        }
    }

    /// Whether an operation is queued or running.
    fn is_busy(self) -> bool {
        self.live.with_untracked(|live| live.vms.iter().any(|vm| open_operation(vm).is_some()))
    }

    /// Notifies only on a change, so that an unchanged state renders nothing.
    fn set_connection(self, connection: Connection) {
        if self.connection.with_untracked(|own| *own != connection) {
            self.connection.set(connection);
        }
    }

    /// The response with the shortest delay gives the best estimate of the offset between the clocks. Keeping the largest
    /// offset also keeps `now` from running backwards.
    fn set_clock(self) {
        let (local, cursor) = (browser::now(), self.live.with_untracked(|live| live.cursor));
        let offset = self.clock_offset.get_value().unwrap_or(i64::MIN).max(cursor.0 - local.0);
        self.clock_offset.set_value(Some(offset));
        self.now.set(UtcMillis(local.0 + offset));
    }

    /// The VM `id`, while it exists; notifies only when it has changed.
    pub fn vm(self, id: i64) -> Memo<Option<VmView>> {
        let index = CachedIndex::default();
        Memo::new(move |_| self.live.with(|live| index.find(&live.vms, |vm| vm.id == id).cloned()))
    }

    /// The latest metrics of VM `id`; notifies only when one of them has changed.
    pub fn usage(self, id: i64) -> Memo<VmUsage> {
        let index = CachedIndex::default();
        Memo::new(move |_| {
            self.live.with(|live| {
                index.find(&live.vms, |vm| vm.id == id).map_or_else(Default::default, |vm| vm.usage)
            })
        })
    }

    /// The VM without its metrics, which most polls leave unchanged.
    pub fn facts(self, id: i64) -> Memo<Option<VmView>> {
        let index = CachedIndex::default();
        Memo::new(move |_| {
            self.follow_facts();
            let bare = |vm: &VmView| VmView { usage: VmUsage::default(), ..vm.clone() };
            self.live.with_untracked(|live| index.find(&live.vms, |vm| vm.id == id).map(bare))
        })
    }

    /// Makes the calling effect or memo run again when anything but metrics has changed.
    pub fn follow_facts(self) {
        self.version.track();
    }

    /// A value derived from all VMs, without their metrics.
    pub fn of_facts<T: PartialEq + Send + Sync + 'static>(
        self,
        read: impl Fn(&[VmView]) -> T + Send + Sync + 'static,
    ) -> Memo<T> {
        Memo::new(move |_| {
            self.follow_facts();
            self.live.with_untracked(|live| read(&live.vms))
        })
    }

    /// Whether the data is out of date.
    pub fn is_stale(self) -> bool {
        self.connection.with(|connection| matches!(connection, Connection::Lost { .. }))
    }

    /// One metric of a VM over time. The server marks gaps with an unknown value.
    pub fn points(self, id: i64, column: fn(&Series) -> &Vec<Option<f64>>) -> Signal<Vec<Point>> {
        let index = CachedIndex::default();
        Signal::derive(move || {
            self.live.with(|live| {
                let series = index.find(&live.series, |series| series.vm_id == id);
                series.map_or_else(Vec::new, |s| sparkline_geometry::points(&s.sampled_at, column(s)))
            })
        })
    }
}

/// Finds an item in a list that seldom changes; looks first where it was found last.
#[derive(Default)]
struct CachedIndex(AtomicUsize);

impl CachedIndex {
    fn find<'a, T>(&self, list: &'a [T], matches: impl Fn(&T) -> bool) -> Option<&'a T> {
        let cached = list.get(self.0.load(Ordering::Relaxed)).filter(|item| matches(item));
        cached.or_else(|| {
            let index = list.iter().position(matches)?;
            self.0.store(index, Ordering::Relaxed);
            list.get(index)
        })
    }
}

/// The operation of a VM that is queued or running.
pub fn open_operation(vm: &VmView) -> Option<&OperationView> {
    vm.operation.as_ref().filter(|operation| operation.state.is_open())
}

/// Exponential backoff: 1, 2, 4, … seconds, at most [`LONGEST_WAIT_MILLIS`].
fn backoff_millis(failures: u32) -> u32 {
    (1000 << failures.saturating_sub(1).min(10)).min(LONGEST_WAIT_MILLIS)
}

/// Replaces `live` with `newer`, keeping the samples of the window. Old samples leave the window also when a VM has
/// stopped and has no new ones.
fn merge(live: &mut Live, newer: Live, window_secs: u32) {
    let newer = newer.completed(&mut live.vms);
    let keep_since = newer.cursor.plus_secs(-i64::from(window_secs));
    let mut series = std::mem::take(&mut live.series);
    series.retain(|own| newer.vms.iter().any(|vm| vm.id == own.vm_id));
    for own in &mut series {
        let new = newer.series.iter().find(|new| new.vm_id == own.vm_id);
        own.append(new.unwrap_or(&Series::default()), keep_since);
    }
    let unseen = newer.series.iter().filter(|new| !series.iter().any(|own| own.vm_id == new.vm_id));
    let unseen = unseen.cloned().collect::<Vec<_>>();
    series.extend(unseen);
    *live = Live { series, ..newer };
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::model::{HostUsage, VmSpec, VmStatus};

    pub fn vm(id: i64) -> VmView {
        VmView {
            id,
            name: format!("vm-{id}"),
            owner_id: 1,
            owner_name: "ada".into(),
            os_type: "Debian 12".into(),
            spec: VmSpec { image: "debian-12".into(), ram_mb: 512, cpu_cores: 1, disk_gb: 10 },
            next_spec: None,
            auto_start: false,
            stop_at: None,
            unexpected_stop_at: None,
            status: VmStatus::Running,
            problem: None,
            ip_address: None,
            adopted: None,
            created_at: UtcMillis(0),
            updated_at: UtcMillis(0),
            operation: None,
            access: crate::model::AccessLevel::Own,
            allowed: vec![],
            usage: VmUsage::default(),
        }
    }

    fn series(vm_id: i64, secs: &[i64]) -> Series {
        let column = vec![Some(1.0); secs.len()];
        Series {
            vm_id,
            sampled_at: secs.iter().map(|s| UtcMillis(s * 1000)).collect(),
            cpu_percent: column.clone(),
            memory_percent: column.clone(),
            disk_percent: column.clone(),
            image_percent: vec![],
            network_rx_mb_per_s: column.clone(),
            network_tx_mb_per_s: column,
        }
    }

    pub fn live(cursor_secs: i64, vms: &[i64], series: Vec<Series>) -> Live {
        Live {
            cursor: UtcMillis(cursor_secs * 1000),
            interval_secs: 5,
            trouble: None,
            host: HostUsage::default(),
            version: String::new(),
            usage: vec![],
            vms: vms.iter().copied().map(vm).collect(),
            series,
            alerts: vec![],
            collector: None,
        }
    }

    #[test]
    fn unchanged_vms_are_not_sent_again() {
        let whole = |cursor| Live { version: "a".into(), ..live(cursor, &[1, 2], vec![]) };
        let mut own = whole(5);
        let mut newer = whole(10);
        newer.vms[1].usage.cpu_percent = Some(7.0);
        let expected = newer.clone();
        let sent = newer.beside(Some("a"));
        assert!(sent.vms.is_empty() && sent.usage.len() == 2);
        merge(&mut own, sent, 900);
        assert_eq!(own, expected);
        assert_eq!(whole(15).beside(Some("b")), whole(15));
        assert_eq!(whole(15).beside(None), whole(15));
    }

    #[test]
    fn new_samples_are_appended_and_old_ones_leave_the_window() {
        let mut own = live(10, &[1, 2], vec![series(1, &[5, 10]), series(2, &[5, 10])]);
        merge(&mut own, live(15, &[1, 2], vec![series(1, &[15])]), 8);
        assert_eq!(own.series, [series(1, &[10, 15]), series(2, &[10])]);
        assert_eq!(own.cursor, UtcMillis(15_000));
    }

    #[test]
    fn a_removed_vm_takes_its_samples_along_and_a_new_one_adds_its_own() {
        let mut own = live(10, &[1], vec![series(1, &[10])]);
        merge(&mut own, live(15, &[3], vec![series(3, &[15])]), 60);
        assert_eq!(own.series, [series(3, &[15])]);
    }

    #[test]
    fn the_backoff_doubles_with_every_failure_up_to_half_a_minute() {
        assert_eq!([1, 2, 3, 9].map(backoff_millis), [1000, 2000, 4000, 30_000]);
    }
}
