//! Draws a [`ChartData`] with the page's global `echarts`. The options are charming's; what charming has no
//! name for (the formatter function and its kin) is put into the same object.

use crate::{
    components::{
        chart_data::{ChartData, Hue, PLOT_LEFT_PX, PLOT_RIGHT_PX, Scale, Trace},
        format,
        lazy::if_ready,
        sparkline_geometry::ValueAxis,
    },
    model::{Severity, UtcMillis},
};
use charming::{
    Chart,
    component::{Axis, Grid},
    datatype::{CompositeValue, DataPoint},
    element::{
        AreaStyle, AxisLabel, AxisLine, AxisPointer, AxisTick, AxisType, ItemStyle, LineStyle, SplitLine,
        Tooltip, Trigger,
    },
    series::Line,
};
use leptos::{
    prelude::window,
    task::spawn_local,
    wasm_split::{SplitLoaderError, wasm_split},
    web_sys::HtmlDivElement,
};
use serde::Serialize;
use serde_json::json;
use std::pin::pin;
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::ResizeObserver;

#[wasm_bindgen]
extern "C" {
    type Instance;

    #[wasm_bindgen(js_namespace = echarts, js_name = init)]
    fn init(element: &HtmlDivElement) -> Instance;

    /// Charts of one group show their pointers at the same time.
    #[wasm_bindgen(js_namespace = echarts, js_name = connect)]
    fn connect(group: &str);

    #[wasm_bindgen(method, setter)]
    fn set_group(this: &Instance, group: &str);

    #[wasm_bindgen(method, js_name = setOption)]
    fn set_option(this: &Instance, option: &JsValue);

    #[wasm_bindgen(method)]
    fn resize(this: &Instance);

    #[wasm_bindgen(method)]
    fn dispose(this: &Instance);
}

const GROUP: &str = "page";

/// A drawn chart. What draws it comes as a part of the wasm of its own, when ECharts does.
pub struct Plot(Box<dyn Draws>);

trait Draws {
    fn draw(&mut self, data: &ChartData);
}

impl Plot {
    /// `None` until the ECharts script and the code for it are loaded, which the first chart requests; and before the
    /// element is in the document, where it has no colours.
    pub fn on(element: &HtmlDivElement, scale: Scale) -> Option<Self> {
        let arrived = js_sys::Reflect::get(&window(), &"echarts".into()).is_ok_and(|e| e.is_object());
        if !arrived {
            ask_for_script();
        }
        if_ready(pin!(load_plot()))?.ok().filter(|()| arrived && element.is_connected())?;
        if_ready(pin!(drawing(element.clone(), scale)))?.ok().map(Self)
    }

    /// Shows `data` from now on.
    pub fn draw(&mut self, data: &ChartData) {
        self.0.draw(data);
    }
}

#[wasm_split(plot, wasm_split_path = ::leptos::wasm_split, preload(load_plot), fallible)]
fn drawing(element: HtmlDivElement, scale: Scale) -> Result<Box<dyn Draws>, SplitLoaderError> {
    Ok(Box::new(Drawing::on(element, scale)))
}

/// One ECharts instance for as long as its element is there.
struct Drawing {
    instance: Instance,
    element: HtmlDivElement,
    scale: Scale,
    sizes: Option<ResizeObserver>,
    _on_resize: Closure<dyn Fn()>,
    value_text: Closure<dyn Fn(JsValue) -> String>,
    /// The colours the frame was drawn with; `None` draws it at the next occasion.
    colours: Option<Colours>,
}

/// The page's colours as they are now, light or dark.
#[derive(PartialEq)]
struct Colours {
    ink: String,
    faint_ink: String,
    grid: String,
    surface: String,
    line: String,
    warn: String,
    bad: String,
    of_traces: Vec<String>,
}

/// Has the page load ECharts and what draws with it: only a page with charts does, and after it was painted. The shell says
/// where the script is.
fn ask_for_script() {
    if super::load_script("echarts") {
        spawn_local(async {
            let _ = load_plot().await;
        });
    }
}

impl Drawing {
    fn on(element: HtmlDivElement, scale: Scale) -> Self {
        let instance = init(&element);
        instance.set_group(GROUP);
        connect(GROUP);
        let same = instance.unchecked_ref::<JsValue>().clone().unchecked_into::<Instance>();
        let on_resize = Closure::<dyn Fn()>::new(move || same.resize());
        let sizes = ResizeObserver::new(on_resize.as_ref().unchecked_ref()).ok();
        if let Some(sizes) = &sizes {
            sizes.observe(&element);
        }
        let value_text = Closure::new(move |value: JsValue| match scale {
            Scale::Percent => format::percent(value.as_f64()),
            Scale::Rate => format::rate(value.as_f64()),
            Scale::Count => format::count(value.as_f64()),
        });
        Self { instance, element, scale, sizes, _on_resize: on_resize, value_text, colours: None }
    }
}

