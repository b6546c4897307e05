//! A live chart of one figure over time. The server draws it as a plain SVG, which is all there is without
//! JavaScript; in the browser ECharts takes its place, one instance for as long as the chart is on the page.

use super::chart_data::PLOT_LEFT_PX;
use super::chart_data::PLOT_RIGHT_PX;
pub use super::chart_data::{ChartData, Hue, Mark, Scale, Trace};
use super::{
    browser, format,
    source_badge::SourceBadge,
    sparkline_geometry::{self, Viewport},
};
use crate::model::Source;
use leptos::{html, prelude::*};
use std::time::Duration;

/// How often, and how many times, a chart looks whether the ECharts script has arrived.
const SCRIPT_WAIT: (Duration, u32) = (Duration::from_millis(50), 600);

/// `now_text` stands in the header, `foot` under it; `span` says in words what time is shown. A stretch that is drawn
/// across the chart with the mouse is told to `on_span`, in shares of the chart's width; with Shift it is a move.
#[component]
pub fn TimeChart(
    test_id: &'static str,
    title: &'static str,
    hue: Hue,
    scale: Scale,
    #[prop(optional, into)] source: Option<Signal<Source>>,
    now_text: Signal<String>,
    data: Signal<ChartData>,
    #[prop(into)] span: Signal<&'static str>,
    #[prop(into)] foot: Signal<Option<String>>,
    #[prop(optional)] on_span: Option<Callback<Drawn>>,
) -> impl IntoView {
    let latest = move || {
        data.with(|d| d.traces.first().and_then(|t| sparkline_geometry::latest(&t.points)))
            .map(|value| format!("{value:.2}"))
    };
    let known = move || {
        data.with(|d| d.traces.first().map_or(0, |t| t.points.iter().filter(|p| p.1.is_some()).count()))
    };
    let summary =
        move || format!("{title} over {}. Now: {}.", span.get(), now_text.get().replace('–', "not known"));
    view! {
        <section class="panel chart" data-testid=test_id data-latest=latest data-points=known>
            <header>
                <h2>{title}</h2>
                {source.map(|source| view! { <SourceBadge source/> })}
                <span class=format!("now {}", hue.class())>{now_text}</span>
            </header>
            <Canvas scale data summary on_span/>
            {move || foot.get().map(|text| view! { <p class="foot muted">{text}</p> })}
        </section>
    }
}

#[component]
fn Canvas(
    scale: Scale,
    data: Signal<ChartData>,
    summary: impl Fn() -> String + Send + Sync + 'static,
    on_span: Option<Callback<Drawn>>,
) -> impl IntoView {
    let element = NodeRef::<html::Div>::new();
    let drag = RwSignal::new(None::<Drag>);
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
        <div
            class="plot" class:drawn=drawn class:zoomable=on_span.is_some() role="img" aria-label=summary
            on:pointerdown=move |event| {
                if let (true, Some(element)) = (on_span.is_some() && is_left_of_mouse(&event), element.get_untracked()) {
                    let begin = share_at(&element, &event);
                    drag.set(Some(Drag { begin, end: begin, moves: event.shift_key() }));
                }
            }
            on:pointermove=move |event| {
                if let (true, Some(element)) = (drag.with_untracked(Option::is_some), element.get_untracked()) {
                    let end = share_at(&element, &event);
                    drag.update(|drag| if let Some(drag) = drag { drag.end = end; });
                }
            }
            on:pointerleave=move |_| drag.set(None)
            on:pointerup=move |_| {
                let drawn = drag.get_untracked().and_then(Drag::drawn);
                drag.set(None);
                if let (Some(drawn), Some(on_span)) = (drawn, on_span) {
                    on_span.run(drawn);
                }
            }
            on:dblclick=move |_| {
                if let Some(on_span) = on_span {
                    on_span.run(Drawn::Out);
                }
            }
        >
            <Still scale data/>
            <div class="plot-live" node_ref=element></div>
            {move || drag.get().filter(|drag| !drag.moves).map(|drag| {
                let (left, width) = drag.box_percent();
                view! { <i class="drawn-span" style:left=left style:width=width></i> }
            })}
        </div>
    }
}

