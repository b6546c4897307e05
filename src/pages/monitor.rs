use crate::{
    api::metrics_since,
    components::{
        alerts::AlertBell,
        banner::{CollectorBanner, ConnectionStatus, ErrorBanner},
        browser,
        chart::{Hue, Scale, TimeChart},
        chart_table::{ChartTable, Column, default_columns},
        collector::Collector,
        feed::{Feed, Scope},
        format,
        hydration::is_hydrated,
        icon::{Glyph, Icon},
        range::{Range, RangePicker},
        resource::page_view,
        sparkline_geometry::Point,
        timeline::{self, Line, Timeline},
        vm::StatusMark,
    },
    model::{ApiError, Charts, HostUsage, Live, UtcMillis, VmUsage, VmView},
};
use leptos::prelude::*;
use leptos_meta::Title;
use serde::{Deserialize, Serialize};

const SCOPE: Scope = Scope { vm_id: None, window_secs: 60 };
/// How long live values are kept; the store is read again before that.
const TRAIL_SECS: i64 = 900;

#[derive(Clone, Serialize, Deserialize)]
struct First {
    live: Live,
    charts: Charts,
}

impl First {
    async fn load(range: Range) -> Result<Self, ApiError> {
        let live = metrics_since(None, SCOPE.vm_id, Some(SCOPE.window_secs), None).await?;
        let charts = timeline::load(None, range, Some(live.cursor)).await?;
        Ok(Self { live, charts })
    }
}

/// Charts of the host, and the current metrics of its VMs.
#[component]
pub fn Monitor() -> impl IntoView {
    let range = Range::for_page();
    let first = Resource::new(|| (), move |()| First::load(range.get_untracked()));
    view! {
        <Title text="Monitor"/>
        {page_view(first, || view! { <Skeleton/> }.into_any(), move |first| async move { view! { <Body first range/> }.into_any() })}
    }
}

#[component]
fn Skeleton() -> impl IntoView {
    view! {
        <div role="status" aria-label="Loading">
            <header class="top"><h1>"Monitor"</h1></header>
            <div class="charts">{(0..6).map(|_| view! { <div class="panel chart blank"></div> }).collect_view()}</div>
        </div>
    }
}

/// The host's metrics of the ticks since the page was opened.
fn trail(feed: Feed) -> RwSignal<Vec<(UtcMillis, HostUsage)>> {
    let trail = RwSignal::new(Vec::new());
    Effect::new(move || {
        let (at, host) = feed.live.with(|live| (live.cursor, live.host));
        trail.update(|trail: &mut Vec<(UtcMillis, HostUsage)>| {
            if trail.last().is_none_or(|(last, _)| *last < at) {
                trail.push((at, host));
            }
            trail.retain(|(seen, _)| *seen >= at.plus_secs(-TRAIL_SECS));
        });
    });
    trail
}

#[component]
fn Body(first: First, range: Memo<Range>) -> impl IntoView {
    let feed = Feed::start(first.live, SCOPE);
    let timeline = Timeline::follow(feed, None, range, first.charts);
    let trail = trail(feed);
    let is_hydrated = is_hydrated();
    view! {
        <div id="wall" class="wall">
            <CollectorBanner feed/>
            <header class="top">
                <h1>"Monitor"</h1>
                <ConnectionStatus feed/>
                <span class="push"></span>
                <AlertBell feed/>
                {move || is_hydrated.get().then(|| view! {
                    <button type="button" class="btn" data-testid="full-screen" on:click=move |_| browser::toggle_full_screen("wall")>
                        <Glyph icon=Icon::Expand/>"Full screen"
                    </button>
                })}
            </header>
            <div class="toolbar-line">
                <RangePicker range now=timeline.now() show=timeline.show/>
                <span class="push"></span>
                <Export timeline/>
            </div>
            <ErrorBanner error=timeline.error/>
            <HostCharts feed timeline trail/>
            <PerVm feed/>
            <Collector feed/>
        </div>
    }
}

