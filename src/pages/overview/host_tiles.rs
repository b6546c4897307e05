//! The host's CPU, memory and disk usage at the top of the overview, and the network traffic of all VMs.

use super::SCOPE;
use crate::{
    components::{
        chart::Hue,
        feed::Feed,
        format,
        sparkline::Sparkline,
        sparkline_geometry::{self, Path, Point, Viewport},
    },
    model::{Live, Series, UtcMillis},
};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// Earlier than any tick.
const NEVER: UtcMillis = UtcMillis(i64::MIN);

/// The points of the tiles' sparklines, oldest first.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TileSeries {
    /// Percent of the host's CPU, memory and disk.
    host: [Vec<Point>; 3],
    /// Received and sent by all VMs together, MB/s.
    network: [Vec<Point>; 2],
}

impl TileSeries {
    pub fn new(host: [Vec<Point>; 3], live: &Live) -> Self {
        Self { host, network: network_of_all(live, NEVER) }
    }

    /// Appends the newest tick, once, and drops points that have left the window.
    fn append_newest(&mut self, live: &Live) {
        let since = live.cursor.plus_secs(-i64::from(SCOPE.window_secs));
        let newest = [live.host.cpu_percent, live.host.memory_percent, live.host.disk_percent];
        for (column, value) in self.host.iter_mut().zip(newest) {
            if column.last().is_none_or(|(at, _)| *at < live.cursor) {
                column.push((live.cursor, value));
            }
        }
        let last = self.network[0].last().map_or(NEVER, |(at, _)| *at);
        if last < live.cursor {
            for (own, new) in self.network.iter_mut().zip(network_of_all(live, last)) {
                own.extend(new);
                *own = without_gaps_of_single_vms(std::mem::take(own), live.interval_secs);
            }
        }
        for column in self.host.iter_mut().chain(&mut self.network) {
            column.retain(|(at, _)| *at >= since);
        }
    }
}

/// Received and sent by all VMs together in each tick after `last`, MB/s. Unknown when no VM's rate is known.
fn network_of_all(live: &Live, last: UtcMillis) -> [Vec<Point>; 2] {
    let sum = |column: fn(&Series) -> &Vec<Option<f64>>| {
        let mut sums: Vec<Point> = Vec::new();
        for series in &live.series {
            let new = series.sampled_at.partition_point(|at| *at <= last);
            for (at, value) in series.sampled_at.iter().zip(column(series)).skip(new) {
                match sums.binary_search_by_key(at, |(at, _)| *at) {
                    Ok(i) => sums[i].1 = sums[i].1.map_or(*value, |own| Some(own + value.unwrap_or(0.0))),
                    Err(i) => sums.insert(i, (*at, *value)),
                }
            }
        }
        without_gaps_of_single_vms(sums, live.interval_secs)
    };
    [sum(|s| &s.network_rx_mb_per_s), sum(|s| &s.network_tx_mb_per_s)]
}

/// The gap of one VM lies just before its next point. It is no gap of the sum where other VMs have points around it.
fn without_gaps_of_single_vms(points: Vec<Point>, interval_secs: u32) -> Vec<Point> {
    let is_of_single_vm = |i: usize| {
        let (at, value) = points[i];
        let before = i.checked_sub(1).and_then(|i| points.get(i));
        let after = points.get(i + 1).filter(|(next, _)| next.0 == at.0 + 1);
        value.is_none()
            && before.zip(after).is_some_and(|(b, a)| a.0.secs_since(b.0) <= 2.5 * f64::from(interval_secs))
    };
    (0..points.len()).filter(|i| !is_of_single_vm(*i)).map(|i| points[i]).collect()
}

/// The texts of a tile.
#[derive(Debug, Clone, Default, PartialEq)]
struct TileText {
    aside: String,
    value: String,
    unit: String,
    detail: String,
}

