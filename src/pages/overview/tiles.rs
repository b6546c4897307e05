//! The host's figures at the top of the overview, and what all VMs together send and receive.

use super::SCOPE;
use crate::{
    components::{
        browser,
        chart::Hue,
        feed::Feed,
        figures::{Beat, Sparkline},
        format,
        trail::{self, Frame, Point, Shapes},
    },
    model::{Live, Series, UtcMillis},
};
use leptos::{html, prelude::*};
use serde::{Deserialize, Serialize};

/// Before any tick.
const NEVER: UtcMillis = UtcMillis(i64::MIN);

/// The points of the tiles' lines, oldest first.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trails {
    /// Percent of the host's CPU, memory and disk.
    host: [Vec<Point>; 3],
    /// What all VMs together received and sent, MB/s.
    network: [Vec<Point>; 2],
}

impl Trails {
    pub fn new(host: [Vec<Point>; 3], live: &Live) -> Self {
        Self { host, network: network_of_all(live, NEVER) }
    }

    /// Takes over what is newer than the own points.
    fn follow(&mut self, live: &Live) {
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
                *own = without_others_gaps(std::mem::take(own), live.period_secs);
            }
        }
        for column in self.host.iter_mut().chain(&mut self.network) {
            column.retain(|(at, _)| *at >= since);
        }
    }
}

/// What all VMs together received and sent in each tick after `last`, MB/s. A tick in which nobody's rate is known has
/// none.
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

/// What the tiles tell: of each what stands beside its title, the figure, its unit, and what else there is to say.
type Texts = [[String; 4]; 4];

fn texts(live: &Live, trails: &Trails) -> Texts {
    let host = &live.host;
    let share = |percent, used_gb: Option<f64>, total_gb: Option<f64>| {
        let [used, total] =
            [used_gb, total_gb].map(|gb| gb.map_or_else(|| format::UNKNOWN.into(), format::gigabytes));
        [total, format::percent_number(percent), "%".into(), used]
    };
    // A rate of an earlier tick is not the rate now.
    let rate =
        |points: &Vec<Point>| points.last().filter(|(at, _)| *at == live.cursor).and_then(|(_, rate)| *rate);
    let [received, sent] = trails.network.each_ref().map(rate);
    let (figure, unit) = format::rate_parts(received);
    [
        [
            format::cores(host.cpu_cores),
            format::percent_number(host.cpu_percent),
            "%".into(),
            format!("load {}", format::count(host.load_1)),
        ],
        share(host.memory_percent, host.memory_used_gb, host.memory_total_gb),
        share(host.disk_percent, host.disk_used_gb, host.disk_total_gb),
        ["all VMs".into(), figure, format!("{unit} ↓"), format!("{} ↑", format::rate(sent))],
    ]
}

const SIZE: (f64, f64) = (300.0, 36.0);

fn lines(live: &Live, trails: &Trails) -> [Shapes; 4] {
    let (from, to) = live.window(SCOPE.window_secs);
    let line = |points: &[Point], top| Frame { from, to, top, width: SIZE.0, height: SIZE.1 }.shapes(points);
    let [cpu, memory, disk] =
        trails.host.each_ref().map(|points| line(&trail::with_gaps(points, live.period_secs), 100.0));
    let received = &trails.network[0];
    // Ends above the highest value.
    let top = trail::rate_axis(received.iter().filter_map(|(_, rate)| *rate)).top;
    [cpu, memory, disk, line(received, top)]
}

#[component]
pub fn Tiles(feed: Feed, trails: Trails) -> impl IntoView {
    const TILES: [(&str, &str, Hue); 4] = [
        ("Host CPU", "tile-cpu", Hue::Cpu),
        ("Host memory", "tile-memory", Hue::Memory),
        ("Host disk", "tile-disk", Hue::Disk),
        ("Network", "tile-network", Hue::Received),
    ];
    let (first, lines_then) = feed.live.with_untracked(|live| (texts(live, &trails), lines(live, &trails)));
    let tiles = TILES.into_iter().zip(first.clone()).zip(lines_then).map(|((tile, texts), shapes)| {
        let ((title, test_id, hue), [aside, figure, unit, more]) = (tile, texts);
        view! {
            <section class="panel tile" data-testid=test_id>
                <h2 class="label"><span>{title}</span><span class="muted now">{aside}</span></h2>
                <div class="value"><p><span class="now">{figure}</span> " " <small class="now">{unit}</small> " " <small class="now beside">{more}</small></p></div>
                <div><Sparkline shapes size=SIZE hue/></div>
            </section>
        }
    });
    let node = NodeRef::<html::Div>::new();
    let state = StoredValue::new((trails, first));
    Effect::new(move || {
        let Some(node) = node.get() else { return };
        // Belongs to this effect, which runs once: the one within, which runs with every poll, would take it away.
        let told = browser::Told::within(&node);
        Effect::new(move |beat: Option<Beat>| {
            feed.live.with(|live| {
                let beat_now = Beat::at(live.cursor, 0);
                state.try_update_value(|(trails, shown)| {
                    trails.follow(live);
                    let texts = texts(live, trails);
                    for (i, (new, old)) in texts.iter().flatten().zip(shown.iter().flatten()).enumerate() {
                        if new != old {
                            told.set_text(i, new);
                        }
                    }
                    *shown = texts;
                    if beat != Some(beat_now) {
                        for (i, shapes) in lines(live, trails).iter().enumerate() {
                            told.set_line(i, shapes);
                        }
                    }
                });
                beat_now
            })
        });
    });
    view! { <div class="tiles" node_ref=node>{tiles.collect_view()}</div> }
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
        assert_eq!(trails.host[0], [(UtcMillis(10_000), Some(42.0))]);
    }
}