#[component]
fn Export(timeline: Timeline) -> impl IntoView {
    let is_hydrated = is_hydrated();
    let address = move |format: &str| {
        let (from, to) = timeline.range.get().bounds(timeline.now().get());
        format!("/api/metrics/host/export?format={format}&from={}&to={}", from.to_rfc3339(), to.to_rfc3339())
    };
    view! {
        <details class="more" data-testid="export">
            <summary class="btn">"Export"</summary>
            <div>
                <a class="btn" href=move || address("csv") download rel="external">"CSV"</a>
                <a class="btn" href=move || address("json") download rel="external">"JSON"</a>
                {move || is_hydrated.get().then(|| view! {
                    <button type="button" class="btn" on:click=|_| browser::save_charts_as_png("host")>"PNG"</button>
                })}
            </div>
        </details>
    }
}

type Read = fn(&HostUsage) -> Option<f64>;

#[component]
fn HostCharts(feed: Feed, timeline: Timeline, trail: RwSignal<Vec<(UtcMillis, HostUsage)>>) -> impl IntoView {
    let line = move |metric, name, label, hue, read: Read| {
        let live = Signal::from(Memo::new(move |_| {
            trail.with(|trail| trail.iter().map(|(at, host)| (*at, read(host))).collect::<Vec<Point>>())
        }));
        Line { metric, name, label, hue, live }
    };
    let text = move |format: fn(&HostUsage) -> String| {
        Signal::derive(move || feed.live.with(|live| format(&live.host)))
    };
    let (span, on_span) = (timeline.words(), timeline.on_span());
    let of = move |metric| timeline.statistics(metric, format::percent);
    let one = move |metric, name, label, hue, read| timeline.data(vec![line(metric, name, label, hue, read)]);
    let cpu = one("host_cpu_percent", "cpu", "CPU", Hue::Cpu, |h| h.cpu_percent);
    let memory = one("host_memory_percent", "memory", "Memory", Hue::Memory, |h| h.memory_percent);
    let disk = one("host_disk_percent", "disk", "Disk", Hue::Disk, |h| h.disk_percent);
    let network = timeline.data(vec![
        line("host_net_recv_speed", "rx", "Received", Hue::Received, |h| h.net_recv_speed),
        line("host_net_send_speed", "tx", "Sent", Hue::Sent, |h| h.net_send_speed),
    ]);
    let swap = one("host_swap_percent", "swap", "Swap", Hue::Memory, |h| h.swap_percent);
    let load = timeline.data(vec![
        line("host_load_1", "load-1", "1 minute", Hue::Cpu, |h| h.load_1),
        line("host_load_5", "load-5", "5 minutes", Hue::Received, |h| h.load_5),
        line("host_load_15", "load-15", "15 minutes", Hue::Sent, |h| h.load_15),
    ]);
    let mut columns = default_columns([cpu, memory, disk, network]);
    columns.extend([
        Column { label: "Swap", chart: swap, trace: 0, format: format::percent },
        Column { label: "Load, 1 min", chart: load, trace: 0, format: format::count },
        Column { label: "Load, 5 min", chart: load, trace: 1, format: format::count },
        Column { label: "Load, 15 min", chart: load, trace: 2, format: format::count },
    ]);
    view! {
        <div class="charts host" class:stale=move || feed.is_stale() class:loading=timeline.loading>
            <TimeChart
                test_id="chart-cpu" title="CPU" hue=Hue::Cpu scale=Scale::Percent
                now_text=text(|h| format!("{} · {}", format::cores(h.cpu_cores), format::percent(h.cpu_percent)))
                data=cpu
                span foot=of("host_cpu_percent") on_span
            />
            <TimeChart
                test_id="chart-memory" title="Memory" hue=Hue::Memory scale=Scale::Percent
                now_text=text(|h| with_amount(h.memory_used_gb, h.memory_total_gb, h.memory_percent))
                data=memory
                span foot=of("host_memory_percent") on_span
            />
            <TimeChart
                test_id="chart-disk" title="Disk" hue=Hue::Disk scale=Scale::Percent
                now_text=text(|h| with_amount(h.disk_used_gb, h.disk_total_gb, h.disk_percent))
                data=disk
                span foot=of("host_disk_percent") on_span
            />
            <TimeChart
                test_id="chart-network" title="Network" hue=Hue::Received scale=Scale::Rate
                now_text=text(|h| format!("↓ {}  ↑ {}", format::rate(h.net_recv_speed), format::rate(h.net_send_speed)))
                data=network
                span foot=timeline.statistics("host_net_recv_speed", format::rate) on_span
            />
            <TimeChart
                test_id="chart-swap" title="Swap" hue=Hue::Memory scale=Scale::Percent
                now_text=text(|h| with_amount(h.swap_used_gb, h.swap_total_gb, h.swap_percent))
                data=swap
                span foot=of("host_swap_percent") on_span
            />
            <TimeChart
                test_id="chart-load" title="Load" hue=Hue::Cpu scale=Scale::Count
                now_text=text(|h| [h.load_1, h.load_5, h.load_15].map(format::count).join(" · "))
                data=load
                span foot=timeline.statistics("host_load_1", format::count) on_span
            />
        </div>
        <ChartTable columns/>
    }
}