fn texts(live: &Live, series: &TileSeries) -> [TileText; 4] {
    let host = &live.host;
    let usage = |percent, used_gb: Option<f64>, total_gb: Option<f64>| {
        let [used, total] =
            [used_gb, total_gb].map(|gb| gb.map_or_else(|| format::UNKNOWN.into(), format::gigabytes));
        TileText { aside: total, value: format::percent_number(percent), unit: "%".into(), detail: used }
    };
    // The rate of an earlier tick is not the current one.
    let rate =
        |points: &Vec<Point>| points.last().filter(|(at, _)| *at == live.cursor).and_then(|(_, rate)| *rate);
    let [received, sent] = series.network.each_ref().map(rate);
    let (value, unit) = format::rate_parts(received);
    let cpu = TileText {
        aside: format::cores(host.cpu_cores),
        value: format::percent_number(host.cpu_percent),
        unit: "%".into(),
        detail: format!("load {}", format::count(host.load_1)),
    };
    let network = TileText {
        aside: "all VMs".into(),
        value,
        unit: format!("{unit} ↓"),
        detail: format!("{} ↑", format::rate(sent)),
    };
    [
        cpu,
        usage(host.memory_percent, host.memory_used_gb, host.memory_total_gb),
        usage(host.disk_percent, host.disk_used_gb, host.disk_total_gb),
        network,
    ]
}

const SIZE: (f64, f64) = (300.0, 36.0);

fn paths(live: &Live, series: &TileSeries) -> [Path; 4] {
    let (from, to) = live.window(SCOPE.window_secs);
    let path = |points: &[Point], top| Viewport { from, to, top, width: SIZE.0, height: SIZE.1 }.path(points);
    let [cpu, memory, disk] = series
        .host
        .each_ref()
        .map(|points| path(&sparkline_geometry::with_gaps(points, live.interval_secs), 100.0));
    let received = &series.network[0];
    // Ends above the highest value.
    let top = sparkline_geometry::rate_axis(received.iter().filter_map(|(_, rate)| *rate)).top;
    [cpu, memory, disk, path(received, top)]
}

#[component]
pub fn HostTiles(feed: Feed, series: TileSeries, redraw: Memo<i64>) -> impl IntoView {
    const TILES: [(&str, &str, Hue); 4] = [
        ("Host CPU", "tile-cpu", Hue::Cpu),
        ("Host memory", "tile-memory", Hue::Memory),
        ("Host disk", "tile-disk", Hue::Disk),
        ("Network", "tile-network", Hue::Received),
    ];
    let series = Memo::new_owning(move |before: Option<TileSeries>| {
        let mut series = before.unwrap_or_else(|| series.clone());
        feed.live.with(|live| series.append_newest(live));
        (series, true)
    });
    let texts = Memo::new(move |_| feed.live.with(|live| series.with(|series| texts(live, series))));
    let paths = Memo::new(move |_| {
        redraw.get();
        feed.live.with_untracked(|live| series.with_untracked(|series| paths(live, series)))
    });
    let tile = move |(i, (title, test_id, hue)): (usize, (&'static str, &'static str, Hue))| {
        let text = move |part: fn(&TileText) -> &String| move || texts.with(|texts| part(&texts[i]).clone());
        view! {
            <section class="panel tile" data-testid=test_id>
                <h2 class="label"><span>{title}</span><span class="muted now">{text(|text| &text.aside)}</span></h2>
                <div class="value"><p>
                    <span class="now">{text(|text| &text.value)}</span> " "
                    <small class="now">{text(|text| &text.unit)}</small> " "
                    <small class="now beside">{text(|text| &text.detail)}</small>
                </p></div>
                <div><Sparkline path=Signal::derive(move || paths.with(|paths| paths[i].clone())) size=SIZE hue/></div>
            </section>
        }
    };
    view! { <div class="tiles">{TILES.into_iter().enumerate().map(tile).collect_view()}</div> }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HostUsage;

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
            interval_secs: 5,
            trouble: None,
            host: HostUsage { cpu_percent: Some(42.0), ..HostUsage::default() },
            version: String::new(),
            vms: vec![],
            usage: vec![],
            series,
            alerts: vec![],
            collector: None,
        }
    }

    #[test]
    fn unknown_rates_are_left_out_of_the_sum() {
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
    fn a_tick_is_appended_once() {
        let mut tiles = TileSeries::default();
        let now = live(vec![series(1, &[Some(1.0), Some(2.0), Some(4.0)])]);
        tiles.append_newest(&now);
        tiles.append_newest(&now);
        assert_eq!(tiles.network[0].len(), 3);
        assert_eq!(tiles.host[0], [(UtcMillis(10_000), Some(42.0))]);
    }
}
