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
            <div><dt>"Cores"</dt><dd>{fact(|vm| known(vm, |vm| vm.spec.cpu_cores.to_string()))}</dd></div>
            <div><dt>"Memory"</dt><dd>{fact(|vm| known(vm, |vm| format::megabytes(vm.spec.ram_mb.into())))}</dd></div>
            <div><dt>"Disk"</dt><dd>{fact(|vm| known(vm, disk))}</dd></div>
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

/// A part of its size, which is unknown while the VM is imported.
fn known(vm: &VmView, part: fn(&VmView) -> String) -> String {
    if vm.spec.ram_mb == 0 { format::UNKNOWN.into() } else { part(vm) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::feed::tests::vm;

    #[test]
    fn a_root_file_system_that_did_not_grow_is_shown() {
        let shown = |root_gb: f64, source| {
            let mut vm = vm(1);
            vm.spec.disk_gb = 64;
            vm.usage.disk_used_gb = Some(10.0);
            vm.usage.disk_available_gb = Some(root_gb - 10.0);
            vm.usage.sources.disk = source;
            disk(&vm)
        };
        assert_eq!(shown(31.0, Source::Guest), "64 GB, of which the root file system has 31 GB");
        assert_eq!(shown(18.5, Source::Guest), "64 GB, of which the root file system has 18.5 GB");
        for (root_gb, source) in [(60.0, Source::Guest), (64.0, Source::Guest), (31.0, Source::Hypervisor)] {
            assert_eq!(shown(root_gb, source), "64 GB");
        }
        assert_eq!(disk(&vm(1)), format::gigabytes(vm(1).spec.disk_gb.into()));
    }
}
