mod list;
mod shares;
mod table;

use crate::{
    api::{host_ranges, metrics_since},
    components::{
        alerts::AlertBell,
        chart::Hue,
        feed::{Feed, Scope},
        figures::Sparkline,
        format,
        icon::{Glyph, Icon},
        layout::Viewer,
        loaded::load,
        notice::{LinkState, Refusal, Trouble, Unavailable},
        trail::{self, Frame, Point},
        vm::Power,
    },
    model::{ApiError, Live, Series, UtcMillis},
};
use leptos::prelude::*;
use leptos_meta::Title;
use serde::{Deserialize, Serialize};
use shares::Shares;
use std::collections::HashMap;
use table::Table;

/// What the sparklines show.
const SCOPE: Scope = Scope { vm_id: None, window_secs: 900 };

/// Before any tick.
const NEVER: UtcMillis = UtcMillis(i64::MIN);

/// All that the page is rendered with.
#[derive(Clone, Serialize, Deserialize)]
struct First {
    live: Live,
    trails: Trails,
}

/// The points of the tiles' lines, oldest first.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
struct Trails {
    cpu_percent: Vec<Point>,
    memory_percent: Vec<Point>,
    disk_percent: Vec<Point>,
    /// What all VMs together received and sent, MB/s.
    network: [Vec<Point>; 2],
}

impl First {
    async fn load() -> Result<Self, ApiError> {
        let live = metrics_since(None, SCOPE.vm_id, Some(SCOPE.window_secs), None).await?;
        let since = live.cursor.plus_secs(-i64::from(SCOPE.window_secs));
        let names = ["host_cpu_percent", "host_memory_percent", "host_disk_percent"].map(str::to_owned);
        // The page is worth showing without the lines in its tiles.
        let ranges = host_ranges(names.to_vec(), Some(since), None, None).await.unwrap_or_default();
        let mut columns = ranges.into_iter().map(|range| range.at.into_iter().zip(range.mean).collect());
        let mut column = || columns.next().unwrap_or_default();
        let (cpu_percent, memory_percent, disk_percent) = (column(), column(), column());
        let network = network_of_all(&live, NEVER);
        Ok(Self { live, trails: Trails { cpu_percent, memory_percent, disk_percent, network } })
    }
}

impl Trails {
    /// Takes over what is newer than the own points.
    fn follow(&mut self, live: &Live) {
        let since = live.cursor.plus_secs(-i64::from(SCOPE.window_secs));
        let newest = [live.host.cpu_percent, live.host.memory_percent, live.host.disk_percent];
        let columns = [&mut self.cpu_percent, &mut self.memory_percent, &mut self.disk_percent];
        for (column, value) in columns.into_iter().zip(newest) {
            if column.last().is_none_or(|(at, _)| *at < live.cursor) {
                column.push((live.cursor, value));
            }
        }
        let last = self.network[0].last().map_or(NEVER, |(at, _)| *at);
        if last < live.cursor {
            for (own, new) in self.network.iter_mut().zip(network_of_all(live, last)) {
                own.extend(new);
                *own = without_others_gaps(std::mem::take(own), live.period_secs);
            }
        }
        let [received, sent] = &mut self.network;
        let columns =
            [&mut self.cpu_percent, &mut self.memory_percent, &mut self.disk_percent, received, sent];
        for column in columns {
            column.retain(|(at, _)| *at >= since);
        }
    }
}

/// What all VMs together received and sent in each tick after `last`, MB/s. A tick in which nobody's rate is known has
/// none.
fn network_of_all(live: &Live, last: UtcMillis) -> [Vec<Point>; 2] {
    let sum = |column: fn(&Series) -> &Vec<Option<f64>>| {
        let mut sums = HashMap::<UtcMillis, Option<f64>>::new();
        for series in &live.series {
            let new = series.sampled_at.partition_point(|at| *at <= last);
            for (at, value) in series.sampled_at.iter().zip(column(series)).skip(new) {
                let own = sums.entry(*at).or_default();
                *own = own.map_or(*value, |own| Some(own + value.unwrap_or(0.0)));
            }
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(at, _)| *at);
        without_others_gaps(sums, live.period_secs)
    };
    [sum(|s| &s.network_rx_mb_per_s), sum(|s| &s.network_tx_mb_per_s)]
}

