//! The Overview tab: what the VM is, its charts, and what happened to it.

use super::{
    charts::VmCharts,
    data::{TabData, when_loaded},
    events::Events,
};
use crate::{
    components::{
        feed::Feed,
        format,
        local_time::{LocalTime, TimeFormat},
        range::Range,
        timeline::Timeline,
    },
    model::{Adopted, Charts, Source, UtcMillis, VmView},
};
use leptos::prelude::*;

/// A root file system this small has not grown to the disk: what it keeps for itself and a boot partition take less.
const LITTLE: f64 = 0.75;

#[component]
pub fn Overview(
    feed: Feed,
    id: i64,
    vm: Memo<Option<VmView>>,
    range: Memo<Range>,
    data: TabData,
    adopted: Option<Adopted>,
) -> impl IntoView {
    let charts = move |charts: Charts| {
        let timeline = Timeline::follow(feed, Some(id), range, charts);
        Effect::new(move |begun: Option<()>| {
            data.changes.track();
            if begun.is_some() {
                timeline.something_happened();
            }
        });
        view! { <VmCharts feed id vm timeline/> }.into_any()
    };
    view! {
        <Facts vm adopted/>
        {when_loaded(data.charts, blank_charts, charts)}
        <Events data/>
    }
}

pub fn blank_charts() -> AnyView {
    view! {
        <div class="charts" role="status" aria-label="Loading">
            {(0..4).map(|_| view! { <div class="panel chart blank"></div> }).collect_view()}
        </div>
    }
    .into_any()
}

#[component]
fn Facts(vm: Memo<Option<VmView>>, adopted: Option<Adopted>) -> impl IntoView {
    let fact = move |read: fn(&VmView) -> String| {
        let text = Memo::new(move |_| vm.with(|vm| vm.as_ref().map(read).unwrap_or_default()));
        move || text.get()
    };
    let created_at =
        Memo::new(move |_| vm.with(|vm| vm.as_ref().map_or(UtcMillis::default(), |vm| vm.created_at)));
    view! {
        <dl class="panel facts">
            <div><dt>"Image"</dt><dd>{fact(|vm| vm.os_type.clone())}</dd></div>
            <div><dt>"Cores"</dt><dd>{fact(|vm| vm.spec.cpu_cores.to_string())}</dd></div>
            <div><dt>"Memory"</dt><dd>{fact(|vm| format::megabytes(vm.spec.ram_mb.into()))}</dd></div>
            <div><dt>"Disk"</dt><dd>{fact(disk)}</dd></div>
            <div>
                <dt>"Address"</dt>
                <dd class="mono" data-testid="address">{fact(|vm| vm.ip_address.clone().unwrap_or_else(|| format::UNKNOWN.into()))}</dd>
            </div>
            {adopted.map(|Adopted { directory, provider, .. }| view! {
                <div><dt>"Imported from"</dt><dd class="mono path">{directory}</dd></div>
                <div><dt>"Provider"</dt><dd>{provider}</dd></div>
            })}
            <div><dt>"Owner"</dt><dd>{fact(|vm| vm.owner_name.clone())}</dd></div>
            <div><dt>"Created"</dt><dd><LocalTime at=created_at form=TimeFormat::DayAndTime/></dd></div>
        </dl>
    }
}

/// The size, and how little of it the root file system has: it may be one of several, or could not be grown.
fn disk(vm: &VmView) -> String {
    let size_gb = f64::from(vm.spec.disk_gb);
    let root_gb = vm.usage.disk_used_gb.zip(vm.usage.disk_available_gb).map(|(used, rest)| used + rest);
    let size = format::gigabytes(size_gb);
    match root_gb.filter(|gb| vm.usage.sources.disk == Source::Guest && *gb < LITTLE * size_gb) {
        Some(gb) => format!("{size}, of which the root file system has {}", format::gigabytes(gb)),
        None => size,
    }
}
