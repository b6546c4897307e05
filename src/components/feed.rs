//! The one poll of a page.
//!
//! A page begins with the figures that it was rendered with and goes on from their cursor. At most one poll is
//! under way; none while the page is hidden, one at once when it is seen again. A poll that fails keeps the
//! last figures, says so, and is tried again after longer and longer waits. All of it ends with the owner that
//! began it. On the server nothing of it runs.

use super::{
    bell::Bell,
    browser,
    layout::sign_in_address,
    sparkline_geometry::{self, Point},
};
use crate::{
    api::metrics_since_address,
    model::{ErrorCode, Live, OperationView, Series, UtcMillis, VmFigures, VmView},
};
use leptos::{prelude::*, reactive::spawn_local_scoped_with_cancellation};
use leptos_router::{NavigateOptions, hooks::use_navigate};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// What a page polls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// One VM, or all that the caller may see.
    pub vm_id: Option<i64>,
    /// How far back the page shows points; at most 900.
    pub window_secs: u32,
}

/// How the poll stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// The figures are the newest.
    Live,
    /// The last polls failed, so many in a row; the figures are as old as they are.
    Lost { failures: u32, text: String },
    /// What the page is about is not there any more. Not polled again.
    Gone,
}

const POLL_TIMEOUT_MILLIS: u32 = 10_000;
/// The period while an operation is open: its lines are read as they come.
const BUSY_PERIOD_MILLIS: u32 = 1500;
const LONGEST_WAIT_MILLIS: u32 = 30_000;

#[derive(Clone, Copy)]
pub struct Feed {
    pub scope: Scope,
    /// The newest answer, with the points of all answers of the window.
    pub live: RwSignal<Live>,
    pub link: RwSignal<Link>,
    /// The server's time as far as it can be told: by its newest answer and this machine's clock since then.
    pub now: RwSignal<UtcMillis>,
    /// That of `live`; tells of a change only when there is one.
    version: RwSignal<String>,
    bell: StoredValue<Bell>,
    /// Milliseconds that the server's clock is ahead of this machine's.
    ahead: StoredValue<Option<i64>>,
}

impl Feed {
    pub fn start(first: Live, scope: Scope) -> Self {
        let feed = Self {
            scope,
            now: RwSignal::new(first.cursor),
            version: RwSignal::new(first.version.clone()),
            live: RwSignal::new(first),
            link: RwSignal::new(Link::Live),
            bell: StoredValue::default(),
            ahead: StoredValue::new(None),
        };
        Effect::new(move || feed.begin());
        feed
    }

    /// Polls at once, or as soon as the poll under way is over.
    pub fn poll_now(self) {
        self.bell.try_with_value(Bell::ring);
    }