/// A gap of one VM stands just before its next point; where others have points around it, all have none there.
fn without_others_gaps(points: Vec<Point>, period_secs: u32) -> Vec<Point> {
    let is_others = |i: usize| {
        let (at, value) = points[i];
        let before = i.checked_sub(1).and_then(|i| points.get(i));
        let after = points.get(i + 1).filter(|(next, _)| next.0 == at.0 + 1);
        value.is_none()
            && before.zip(after).is_some_and(|(b, a)| a.0.secs_since(b.0) <= 2.5 * f64::from(period_secs))
    };
    (0..points.len()).filter(|i| !is_others(*i)).map(|i| points[i]).collect()
}

#[component]
pub fn Overview() -> impl IntoView {
    let first = load(|| (), |()| First::load());
    let viewer = expect_context::<Viewer>();
    view! {
        <Title text="Overview"/>
        <Transition fallback=Skeleton>
            {move || Suspend::new(async move {
                match first.await {
                    Ok(first) => {
                        let with_owner = viewer.is_admin().await;
                        view! { <Body first with_owner/> }.into_any()
                    }
                    Err(error) => view! { <Unavailable error/> }.into_any(),
                }
            })}
        </Transition>
    }
}

/// The page's shape while it is loading, so that nothing jumps when the figures arrive.
#[component]
fn Skeleton() -> impl IntoView {
    view! {
        <div role="status" aria-label="Loading">
            <header class="top"><h1>"Overview"</h1></header>
            <div class="tiles">{(0..4).map(|_| view! { <div class="panel tile blank"></div> }).collect_view()}</div>
            <div class="panel blank tall"></div>
        </div>
    }
}

#[component]
fn Body(first: First, with_owner: bool) -> impl IntoView {
    let First { live, trails } = first;
    let feed = Feed::start(live, SCOPE);
    let power = Power::new(move || feed.poll_now());
    let any = Memo::new(move |_| feed.live.with(|live| !live.vms.is_empty()));
    view! {
        <Trouble feed/>
        <header class="top">
            <h1>"Overview"</h1>
            <LinkState feed/>
            <span class="push"></span>
            <AlertBell feed/>
            <a class="btn primary" href="/vms/new"><Glyph icon=Icon::Plus/>"Launch VM"</a>
        </header>
        <Refusal error=power.refusal()/>
        <Tiles feed trails/>
        {move || {
            if any.get() { view! { <Shares feed/><Table feed power with_owner/> }.into_any() } else { view! { <Empty/> }.into_any() }
        }}
    }
}

#[component]
fn Empty() -> impl IntoView {
    view! {
        <section class="panel empty" data-testid="empty">
            <Glyph icon=Icon::Machine/>
            <h2>"No VMs yet"</h2>
            <p>"Choose an image and a size; a minute or two later the VM runs and its figures appear here."</p>
            <p><a class="btn primary" href="/vms/new"><Glyph icon=Icon::Plus/>"Launch your first VM"</a></p>
        </section>
    }
}

