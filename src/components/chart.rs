//! A live chart of one figure over time. The server draws it as a plain SVG, which is all there is without
//! JavaScript; in the browser ECharts takes its place, one instance for as long as the chart is on the page.

use super::{
    browser,
    figures::SourceTag,
    format,
    trail::{self, Frame, Point, RateAxis},
};
use crate::model::{Source, UtcMillis, rounded};
use leptos::{html, prelude::*};
use std::time::Duration;

/// Which of the page's hues a line has; the same figure has the same one everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hue {
    Cpu,
    Memory,
    Disk,
    Received,
    Sent,
}

impl Hue {
    pub fn class(self) -> &'static str {
        match self {
            Self::Cpu => "hue-cpu",
            Self::Memory => "hue-memory",
            Self::Disk => "hue-disk",
            Self::Received => "hue-rx",
            Self::Sent => "hue-tx",
        }
    }
}

/// What the values of a chart are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// 0 to 100.
    Percent,
    /// MB/s, from 0 to what there is.
    Rate,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Stable id, such as `rx`.
    pub name: &'static str,
    /// What a person reads.
    pub label: &'static str,
    pub hue: Hue,
    pub points: Vec<Point>,
}

/// The lines of a chart and the stretch of time they are shown for.
#[derive(Debug, Clone, PartialEq)]
pub struct ChartData {
    pub from: UtcMillis,
    pub to: UtcMillis,
    pub traces: Vec<Trace>,
}

impl ChartData {
    pub fn rate_axis(&self) -> RateAxis {
        trail::rate_axis(self.traces.iter().flat_map(|trace| &trace.points).filter_map(|point| point.1))
    }

    fn top(&self, scale: Scale) -> f64 {
        match scale {
            Scale::Percent => 100.0,
            Scale::Rate => self.rate_axis().top,
        }
    }
}

/// How often, and how many times, a chart looks whether the ECharts script has arrived.
const SCRIPT_WAIT: (Duration, u32) = (Duration::from_millis(50), 600);

/// `now_text` stands in the header, `summary` is what a screen reader says in the picture's place.
#[component]
pub fn TimeChart(
    test_id: &'static str,
    title: &'static str,
    hue: Hue,
    scale: Scale,
    source: Signal<Source>,
    now_text: Signal<String>,
    data: Signal<ChartData>,
) -> impl IntoView {
    let latest = move || {
        data.with(|d| d.traces.first().and_then(|t| trail::latest(&t.points)))
            .map(|value| rounded(value).to_string())
    };
    let known = move || {
        data.with(|d| d.traces.first().map_or(0, |t| t.points.iter().filter(|p| p.1.is_some()).count()))
    };
    let summary = move || {
        format!("{title} over the last 15 minutes. Now: {}.", now_text.get().replace('–', "not known"))
    };
    view! {
        <section class="panel chart" data-testid=test_id data-latest=latest data-points=known>
            <header>
                <h2>{title}</h2>
                <SourceTag source/>
                <span class=format!("now {}", hue.class())>{now_text}</span>
            </header>
            <Canvas scale data summary/>
        </section>
    }
}

#[component]
fn Canvas(
    scale: Scale,
    data: Signal<ChartData>,
    summary: impl Fn() -> String + Send + Sync + 'static,
) -> impl IntoView {
    let element = NodeRef::<html::Div>::new();
    let drawn = RwSignal::new(false);
    let tries = RwSignal::new(0_u32);
    let colours = Trigger::new();

    Effect::new(move || browser::on_colour_scheme_change(move || colours.notify()));
    // The effect keeps the drawn chart, and takes it down when it ends itself.
    Effect::new(move |drawn_before: Option<Option<browser::Plot>>| {
        colours.track();
        let element = element.get()?;
        let tried = tries.get();
        let mut plot = drawn_before.flatten().or_else(|| browser::Plot::on(&element, scale));
        match &mut plot {
            Some(plot) => {
                data.with(|data| plot.draw(data));
                drawn.set(true);
            }
            None if tried < SCRIPT_WAIT.1 => set_timeout(move || look_again(tries), SCRIPT_WAIT.0),
            None => {}
        }
        plot
    });

    view! {
        <div class="plot" class:drawn=drawn role="img" aria-label=summary>
            <Still scale data/>
            <div class="plot-live" node_ref=element></div>
        </div>
    }
}

/// The chart may be gone by now.
fn look_again(tries: RwSignal<u32>) {
    tries.try_update(|tries| *tries += 1);
}

/// The chart as a plain picture.
#[component]
fn Still(scale: Scale, data: Signal<ChartData>) -> impl IntoView {
    let frame = move || {
        data.with(|d| Frame { from: d.from, to: d.to, top: d.top(scale), width: 1000.0, height: 100.0 })
    };
    let top = move || match scale {
        Scale::Percent => format::percent(Some(100.0)),
        Scale::Rate => format::rate(Some(data.with(|data| data.top(scale)))),
    };
    let hues = data.with_untracked(|d| d.traces.iter().map(|t| t.hue).collect::<Vec<_>>());
    let shapes = hues.into_iter().enumerate().map(|(i, hue)| {
        let line = move || data.with(|d| frame().line(&d.traces[i].points));
        let area = move || data.with(|d| frame().area(&d.traces[i].points));
        view! {
            <g class=hue.class()>
                <path class="area" d=area></path>
                <path class="line" d=line></path>
            </g>
        }
    });
    view! {
        <span class="still-label at-top">{top}</span>
        <span class="still-label at-bottom">"0"</span>
        <svg class="plot-still" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">
            <path class="gridlines" d="M0 0H1000M0 25H1000M0 50H1000M0 75H1000M0 100H1000"></path>
            {shapes.collect_view()}
        </svg>
    }
}