impl Draws for Drawing {
    /// Shows `data`: the points are merged into what is drawn; the frame is set up at first and when the
    /// page's colours have changed.
    fn draw(&mut self, data: &ChartData) {
        let colours = self.read_colours(data);
        if self.colours.as_ref() != Some(&colours) {
            self.instance.set_option(&self.frame(data, &colours));
            self.colours = Some(colours);
        }
        let x_axis = Axis::new().min(data.from.0).max(data.to.0);
        let chart = Chart::new().x_axis(x_axis);
        let chart = match self.scale {
            Scale::Percent => chart,
            Scale::Rate | Scale::Count => {
                let ValueAxis { top, step } = data.axis(self.scale);
                chart.y_axis(Axis::new().max(top).interval(step))
            }
        };
        let chart = data.traces.iter().fold(chart, |chart, trace| {
            let points = trace.points.iter().map(|(at, value)| {
                DataPoint::from(vec![CompositeValue::from(at.0), CompositeValue::from(*value)])
            });
            let [low, span] = band(trace);
            chart
                .series(Line::new().id(trace.name).data(points.collect::<Vec<_>>()))
                .series(Line::new().id(format!("{}-low", trace.name)).data(low))
                .series(Line::new().id(format!("{}-span", trace.name)).data(span))
        });
        let option = to_js(&chart);
        let series = get(&option, "series").unchecked_into::<js_sys::Array>();
        for one in series.iter().filter(|one| get(one, "data").is_undefined()) {
            // Left out, the points of before would stay.
            set(&one, "data", &js_sys::Array::new());
        }
        set(&series.get(0), "markLine", &self.marks(data));
        self.instance.set_option(&option);
    }
}

impl Drawing {
    /// Lines across the time axis; each says what it is about when the pointer is on it.
    fn marks(&self, data: &ChartData) -> JsValue {
        let colours = self.colours.as_ref();
        let middle = i64::midpoint(data.from.0, data.to.0);
        let marks = data.marks.iter().map(|mark| {
            let colour = colours.map_or("", |colours| match mark.severity {
                Severity::Info => colours.faint_ink.as_str(),
                Severity::Warning => colours.warn.as_str(),
                Severity::Error => colours.bad.as_str(),
            });
            // Towards the middle: beyond an edge of the chart its words would be cut off.
            let side = if mark.at.0 > middle { "right" } else { "left" };
            json!({
                "name": mark.text, "xAxis": mark.at.0, "lineStyle": { "color": colour },
                "label": { "align": side },
            })
        });
        let ink = colours.map_or("", |colours| colours.ink.as_str());
        let ground = colours.map_or("", |colours| colours.surface.as_str());
        to_js(&json!({
            "symbol": "none",
            "animation": false,
            // The position matters even for a label that is only shown on hover.
            "label": { "show": false, "position": "insideMiddle", "verticalAlign": "middle" },
            "lineStyle": { "type": "dashed", "width": 1 },
            "emphasis": {
                "lineStyle": { "width": 2 },
                "label": {
                    "show": true, "formatter": "{b}", "rotate": 0, "color": ink,
                    "backgroundColor": ground, "padding": [4, 6], "borderRadius": 4, "width": 220, "overflow": "break",
                },
            },
            "data": marks.collect::<Vec<_>>(),
        }))
    }