#[component]
fn Tiles(feed: Feed, trails: Trails) -> impl IntoView {
    let trails = RwSignal::new(trails);
    Effect::new(move || feed.live.with(|live| trails.update(|trails| trails.follow(live))));
    let host =
        move |read: fn(&crate::model::HostFigures) -> Option<f64>| feed.live.with(|live| read(&live.host));
    let of_host = move |column: fn(&Trails) -> &Vec<Point>| {
        let period_secs = feed.live.with_untracked(|live| live.period_secs);
        Signal::derive(move || trails.with(|trails| trail::with_gaps(column(trails), period_secs)))
    };
    // A rate of an earlier tick is not the rate now.
    let newest = move |direction: usize| {
        let cursor = feed.live.with(|live| live.cursor);
        trails
            .with(|t| t.network[direction].last().filter(|(at, _)| *at == cursor).and_then(|(_, rate)| *rate))
    };
    let total = |gb: Option<f64>| gb.map(format::gigabytes);
    view! {
        <div class="tiles">
            <Tile
                feed title="Host CPU" hue=Hue::Cpu test_id="tile-cpu" top=Some(100.0)
                aside=Signal::derive(move || Some(format::cores(feed.live.with(|l| l.host.cpu_cores))))
                points=of_host(|t| &t.cpu_percent)
            >
                {move || format::percent_number(host(|h| h.cpu_percent))} " " <small>"%"</small>
            </Tile>
            <Tile
                feed title="Host memory" hue=Hue::Memory test_id="tile-memory" top=Some(100.0)
                aside=Signal::derive(move || total(host(|h| h.memory_total_gb)))
                points=of_host(|t| &t.memory_percent)
            >
                {move || format::percent_number(host(|h| h.memory_percent))} " "
                <small>"%" {move || host(|h| h.memory_used_gb).map(|gb| format!(" · {}", format::gigabytes(gb)))}</small>
            </Tile>
            <Tile
                feed title="Host disk" hue=Hue::Disk test_id="tile-disk" top=Some(100.0)
                aside=Signal::derive(move || total(host(|h| h.disk_total_gb)))
                points=of_host(|t| &t.disk_percent)
            >
                {move || format::percent_number(host(|h| h.disk_percent))} " "
                <small>"%" {move || host(|h| h.disk_used_gb).map(|gb| format!(" · {}", format::gigabytes(gb)))}</small>
            </Tile>
            <Tile
                feed title="Network" hue=Hue::Received test_id="tile-network" top=None
                aside=Signal::derive(|| Some("all VMs".to_owned()))
                points=Signal::derive(move || trails.with(|t| t.network[0].clone()))
            >
                {move || format::rate_parts(newest(0)).0} " "
                <small>{move || format::rate_parts(newest(0)).1} " ↓  " {move || format::rate(newest(1))} " ↑"</small>
            </Tile>
        </div>
    }
}

/// `top` is where the line's axis ends; without one it ends above the highest value.
#[component]
fn Tile(
    feed: Feed,
    title: &'static str,
    test_id: &'static str,
    aside: Signal<Option<String>>,
    points: Signal<Vec<Point>>,
    top: Option<f64>,
    hue: Hue,
    children: Children,
) -> impl IntoView {
    let frame = Signal::derive(move || {
        let (from, to) = feed.window();
        let highest =
            || trail::rate_axis(points.with(|p| p.iter().filter_map(|p| p.1).collect::<Vec<_>>())).top;
        Frame { from, to, top: top.unwrap_or_else(highest), width: 300.0, height: 36.0 }
    });
    view! {
        <section class="panel tile" data-testid=test_id>
            <h2 class="label"><span>{title}</span><span class="muted">{aside}</span></h2>
            <p class="value">{children()}</p>
            <Sparkline points frame hue/>
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HostFigures;

    fn series(vm_id: i64, rates: &[Option<f64>]) -> Series {
        Series {
            vm_id,
            sampled_at: (0..).map(|i| UtcMillis(i * 5000)).take(rates.len()).collect(),
            network_rx_mb_per_s: rates.to_vec(),
            network_tx_mb_per_s: rates.to_vec(),
            ..Series::default()
        }
    }

    fn live(series: Vec<Series>) -> Live {
        Live {
            cursor: UtcMillis(10_000),
            period_secs: 5,
            trouble: None,
            host: HostFigures { cpu_percent: Some(42.0), ..HostFigures::default() },
            version: String::new(),
            vms: vec![],
            figures: vec![],
            series,
            alerts: vec![],
            collector: None,
        }
    }

    #[test]
    fn the_sum_of_rates_leaves_out_what_is_not_known() {
        let of_one = series(1, &[Some(1.0), None, None]);
        let of_other = series(2, &[Some(2.0), Some(3.0), None]);
        let live = live(vec![of_one, of_other]);
        let [received, _] = network_of_all(&live, NEVER);
        let values: Vec<_> = received.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [Some(3.0), Some(3.0), None]);
        let [newer, _] = network_of_all(&live, UtcMillis(5000));
        assert_eq!(newer, [(UtcMillis(10_000), None)]);
    }

    #[test]
    fn a_tick_is_taken_over_once() {
        let mut trails = Trails::default();
        let now = live(vec![series(1, &[Some(1.0), Some(2.0), Some(4.0)])]);
        trails.follow(&now);
        trails.follow(&now);
        assert_eq!(trails.network[0].len(), 3);
        assert_eq!(trails.cpu_percent, [(UtcMillis(10_000), Some(42.0))]);
    }
}
