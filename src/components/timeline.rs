//! The one time axis of a page's charts: what the store holds of the shown range, and behind that what the page's poll
//! brings. The stored part is reloaded when the range changes, and now and then while it follows the newest tick.

use super::{
    chart::{ChartData, Drawn, Hue, Mark, Trace},
    feed::Feed,
    range::{Range, ShowRange},
    sparkline_geometry::Point,
};
use crate::{
    api::{host_charts, vm_charts},
    model::{ApiError, Charts, MetricRange, MetricStatistics, UtcMillis},
};
use leptos::{prelude::*, task::spawn_local};

/// A statistic that is older than this share of its range, within these bounds, is reloaded.
const STALE_SHARE: i64 = 60;
const STALE_SECS: (i64, i64) = (30, 600);

/// The VM of the charts; `None` for the host.
pub type Subject = Option<i64>;

/// Loads the charts of `range`; `now` is the newest known tick.
///
/// # Errors
/// Those of the server functions.
pub async fn load(subject: Subject, range: Range, now: Option<UtcMillis>) -> Result<Charts, ApiError> {
    let (from, to, last_secs) = match (range, now) {
        (Range::Between(from, to), _) => (Some(from), Some(to), None),
        (Range::Last(secs), now) => (None, now, Some(secs)),
    };
    match subject {
        Some(vm_id) => vm_charts(vm_id, from, to, last_secs).await,
        None => host_charts(from, to, last_secs).await,
    }
}

/// A line of a chart: its stored metric, and the live values of the poll.
#[derive(Clone, Copy)]
pub struct Line {
    pub metric: &'static str,
    pub name: &'static str,
    pub label: &'static str,
    pub hue: Hue,
    pub live: Signal<Vec<Point>>,
}

#[derive(Clone, Copy)]
pub struct Timeline {
    pub range: Memo<Range>,
    pub show: ShowRange,
    pub charts: RwSignal<Charts>,
    /// The error of the last request.
    pub error: RwSignal<Option<ApiError>>,
    pub loading: RwSignal<bool>,
    /// Counts events, which change the marks.
    happened: RwSignal<u32>,
    feed: Feed,
}

impl Timeline {
    /// `first` is the data of the first rendering.
    pub fn follow(feed: Feed, subject: Subject, range: Memo<Range>, first: Charts) -> Self {
        let timeline = Self {
            range,
            show: ShowRange::on_this_page(),
            charts: RwSignal::new(first),
            error: RwSignal::new(None),
            loading: RwSignal::new(false),
            happened: RwSignal::new(0),
            feed,
        };
        let cursor = Memo::new(move |_| feed.live.with(|live| live.cursor));
        // The number of the last request; late answers to earlier ones are ignored.
        let asked = StoredValue::new(0_u32);
        Effect::new(move |before: Option<(Range, UtcMillis, u32)>| {
            let (range, now, happened) = (range.get(), cursor.get(), timeline.happened.get());
            let Some((shown, read_at, shown_events)) = before else { return (range, now, happened) };
            let age_secs = (now.0 - read_at.0) / 1000;
            // A failed request is retried with every tick.
            let failed = timeline.error.with_untracked(Option::is_some);
            if range == shown
                && happened == shown_events
                && !failed
                && (matches!(range, Range::Between(..)) || age_secs < refresh_secs(range))
            {
                return (shown, read_at, shown_events);
            }
            asked.update_value(|asked| *asked += 1);
            let turn = asked.get_value();
            timeline.loading.update(|loading| *loading = range != shown || *loading && failed);
            spawn_local(async move {
                let answer = load(subject, range, Some(now)).await;
                if asked.try_get_value() != Some(turn) {
                    return;
                }
                match answer {
                    Ok(charts) => {
                        timeline.loading.try_set(false);
                        timeline.charts.try_set(charts);
                        timeline.error.try_set(None);
                    }
                    Err(error) => {
                        timeline.error.try_set(Some(error));
                    }
                }
            });
            (range, now, happened)
        });
        timeline
    }

    /// Reloads the range at once, for new marks.
    pub fn something_happened(self) {
        self.happened.update(|happened| *happened += 1);
    }

    pub fn now(self) -> Signal<UtcMillis> {
        let feed = self.feed;
        Signal::derive(move || feed.live.with(|live| live.cursor))
    }

    /// The ends of the drawn range: while another range loads, those of the previous one.
    fn bounds(self) -> (UtcMillis, UtcMillis) {
        let range = self.range.get();
        if self.loading.get() || matches!(range, Range::Between(..)) {
            self.charts.with(|charts| (charts.from, charts.to))
        } else {
            range.bounds(self.now().get())
        }
    }