    fn begin(self) {
        self.set_clock();
        browser::on_visibility_change(move || self.poll_now());
        browser::on_network_return(move || self.poll_now());
        // Only how long an operation has taken is told to the second.
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
            while self.keep_polling().await {}
            if self.link.get_untracked() != Link::Gone {
                navigate(&sign_in(), NavigateOptions::default());
            }
        });
    }

    /// Waits for its time and polls once. False when that was the last time.
    async fn keep_polling(self) -> bool {
        let bell = self.bell.get_value();
        browser::within(self.wait_millis(), bell.heard()).await;
        while !browser::page_is_visible() {
            bell.heard().await;
        }
        let Scope { vm_id, window_secs } = self.scope;
        let (cursor, version) = self.live.with_untracked(|live| (live.cursor, live.version.clone()));
        let address = metrics_since_address(cursor, vm_id, window_secs, &version);
        match browser::get_apart::<Live>(&address, POLL_TIMEOUT_MILLIS).await {
            Ok(newer) => {
                self.live.update(|live| absorb(live, newer, self.scope.window_secs));
                let newest = self.live.with_untracked(|live| live.version.clone());
                if newest != version {
                    self.version.set(newest);
                }
                self.set_clock();
                self.set(Link::Live);
            }
            Err(error) if error.code == ErrorCode::NotSignedIn => return false,
            Err(error) if error.code == ErrorCode::NotFound => {
                self.set(Link::Gone);
                return false;
            }
            Err(error) => {
                let failures = match self.link.get_untracked() {
                    Link::Lost { failures, .. } => failures + 1,
                    Link::Live | Link::Gone => 1,
                };
                self.set(Link::Lost { failures, text: error.text });
            }
        }
        true
    }

    fn wait_millis(self) -> u32 {
        match self.link.get_untracked() {
            Link::Lost { failures, .. } => wait_after(failures),
            Link::Live | Link::Gone if self.is_busy() => BUSY_PERIOD_MILLIS,
            Link::Live | Link::Gone => self.live.with_untracked(|live| live.period_secs.max(1) * 1000),
        }
    }

    /// Whether an operation is open.
    fn is_busy(self) -> bool {
        self.live.with_untracked(|live| live.vms.iter().any(|vm| open_operation(vm).is_some()))
    }

    /// A signal that is set to what it was would draw the page anew for nothing.
    fn set(self, link: Link) {
        if self.link.with_untracked(|own| *own != link) {
            self.link.set(link);
        }
    }

    /// The least delay seen between a tick and its arrival says best how far the clocks are apart; it never
    /// lets `now` run backwards while this machine's clock is steady.
    fn set_clock(self) {
        let (own, cursor) = (browser::now(), self.live.with_untracked(|live| live.cursor));
        let ahead = self.ahead.get_value().unwrap_or(i64::MIN).max(cursor.0 - own.0);
        self.ahead.set_value(Some(ahead));
        self.now.set(UtcMillis(own.0 + ahead));
    }

    /// The VM `id`, while it is there; changes only when something about it does.
    pub fn vm(self, id: i64) -> Memo<Option<VmView>> {
        let place = Place::default();
        Memo::new(move |_| self.live.with(|live| place.find(&live.vms, |vm| vm.id == id).cloned()))
    }

    /// The newest values of VM `id`; changes only when one of them does.
    pub fn figures(self, id: i64) -> Memo<VmFigures> {
        let place = Place::default();
        Memo::new(move |_| {
            self.live.with(|live| {
                place.find(&live.vms, |vm| vm.id == id).map_or_else(Default::default, |vm| vm.figures)
            })
        })
    }

    /// The VM without its values: most polls leave it unchanged.
    pub fn facts(self, id: i64) -> Memo<Option<VmView>> {
        let place = Place::default();
        Memo::new(move |_| {
            self.follow_facts();
            let bare = |vm: &VmView| VmView { figures: VmFigures::default(), ..vm.clone() };
            self.live.with_untracked(|live| place.find(&live.vms, |vm| vm.id == id).map(bare))
        })
    }

    /// Makes the calling effect or memo run again when anything but figures has changed.
    pub fn follow_facts(self) {
        self.version.track();
    }

    /// What is told of all VMs without their figures.
    pub fn of_facts<T: PartialEq + Send + Sync + 'static>(
        self,
        read: impl Fn(&[VmView]) -> T + Send + Sync + 'static,
    ) -> Memo<T> {
        Memo::new(move |_| {
            self.follow_facts();
            self.live.with_untracked(|live| read(&live.vms))
        })
    }

    /// Whether the figures are known to be old.
    pub fn is_stale(self) -> bool {
        self.link.with(|link| matches!(link, Link::Lost { .. }))
    }

    /// One column of a VM's points; where none were read, the server has put one that is not known.
    pub fn points(self, id: i64, column: fn(&Series) -> &Vec<Option<f64>>) -> Signal<Vec<Point>> {
        let place = Place::default();
        Signal::derive(move || {
            self.live.with(|live| {
                let series = place.find(&live.series, |series| series.vm_id == id);
                series.map_or_else(Vec::new, |s| sparkline_geometry::points(&s.sampled_at, column(s)))
            })
        })
    }
}