/// `6.2 of 8 GB · 78 %`.
fn with_amount(used: Option<f64>, total: Option<f64>, percent: Option<f64>) -> String {
    let percent = format::percent(percent);
    format::used_of_gb(used, total).map_or_else(|| percent.clone(), |amount| format!("{amount} · {percent}"))
}

/// `8.4 %`, or `Image 8.4 %` where the disk's value falls back to the image.
fn disk_percent(usage: &VmUsage) -> String {
    let percent = format::percent(usage.disk_percent);
    if usage.disk_is_image() { format!("Image {percent}") } else { percent }
}

/// A row per VM, sorted by CPU usage.
#[component]
fn PerVm(feed: Feed) -> impl IntoView {
    let order = Memo::new(move |_| {
        feed.live.with(|live| {
            let mut vms: Vec<_> = live.vms.iter().map(|vm| (vm.id, vm.usage.cpu_percent)).collect();
            vms.sort_by(|a, b| b.1.unwrap_or(-1.0).total_cmp(&a.1.unwrap_or(-1.0)).then(a.0.cmp(&b.0)));
            vms.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        })
    });
    let row = move |id: i64| {
        let vm = feed.vm(id);
        let cell = move |format: fn(&VmView) -> String| {
            move || vm.with(|vm| vm.as_ref().map(format).unwrap_or_default())
        };
        let status = Memo::new(move |_| {
            vm.with(|vm| vm.as_ref().map_or(crate::model::VmStatus::Unknown, |vm| vm.status))
        });
        view! {
            <tr>
                <th scope="row"><span class="named"><StatusMark status/><a href=format!("/vms/{id}")>{cell(|vm| vm.name.clone())}</a></span></th>
                <td>{move || status.get().label()}</td>
                <td>{cell(|vm| format::percent(vm.usage.cpu_percent))}</td>
                <td>{cell(|vm| format::percent(vm.usage.memory_percent))}</td>
                <td>{cell(|vm| disk_percent(&vm.usage))}</td>
                <td>{cell(|vm| format::rate(vm.usage.network_rx_mb_per_s))}</td>
                <td>{cell(|vm| format::rate(vm.usage.network_tx_mb_per_s))}</td>
                <td>{cell(|vm| vm.owner_name.clone())}</td>
            </tr>
        }
    };
    view! {
        <section class="panel per-vm" aria-label="Metrics by VM" data-testid="per-vm">
            <div class="scroll" tabindex="0" role="region" aria-label="Metrics by VM">
                <table>
                    <thead><tr>
                        <th scope="col">"VM"</th><th scope="col">"Status"</th><th scope="col">"CPU"</th><th scope="col">"Memory"</th>
                        <th scope="col">"Disk"</th><th scope="col">"Received"</th><th scope="col">"Sent"</th><th scope="col">"Owner"</th>
                    </tr></thead>
                    <tbody><For each=move || order.get() key=|id| *id children=row/></tbody>
                </table>
            </div>
            {move || order.with(Vec::is_empty).then(|| view! { <p class="none">"No VMs yet. " <a class="underlined" href="/vms/new">"Launch the first one"</a></p> })}
        </section>
    }
}