/// What somebody wants of the time that a chart shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drawn {
    /// From here to there, in shares of the chart's width.
    Span(f64, f64),
    /// Moved by so much of the chart's width.
    Move(f64),
    /// A wider one.
    Out,
}

/// A stretch that is being drawn, in shares of the chart's width.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Drag {
    begin: f64,
    end: f64,
    moves: bool,
}

impl Drag {
    /// None for what is a click rather than a stretch.
    fn drawn(self) -> Option<Drawn> {
        if (self.end - self.begin).abs() < 0.01 {
            None
        } else if self.moves {
            Some(Drawn::Move(self.begin - self.end))
        } else {
            Some(Drawn::Span(self.begin.min(self.end), self.begin.max(self.end)))
        }
    }

    fn box_percent(self) -> (String, String) {
        let css = |share: f64| {
            let percent = format!("{:.2}", 100.0 * share);
            format!("calc({PLOT_LEFT_PX}px + {percent} * (100% - {}px) / 100)", PLOT_LEFT_PX + PLOT_RIGHT_PX)
        };
        let percent = format!("{:.2}", 100.0 * (self.end - self.begin).abs());
        let width = format!("calc({percent} * (100% - {}px) / 100)", PLOT_LEFT_PX + PLOT_RIGHT_PX);
        (css(self.begin.min(self.end)), width)
    }
}

/// A finger scrolls the page.
fn is_left_of_mouse(event: &leptos::ev::PointerEvent) -> bool {
    event.button() == 0 && event.pointer_type() == "mouse"
}

/// Where on the time axis the pointer is, 0 to 1.
fn share_at(element: &leptos::web_sys::HtmlDivElement, event: &leptos::ev::PointerEvent) -> f64 {
    let (left, width) = browser::horizontal_extent(element);
    let plotted = width - f64::from(PLOT_LEFT_PX + PLOT_RIGHT_PX);
    let x = f64::from(event.client_x()) - left - f64::from(PLOT_LEFT_PX);
    (x / plotted.max(1.0)).clamp(0.0, 1.0)
}

/// The chart may be gone by now.
fn look_again(tries: RwSignal<u32>) {
    tries.try_update(|tries| *tries += 1);
}

/// The chart as a plain picture.
#[component]
fn Still(scale: Scale, data: Signal<ChartData>) -> impl IntoView {
    let viewport = move || {
        data.with(|d| Viewport { from: d.from, to: d.to, top: d.top(scale), width: 1000.0, height: 100.0 })
    };
    let top = move || match scale {
        Scale::Percent => format::percent(Some(100.0)),
        Scale::Rate => format::rate(Some(data.with(|data| data.top(scale)))),
        Scale::Count => format::count(Some(data.with(|data| data.top(scale)))),
    };
    let hues = data.with_untracked(|d| d.traces.iter().map(|t| t.hue).collect::<Vec<_>>());
    let lines = hues.into_iter().enumerate().map(|(i, hue)| {
        let path = Memo::new(move |_| data.with(|d| viewport().path(&d.traces[i].points)));
        let line = move || path.with(|path| path.line.clone());
        let area = move || path.with(|path| path.area.clone());
        view! {
            <g class=hue.class()>
                <path class="area" d=area></path>
                <path class="line" d=line></path>
            </g>
        }
    });
    let marks = move || {
        let viewport = viewport();
        data.with(|d| viewport.ticks(d.marks.iter().map(|mark| mark.at)))
    };
    view! {
        <span class="still-label at-top">{top}</span>
        <span class="still-label at-bottom">"0"</span>
        <svg class="plot-still" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">
            <path class="gridlines" d="M0 0H1000M0 25H1000M0 50H1000M0 75H1000M0 100H1000"></path>
            {lines.collect_view()}
            <path class="marks" d=marks></path>
        </svg>
    }
}