/// Where something was found in a list that seldom changes.
#[derive(Default)]
struct Place(AtomicUsize);

impl Place {
    fn find<'a, T>(&self, list: &'a [T], is_it: impl Fn(&T) -> bool) -> Option<&'a T> {
        let there = list.get(self.0.load(Ordering::Relaxed)).filter(|one| is_it(one));
        there.or_else(|| {
            let place = list.iter().position(is_it)?;
            self.0.store(place, Ordering::Relaxed);
            list.get(place)
        })
    }
}

/// The operation that a VM has queued or under way.
pub fn open_operation(vm: &VmView) -> Option<&OperationView> {
    vm.operation.as_ref().filter(|operation| operation.state.is_open())
}

/// Milliseconds: 1, 2, 4, … seconds, and never longer than a person would wait before they reload the page.
fn wait_after(failures: u32) -> u32 {
    (1000 << failures.saturating_sub(1).min(10)).min(LONGEST_WAIT_MILLIS)
}

/// Makes `live` what `newer` says and keeps the points of the window. A VM that does not run any more has no
/// new points, yet its old ones leave the window too.
fn absorb(live: &mut Live, newer: Live, window_secs: u32) {
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
    use crate::model::{HostFigures, VmFigures, VmSpec, VmStatus};

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
            fell_at: None,
            status: VmStatus::Running,
            problem: None,
            ip_address: None,
            adopted: None,
            created_at: UtcMillis(0),
            updated_at: UtcMillis(0),
            operation: None,
            allowed: vec![],
            figures: VmFigures::default(),
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
            network_rx_mb_per_s: column.clone(),
            network_tx_mb_per_s: column,
        }
    }

    pub fn live(cursor_secs: i64, vms: &[i64], series: Vec<Series>) -> Live {
        Live {
            cursor: UtcMillis(cursor_secs * 1000),
            period_secs: 5,
            trouble: None,
            host: HostFigures::default(),
            version: String::new(),
            figures: vec![],
            vms: vms.iter().copied().map(vm).collect(),
            series,
            alerts: vec![],
            collector: None,
        }
    }

    #[test]
    fn what_has_not_changed_is_not_sent_again() {
        let whole = |cursor| Live { version: "a".into(), ..live(cursor, &[1, 2], vec![]) };
        let mut own = whole(5);
        let mut newer = whole(10);
        newer.vms[1].figures.cpu_percent = Some(7.0);
        let expected = newer.clone();
        let sent = newer.beside(Some("a"));
        assert!(sent.vms.is_empty() && sent.figures.len() == 2);
        absorb(&mut own, sent, 900);
        assert_eq!(own, expected);
        assert_eq!(whole(15).beside(Some("b")), whole(15));
        assert_eq!(whole(15).beside(None), whole(15));
    }

    #[test]
    fn new_points_are_put_behind_the_own_ones_and_the_window_moves_on() {
        let mut own = live(10, &[1, 2], vec![series(1, &[5, 10]), series(2, &[5, 10])]);
        absorb(&mut own, live(15, &[1, 2], vec![series(1, &[15])]), 8);
        assert_eq!(own.series, [series(1, &[10, 15]), series(2, &[10])]);
        assert_eq!(own.cursor, UtcMillis(15_000));
    }

    #[test]
    fn a_vm_that_is_gone_takes_its_points_along_and_a_new_one_brings_its_own() {
        let mut own = live(10, &[1], vec![series(1, &[10])]);
        absorb(&mut own, live(15, &[3], vec![series(3, &[15])]), 60);
        assert_eq!(own.series, [series(3, &[15])]);
    }

    #[test]
    fn the_wait_grows_with_every_failure_up_to_half_a_minute() {
        assert_eq!([1, 2, 3, 9].map(wait_after), [1000, 2000, 4000, 30_000]);
    }
}