    /// What a chart of these lines shows.
    pub fn data(self, lines: Vec<Line>) -> Signal<ChartData> {
        Signal::from(Memo::new(move |_| {
            let (from, to) = self.bounds();
            let follows = matches!(self.range.get(), Range::Last(_));
            self.charts.with(|charts| {
                let trace = |line: &Line| {
                    let stored = charts.of(line.metric).map(|(range, _)| range);
                    let (mut points, extremes) = stored.map_or_else(Default::default, stored_points);
                    if follows {
                        let last = points.last().map(|point: &Point| point.0);
                        line.live.with(|live| {
                            points.extend(
                                live.iter().filter(|point| Some(point.0) > last && point.0 > charts.to),
                            );
                        });
                    }
                    Trace { name: line.name, label: line.label, hue: line.hue, points, extremes }
                };
                let mark = |event: &crate::model::Event| Mark {
                    at: event.at,
                    text: event.text.clone(),
                    severity: event.severity,
                };
                ChartData {
                    from,
                    to,
                    traces: lines.iter().map(trace).collect(),
                    marks: charts.events.iter().map(mark).collect(),
                }
            })
        }))
    }

    /// `mean 48 % · 95th 91 % · max 97 %` of a metric; `format` formats a value.
    pub fn statistics(
        self,
        metric: &'static str,
        format: fn(Option<f64>) -> String,
    ) -> Signal<Option<String>> {
        Signal::derive(move || {
            self.charts.with(|charts| {
                let statistics = charts.of(metric).and_then(|(_, statistics)| statistics);
                Some(statistics.map_or_else(
                    || "no data in this range".into(),
                    |statistics| in_words(statistics, format),
                ))
            })
        })
    }

    /// Whether anything is known of a metric in the range.
    pub fn has_values(self, metric: &str) -> bool {
        self.charts.with(|charts| charts.of(metric).is_some_and(|(_, statistics)| statistics.is_some()))
    }

    pub fn words(self) -> Signal<&'static str> {
        let range = self.range;
        Signal::derive(move || range.get().words())
    }

    /// Shows the range that the user has selected in a chart.
    pub fn on_span(self) -> Callback<Drawn> {
        Callback::new(move |drawn: Drawn| {
            let now = self.now().get_untracked();
            let (from, to) = untrack(|| self.bounds());
            let at = |share: f64| UtcMillis(from.0 + ((to.0 - from.0) as f64 * share) as i64);
            let shown = Range::Between(from, to);
            self.show.show(match drawn {
                // As wide as it was drawn, but a minute at least.
                Drawn::Span(begin, end) => Range::Between(at(begin), at(end)).zoomed(1.0, now),
                Drawn::Move(share) => shown.moved(share, now),
                Drawn::Out => shown.zoomed(2.0, now),
            });
        })
    }
}

fn refresh_secs(range: Range) -> i64 {
    match range {
        Range::Last(secs) => (i64::from(secs) / STALE_SHARE).clamp(STALE_SECS.0, STALE_SECS.1),
        Range::Between(..) => i64::MAX,
    }
}

fn in_words(statistics: MetricStatistics, format: fn(Option<f64>) -> String) -> String {
    let [mean, p95, max] = [statistics.mean, statistics.p95, statistics.max].map(|value| format(Some(value)));
    format!("mean {mean} · 95th {p95} · max {max}")
}

type Drawable = (Vec<Point>, Vec<Option<(f64, f64)>>);

/// The means, and the extremes where they are more than that.
fn stored_points(range: &MetricRange) -> Drawable {
    let points = range.at.iter().copied().zip(range.mean.iter().copied()).collect();
    let ends = range.min.iter().zip(&range.max).map(|(min, max)| min.zip(*max));
    let is_plain = range.min == range.max;
    (points, if is_plain { Vec::new() } else { ends.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: &[Option<f64>], max: &[Option<f64>]) -> MetricRange {
        MetricRange {
            vm_id: Some(1),
            metric_name: "vm_cpu_percent".into(),
            unit: "%".into(),
            at: (0..min.len()).map(|i| UtcMillis(i as i64)).collect(),
            min: min.to_vec(),
            mean: min.to_vec(),
            max: max.to_vec(),
        }
    }

    #[test]
    fn single_values_have_no_band_and_a_gap_stays_a_gap() {
        let (points, extremes) = stored_points(&range(&[Some(1.0), None], &[Some(1.0), None]));
        assert_eq!(points, [(UtcMillis(0), Some(1.0)), (UtcMillis(1), None)]);
        assert_eq!(extremes, []);
        let (_, extremes) = stored_points(&range(&[Some(1.0), None], &[Some(3.0), None]));
        assert_eq!(extremes, [Some((1.0, 3.0)), None]);
    }

    #[test]
    fn a_week_is_reloaded_every_ten_minutes_and_a_quarter_of_an_hour_every_half_minute() {
        assert_eq!([900, 3600, 604_800].map(|secs| refresh_secs(Range::Last(secs))), [30, 60, 600]);
    }

    #[test]
    fn statistics_are_shown_in_the_metrics_format() {
        let statistics = MetricStatistics { count: 3, min: 1.0, mean: 48.2, max: 97.0, p95: 91.4 };
        assert_eq!(in_words(statistics, super::super::format::percent), "mean 48 % · 95th 91 % · max 97 %");
    }
}