    fn frame(&self, data: &ChartData, colours: &Colours) -> JsValue {
        let label = || AxisLabel::new().color(colours.faint_ink.as_str()).font_size(11);
        let value_axis = Axis::new()
            .type_(AxisType::Value)
            .min(0)
            .split_number(4)
            .axis_label(label())
            .split_line(SplitLine::new().line_style(LineStyle::new().color(colours.grid.as_str())));
        let value_axis = match self.scale {
            Scale::Percent => value_axis.max(100).interval(25),
            Scale::Rate | Scale::Count => value_axis,
        };
        let chart = Chart::new()
            .animation(false)
            .grid(Grid::new().left(PLOT_LEFT_PX).right(PLOT_RIGHT_PX).top(10).bottom(24))
            .x_axis(
                Axis::new()
                    .type_(AxisType::Time)
                    .split_number(4)
                    .axis_label(label())
                    .axis_tick(AxisTick::new().show(false))
                    .axis_line(AxisLine::new().show(false))
                    .split_line(SplitLine::new().show(false)),
            )
            .y_axis(value_axis)
            .tooltip(
                Tooltip::new()
                    .trigger(Trigger::Axis)
                    .axis_pointer(
                        AxisPointer::new().line_style(LineStyle::new().color(colours.faint_ink.as_str())),
                    )
                    .background_color(colours.surface.as_str())
                    .border_color(colours.line.as_str())
                    .border_width(1),
            );
        let chart = data.traces.iter().zip(&colours.of_traces).fold(chart, |chart, (trace, colour)| {
            let of_band = || {
                Line::new()
                    .show_symbol(false)
                    .connect_nulls(false)
                    .silent(true)
                    .stack(trace.name)
                    .line_style(LineStyle::new().opacity(0.0))
            };
            let low = of_band().id(format!("{}-low", trace.name));
            let span = of_band()
                .id(format!("{}-span", trace.name))
                .area_style(AreaStyle::new().color(colour.as_str()).opacity(0.28));
            chart
                .series(
                    Line::new()
                        .id(trace.name)
                        .name(trace.label)
                        .show_symbol(false)
                        .connect_nulls(false)
                        .line_style(LineStyle::new().color(colour.as_str()).width(1.6))
                        .item_style(ItemStyle::new().color(colour.as_str()))
                        .area_style(AreaStyle::new().color(colour.as_str()).opacity(0.1)),
                )
                .series(low)
                .series(span)
        });
        let option = to_js(&chart);
        for band in get(&option, "series").unchecked_into::<js_sys::Array>().iter() {
            if get(&band, "stack").is_string() {
                set(&band, "tooltip", &to_js(&json!({ "show": false })));
            }
        }
        let value_labels = get(&get(&option, "yAxis"), "axisLabel");
        set(&value_labels, "formatter", self.value_text.as_ref());
        set(&get(&get(&option, "xAxis"), "axisLabel"), "hideOverlap", &true.into());
        let tooltip = get(&option, "tooltip");
        // Drawn on the canvas, so that no markup of ours has to be let through the content policy.
        set(&tooltip, "renderMode", &"richText".into());
        set(&tooltip, "confine", &true.into());
        set(&tooltip, "valueFormatter", self.value_text.as_ref());
        let style = js_sys::Object::new();
        set(&style, "color", &colours.ink.as_str().into());
        set(&style, "fontSize", &12.into());
        set(&tooltip, "textStyle", &style);
        option
    }

    /// A custom property with `light-dark()` says its colour only where it is used as one.
    fn read_colours(&self, data: &ChartData) -> Colours {
        let of = |name: &str| {
            let style = self.element.style();
            let _ = style.set_property("color", &format!("var({name})"));
            let colour = window()
                .get_computed_style(&self.element)
                .ok()
                .flatten()
                .and_then(|computed| computed.get_property_value("color").ok());
            let _ = style.remove_property("color");
            colour.unwrap_or_default()
        };
        Colours {
            ink: of("--ink"),
            faint_ink: of("--ink-3"),
            grid: of("--line-soft"),
            surface: of("--raised"),
            line: of("--line"),
            warn: of("--warn"),
            bad: of("--bad"),
            of_traces: data.traces.iter().map(|trace| of(custom_property(trace.hue))).collect(),
        }
    }
}

/// The CSS custom property that holds a hue.
fn custom_property(hue: Hue) -> &'static str {
    match hue {
        Hue::Cpu => "--cpu",
        Hue::Memory => "--memory",
        Hue::Disk => "--disk",
        Hue::Received => "--rx",
        Hue::Sent => "--tx",
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        if let Some(sizes) = &self.sizes {
            sizes.disconnect();
        }
        self.instance.dispose();
    }
}

/// The smallest values, and how far the largest lie above them: stacked, they make a band.
fn band(trace: &Trace) -> [Vec<DataPoint>; 2] {
    let extremes = || trace.points.iter().zip(&trace.extremes);
    let point = |at: &UtcMillis, value: Option<f64>| {
        DataPoint::from(vec![CompositeValue::from(at.0), CompositeValue::from(value)])
    };
    [
        extremes().map(|((at, _), ends)| point(at, ends.map(|(min, _)| min))).collect(),
        extremes().map(|((at, _), ends)| point(at, ends.map(|(min, max)| max - min))).collect(),
    ]
}

fn get(object: &JsValue, key: &str) -> JsValue {
    js_sys::Reflect::get(object, &key.into()).unwrap_or(JsValue::UNDEFINED)
}

fn set(object: &JsValue, key: &str, value: &JsValue) {
    let _ = js_sys::Reflect::set(object, &key.into(), value);
}

fn to_js(chart: &impl Serialize) -> JsValue {
    serde_json::to_string(chart)
        .ok()
        .and_then(|json| js_sys::JSON::parse(&json).ok())
        .unwrap_or(JsValue::NULL)
}
