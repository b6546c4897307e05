//! What a VM has used over the shown time: four charts on one time axis, in words, and as files.

use crate::{
    components::{
        banner::ErrorBanner,
        browser,
        chart::{Hue, Scale, TimeChart},
        chart_table::{ChartTable, Column, default_columns},
        feed::Feed,
        format,
        hydration::is_hydrated,
        range::RangePicker,
        timeline::{Line, Timeline},
    },
    model::{Series, Source, Sources, VmUsage, VmView},
};
use leptos::prelude::*;

type Read = fn(&Series) -> &Vec<Option<f64>>;

#[component]
pub fn VmCharts(feed: Feed, id: i64, vm: Memo<Option<VmView>>, timeline: Timeline) -> impl IntoView {
    let line = move |metric, name, label, hue, read: Read| {
        let live = feed.points(id, read);
        Line { metric, name, label, hue, live }
    };
    let cpu = timeline.data(vec![line("vm_cpu_percent", "cpu", "CPU", Hue::Cpu, |s| &s.cpu_percent)]);
    let memory = timeline
        .data(vec![line("vm_memory_percent", "memory", "Memory", Hue::Memory, |s| &s.memory_percent)]);
    let disk = timeline.data(vec![
        line("vm_disk_percent", "disk", "Disk", Hue::Disk, |s| &s.disk_percent),
        line("vm_image_percent", "image", "Image", Hue::Sent, |s| &s.image_percent),
    ]);
    let network = timeline.data(vec![
        line("vm_network_rx_mb_per_s", "rx", "Received", Hue::Received, |s| &s.network_rx_mb_per_s),
        line("vm_network_tx_mb_per_s", "tx", "Sent", Hue::Sent, |s| &s.network_tx_mb_per_s),
    ]);
    let source = move |read: fn(&Sources) -> Source| {
        Signal::derive(move || {
            vm.with(|vm| vm.as_ref().map_or(Source::Unknown, |vm| read(&vm.usage.sources)))
        })
    };
    let text = move |read: fn(&VmUsage) -> String| {
        Signal::derive(move || vm.with(|vm| vm.as_ref().map(|vm| read(&vm.usage)).unwrap_or_default()))
    };
    let received = timeline.statistics("vm_network_rx_mb_per_s", format::rate);
    let sent = timeline.statistics("vm_network_tx_mb_per_s", format::rate);
    let of_network =
        Signal::derive(move || received.get().zip(sent.get()).map(|(down, up)| format!("↓ {down}  ↑ {up}")));
    let in_guest = timeline.statistics("vm_disk_percent", format::percent);
    let of_image = timeline.statistics("vm_image_percent", format::percent);
    let of_disk = Signal::derive(move || {
        if timeline.has_values("vm_disk_percent") || !timeline.has_values("vm_image_percent") {
            in_guest.get()
        } else {
            of_image.get().map(|words| format!("Image: {words}"))
        }
    });
    let mut columns = default_columns([cpu, memory, disk, network]);
    columns.push(Column { label: "Image", chart: disk, trace: 1, format: format::percent });
    let (span, on_span) = (timeline.words(), timeline.on_span());
    view! {
        <div class="toolbar-line">
            <RangePicker range=timeline.range now=timeline.now() show=timeline.show/>
            <span class="push"></span>
            <Export id vm timeline/>
        </div>
        <ErrorBanner error=timeline.error/>
        <div class="charts" class:stale=move || feed.is_stale() class:loading=timeline.loading aria-busy=move || timeline.loading.get().to_string()>
            <TimeChart
                test_id="chart-cpu" title="CPU" hue=Hue::Cpu scale=Scale::Percent source=source(|s| s.cpu)
                now_text=text(|f| format::percent(f.cpu_percent))
                data=cpu span foot=timeline.statistics("vm_cpu_percent", format::percent) on_span
            />
            <TimeChart
                test_id="chart-memory" title="Memory" hue=Hue::Memory scale=Scale::Percent source=source(|s| s.memory)
                now_text=text(|f| {
                    let seen_mb = f.memory_used_mb.zip(f.memory_available_mb).map(|(used, rest)| used + rest);
                    let gb = |mb: Option<f64>| mb.map(|mb| mb / 1024.0);
                    with_percent(format::used_of_gb(gb(f.memory_used_mb), gb(seen_mb)), f.memory_percent)
                })
                data=memory span foot=timeline.statistics("vm_memory_percent", format::percent) on_span
            />
            <TimeChart
                test_id="chart-disk" title="Disk" hue=Hue::Disk scale=Scale::Percent source=source(|s| s.disk)
                now_text=text(|f| {
                    let size = f.disk_used_gb.zip(f.disk_available_gb).map(|(used, rest)| used + rest);
                    let usage = with_percent(format::used_of_gb(f.disk_used_gb, size), f.disk_percent);
                    if f.disk_is_image() { format!("Image {usage}") } else { usage }
                })
                data=disk span foot=of_disk on_span
            />
            <TimeChart
                test_id="chart-network" title="Network" hue=Hue::Received scale=Scale::Rate source=source(|s| s.network)
                now_text=text(|f| {
                    format!("↓ {}  ↑ {}", format::rate(f.network_rx_mb_per_s), format::rate(f.network_tx_mb_per_s))
                })
                data=network span foot=of_network on_span
            />
        </div>
        <ChartTable columns/>
    }
}

/// `6.2 of 8 GB · 78 %`.
fn with_percent(amount: Option<String>, percent: Option<f64>) -> String {
    let percent = format::percent(percent);
    amount.map_or_else(|| percent.clone(), |amount| format!("{amount} · {percent}"))
}

/// The shown time as files: every sample in it, or the picture of it.
#[component]
fn Export(id: i64, vm: Memo<Option<VmView>>, timeline: Timeline) -> impl IntoView {
    let is_hydrated = is_hydrated();
    let address = move |format: &str| {
        let (from, to) = timeline.range.get().bounds(timeline.now().get());
        let (from, to) = (from.to_rfc3339(), to.to_rfc3339());
        format!("/api/metrics/vm/{id}/export?format={format}&from={from}&to={to}")
    };
    let picture = move |_| {
        let name = vm.with_untracked(|vm| vm.as_ref().map(|vm| vm.name.clone()).unwrap_or_default());
        browser::save_charts_as_png(&name);
    };
    view! {
        <details class="more" data-testid="export">
            <summary class="btn">"Export"</summary>
            <div>
                <a class="btn" href=move || address("csv") download rel="external">"CSV"</a>
                <a class="btn" href=move || address("json") download rel="external">"JSON"</a>
                {move || is_hydrated.get().then(|| view! { <button type="button" class="btn" on:click=picture>"PNG"</button> })}
            </div>
        </details>
    }
}
