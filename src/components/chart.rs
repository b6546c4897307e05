//! A live chart of one metric over time. The server renders a plain SVG, which also serves without JavaScript; in
//! the browser an ECharts instance replaces it.

pub use super::chart_data::{ChartData, Hue, Mark, Scale, Trace};
use super::{
    browser,
    chart_data::{PLOT_LEFT_PX, PLOT_RIGHT_PX},
    format,
    source_badge::SourceBadge,
    sparkline_geometry::{self, Viewport},
};
use crate::model::Source;
use leptos::{ev::PointerEvent, html, prelude::*, web_sys::HtmlDivElement};
use std::time::Duration;

/// The interval and number of attempts at waiting for the ECharts script.
const SCRIPT_WAIT: (Duration, u32) = (Duration::from_millis(50), 600);

/// `now_text` is shown in the header, `foot` below the chart; `span` is the time range in words. `on_span` receives a range
/// selected with the mouse, in fractions of the chart's width; with Shift it is a move.
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
        move || format!("{title} over {}. Now: {}.", span.get(), now_text.get().replace('–', "unknown"));
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
    // The effect owns the chart and disposes of it when it ends.
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
            None if tried < SCRIPT_WAIT.1 => set_timeout(move || retry(tries), SCRIPT_WAIT.0),
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

/// A change of the time range by the mouse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drawn {
    /// A selected range, in fractions of the chart's width.
    Span(f64, f64),
    /// A move, as a fraction of the chart's width.
    Move(f64),
    /// Zooms out.
    Out,
}

/// A selection in progress, in fractions of the chart's width.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Drag {
    begin: f64,
    end: f64,
    moves: bool,
}

impl Drag {
    /// `None` for a click without a selection.
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

/// Touch scrolls the page instead.
fn is_left_of_mouse(event: &PointerEvent) -> bool {
    event.button() == 0 && event.pointer_type() == "mouse"
}

/// Where on the time axis the pointer is, 0 to 1.
fn share_at(element: &HtmlDivElement, event: &PointerEvent) -> f64 {
    let (left, width) = browser::horizontal_extent(element);
    let plotted = width - f64::from(PLOT_LEFT_PX + PLOT_RIGHT_PX);
    let x = f64::from(event.client_x()) - left - f64::from(PLOT_LEFT_PX);
    (x / plotted.max(1.0)).clamp(0.0, 1.0)
}

/// `None` if the chart has been removed.
fn retry(tries: RwSignal<u32>) {
    tries.try_update(|tries| *tries += 1);
}

/// The chart as a static SVG.
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
