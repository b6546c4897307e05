//! A VM's row. Facts and values are memos: a poll changes only the texts whose value has changed.

use super::{SCOPE, vm_actions::VmActions};
use crate::{
    components::{
        chart::Hue,
        feed::{Feed, open_operation},
        format,
        icon::{Glyph, Icon},
        meter::Meter,
        sparkline::Sparkline,
        sparkline_geometry::{self, Path, Viewport},
        vm::{Power, Progress, StatusMark, describe},
    },
    model::{Live, Series, VmStatus, VmUsage, VmView},
};
use leptos::prelude::*;

/// The form that acts on all selected rows.
pub const BULK_FORM_ID: &str = "bulk-actions";

/// Percentages from here on are shown in the colour of trouble.
const HIGH_PERCENT: f64 = 90.0;
const SPARKLINE_SIZE: (f64, f64) = (72.0, 22.0);

fn sparkline(live: &Live, id: i64, column: fn(&Series) -> &Vec<Option<f64>>) -> Path {
    let (from, to) = live.window(SCOPE.window_secs);
    let viewport = Viewport { from, to, top: 100.0, width: SPARKLINE_SIZE.0, height: SPARKLINE_SIZE.1 };
    let series = live.series.iter().find(|series| series.vm_id == id);
    let points = series.map(|series| sparkline_geometry::points(&series.sampled_at, column(series)));
    viewport.path(&points.unwrap_or_default())
}

/// What a row shows beside the name.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    Progress,
    Metrics,
}

#[component]
pub fn VmRow(
    feed: Feed,
    id: i64,
    power: Power,
    with_owner: bool,
    selected: RwSignal<Vec<i64>>,
    redraw: Memo<i64>,
) -> impl IntoView {
    let vm = feed.facts(id);
    let text = move |read: fn(&VmView) -> String| {
        Memo::new(move |_| vm.with(|vm| vm.as_ref().map(read).unwrap_or_default()))
    };
    let name = text(|vm| vm.name.clone());
    let spec = text(|vm| describe(&vm.os_type, &vm.spec));
    let problem = Memo::new(move |_| vm.with(|vm| vm.as_ref().and_then(|vm| vm.problem.clone())));
    let status = Memo::new(move |_| vm.with(|vm| vm.as_ref().map_or(VmStatus::Unknown, |vm| vm.status)));
    let content = Memo::new(move |_| {
        let busy = vm.with(|vm| vm.as_ref().is_some_and(|vm| open_operation(vm).is_some()));
        if busy { Content::Progress } else { Content::Metrics }
    });
    let columns = if with_owner { "6" } else { "5" };
    let cells = move || match content.get() {
        Content::Progress => {
            view! { <td class="across" colspan=columns><Progress vm now=feed.now/></td> }.into_any()
        }
        Content::Metrics => view! { <MetricCells feed id vm status with_owner redraw/> }.into_any(),
    };
    view! {
        <tr data-vm=name data-status=move || status.get().as_str() class:troubled=move || problem.with(Option::is_some)>
            <td class="who"><div>
                <input
                    type="checkbox" form=BULK_FORM_ID name="vm_ids[]" value=id aria-label=move || format!("Select {}", name.get())
                    prop:checked=move || selected.with(|selected| selected.contains(&id))
                    on:change=move |event| {
                        let is_selected = event_target_checked(&event);
                        selected.update(|selected| {
                            selected.retain(|other| *other != id);
                            if is_selected {
                                selected.push(id);
                            }
                        });
                    }
                />
                <StatusMark status/>
                <span>
                    <a href=format!("/vms/{id}")>{name}</a>
                    <small title=spec><span data-testid="status">{move || status.get().label()}</span> " · " {spec}</small>
                </span>
            </div></td>
            {cells}
            <td class="actions"><VmActions vm name power/></td>
        </tr>
        {move || {
            problem.get().map(|text| {
                view! {
                    <tr class="problem" data-problem=name>
                        <td colspan="8"><p data-testid="problem"><Glyph icon=Icon::Warning/><span>{text}</span></p></td>
                    </tr>
                }
            })
        }}
    }
}

type Read = fn(&VmUsage) -> Option<f64>;

#[component]
fn MetricCells(
    feed: Feed,
    id: i64,
    vm: Memo<Option<VmView>>,
    status: Memo<VmStatus>,
    with_owner: bool,
    redraw: Memo<i64>,
) -> impl IntoView {
    let values = feed.usage(id);
    let percent = move |test_id: &'static str, read: Read| {
        let value = move || values.with(read);
        let is_high = move || value().is_some_and(|percent| percent >= HIGH_PERCENT);
        view! { <b><span class="now" class:high=is_high data-testid=test_id>{move || format::percent(value())}</span></b> }
    };
    let line = move |hue: Hue, column: fn(&Series) -> &Vec<Option<f64>>| {
        let path = Memo::new(move |_| {
            redraw.get();
            feed.live.with_untracked(|live| sparkline(live, id, column))
        });
        view! { <Sparkline path size=SPARKLINE_SIZE hue/> }
    };
    let rate =
        move |arrow: &'static str, read: Read| move || format!("{arrow} {}", format::rate(values.with(read)));
    let uptime = move || {
        let secs = values.with(|values| values.uptime_seconds).filter(|_| status.get() == VmStatus::Running);
        secs.map_or_else(|| format::UNKNOWN.to_owned(), format::duration)
    };
    let address = move || vm.with(|vm| vm.as_ref().and_then(|vm| vm.ip_address.clone()));
    let owner = move || vm.with(|vm| vm.as_ref().map(|vm| vm.owner_name.clone()));
    let disk = Signal::derive(move || values.with(|values| values.disk_percent));
    let is_image = Memo::new(move |_| values.with(VmUsage::disk_is_image));
    let image_mark = move || {
        is_image.get().then(|| view! { <small class="muted" data-testid="disk-is-image">"Image"</small> })
    };
    view! {
        <td data-label="CPU">
            <div class="metric">
                {percent("cpu", |values| values.cpu_percent)}
                <div>{line(Hue::Cpu, |series| &series.cpu_percent)}</div>
            </div>
        </td>
        <td data-label="Memory">
            <div class="metric">
                {percent("memory", |values| values.memory_percent)}
                <div>{line(Hue::Memory, |series| &series.memory_percent)}</div>
            </div>
        </td>
        <td data-label="Disk">
            <div class="metric">
                {percent("disk", |values| values.disk_percent)}
                <div><Meter percent=disk hue=Hue::Disk/>{image_mark}</div>
            </div>
        </td>
        <td data-label="Network" class="rates">
            <div>
                <span class="now">{rate("↓", |values| values.network_rx_mb_per_s)}</span> " "
                <span class="now muted">{rate("↑", |values| values.network_tx_mb_per_s)}</span>
            </div>
        </td>
        <td data-label="Uptime, address">
            <span class="now">{uptime}</span>
            <span class="address">{address}</span>
        </td>
        {with_owner.then(|| view! { <td data-label="Owner">{owner}</td> })}
    }
}
