//! A VM's row. Its facts are signals; its figures, which each poll brings anew, are painted: of all rows in one pass, and
//! with every poll only in those that are in sight.

use super::SCOPE;
use crate::{
    components::{
        browser,
        chart::Hue,
        feed::{Feed, open_operation},
        figures::{Bar, Beat, Sparkline, bar_width},
        format,
        icon::{Glyph, Icon},
        trail::{self, Frame, Shapes},
        vm::{Power, PowerButtons, Progress, StatusMark, describe},
    },
    model::{Live, Series, VmFigures, VmStatus, VmView},
};
use leptos::{html, prelude::*};

/// The form that acts on all ticked rows.
pub const BULK_ID: &str = "several";

/// From here on a share is told in the colour of trouble, too.
const HIGH_PERCENT: f64 = 90.0;
const LINE_SIZE: (f64, f64) = (72.0, 22.0);

/// Where the disk's share is among a row's texts.
const DISK: usize = 2;

/// What a row tells: CPU, memory, disk, received, sent and for how long the VM is up; the first three may be high.
#[derive(Default, Clone)]
struct Texts([(String, bool); 6]);

impl Texts {
    fn of(figures: &VmFigures, runs: bool) -> Self {
        let percent = |share: Option<f64>| {
            (format::percent(share), share.is_some_and(|percent| percent >= HIGH_PERCENT))
        };
        let rate = |arrow: &str, rate| (format!("{arrow} {}", format::rate(rate)), false);
        let up = figures.uptime_seconds.filter(|_| runs);
        Self([
            percent(figures.cpu_percent),
            percent(figures.memory_percent),
            percent(figures.disk_percent),
            rate("↓", figures.network_rx_mb_per_s),
            rate("↑", figures.network_tx_mb_per_s),
            (up.map_or_else(|| format::UNKNOWN.to_owned(), format::duration), false),
        ])
    }
}

/// The lines of CPU and memory.
fn lines(live: &Live, id: i64) -> [Shapes; 2] {
    let (from, to) = live.window(SCOPE.window_secs);
    let frame = Frame { from, to, top: 100.0, width: LINE_SIZE.0, height: LINE_SIZE.1 };
    let Some(series) = live.series.iter().find(|series| series.vm_id == id) else {
        return Default::default();
    };
    let line = |column: fn(&Series) -> &Vec<Option<f64>>| {
        frame.shapes(&trail::points(&series.sampled_at, column(series)))
    };
    [line(|s| &s.cpu_percent), line(|s| &s.memory_percent)]
}

/// Paints the rows after each poll.
#[derive(Clone, Copy)]
pub struct Painter {
    feed: Feed,
    rows: StoredValue<Vec<Painted>>,
}

/// A row in the page, and what stands in it.
struct Painted {
    vm_id: i64,
    told: browser::Told,
    in_sight: bool,
    figures: VmFigures,
    runs: bool,
    /// None before they were painted here: the server's may be older ones.
    texts: Option<Texts>,
    /// When its lines, or out of sight its texts, were painted.
    beat: Option<Beat>,
}

impl Painter {
    pub fn start(feed: Feed) -> Self {
        let painter = Self { feed, rows: StoredValue::default() };
        Effect::new(move || {
            feed.live.with(|live| {
                painter.rows.try_update_value(|rows| {
                    rows.iter_mut().for_each(|row| row.paint(live));
                });
            });
        });
        painter
    }

    /// Paints the cells in `row` from now on, until the calling owner is cleaned up.
    fn paint(self, id: i64, row: &leptos::web_sys::Element) {
        let painted = Painted {
            vm_id: id,
            told: browser::Told::within(row),
            in_sight: false,
            figures: VmFigures::default(),
            runs: false,
            texts: None,
            beat: None,
        };
        self.rows.try_update_value(|rows| rows.push(painted));
        on_cleanup(move || {
            self.rows.try_update_value(|rows| rows.retain(|row| row.vm_id != id));
        });
        browser::watch_for_being_seen(row, move |in_sight| {
            self.feed.live.with_untracked(|live| {
                self.rows.try_update_value(|rows| {
                    for row in rows.iter_mut().filter(|row| row.vm_id == id) {
                        row.in_sight = in_sight;
                        row.beat = None;
                        row.paint(live);
                    }
                });
            });
        });
    }
}

impl Painted {
    fn paint(&mut self, live: &Live) {
        // The lines in sight all in one poll, the texts of rows out of sight each in its turn.
        let turn = if self.in_sight { 0 } else { self.vm_id };
        let beat = Some(Beat::at(live.cursor, turn));
        let is_due = self.beat != beat;
        self.beat = beat;
        if !self.in_sight && !is_due {
            return;
        }
        let Some(vm) = live.vms.iter().find(|vm| vm.id == self.vm_id) else { return };
        let runs = vm.status == VmStatus::Running;
        if self.figures != vm.figures || self.runs != runs {
            let texts = Texts::of(&vm.figures, runs);
            let before = self.texts.as_ref().map(|texts| &texts.0);
            for (i, (text, is_high)) in texts.0.iter().enumerate() {
                if before.is_none_or(|before| before[i].0 != *text) {
                    self.told.set_text(i, text);
                    if i == DISK {
                        self.told.set_bar(0, &bar_width(vm.figures.disk_percent));
                    }
                }
                if before.is_none_or(|before| before[i].1 != *is_high) {
                    self.told.set_high(i, *is_high);
                }
            }
            self.texts = Some(texts);
            self.figures = vm.figures;
            self.runs = runs;
        }
        if self.in_sight && is_due {
            for (i, shapes) in lines(live, vm.id).iter().enumerate() {
                self.told.set_line(i, shapes);
            }
        }
    }
}

/// What a row shows beside the name.
#[derive(Clone, Copy, PartialEq)]
enum Shows {
    Progress,
    Figures,
}

#[component]
pub fn Row(
    feed: Feed,
    id: i64,
    power: Power,
    with_owner: bool,
    chosen: RwSignal<Vec<i64>>,
    painter: Painter,
) -> impl IntoView {
    let vm = feed.facts(id);
    let row = NodeRef::<html::Tr>::new();
    let text = move |read: fn(&VmView) -> String| {
        Memo::new(move |_| vm.with(|vm| vm.as_ref().map(read).unwrap_or_default()))
    };
    let name = text(|vm| vm.name.clone());
    let spec = text(|vm| describe(&vm.os_type, &vm.spec));
    let problem = Memo::new(move |_| vm.with(|vm| vm.as_ref().and_then(|vm| vm.problem.clone())));
    let status = Memo::new(move |_| vm.with(|vm| vm.as_ref().map_or(VmStatus::Unknown, |vm| vm.status)));
    let shows = Memo::new(move |_| {
        let busy = vm.with(|vm| vm.as_ref().is_some_and(|vm| open_operation(vm).is_some()));
        if busy { Shows::Progress } else { Shows::Figures }
    });
    let columns = if with_owner { "6" } else { "5" };
    let cells = move || match shows.get() {
        Shows::Progress => {
            view! { <td class="across" colspan=columns><Progress vm now=feed.now/></td> }.into_any()
        }
        Shows::Figures => view! { <FigureCells feed id vm with_owner row painter/> }.into_any(),
    };
    view! {
        <tr node_ref=row data-vm=name data-status=move || status.get().as_str() class:troubled=move || problem.with(Option::is_some)>
            <td class="who"><div>
                <input
                    type="checkbox" form=BULK_ID name="vm_ids[]" value=id aria-label=move || format!("Choose {}", name.get())
                    prop:checked=move || chosen.with(|chosen| chosen.contains(&id))
                    on:change=move |event| {
                        let is_chosen = event_target_checked(&event);
                        chosen.update(|chosen| {
                            chosen.retain(|other| *other != id);
                            if is_chosen {
                                chosen.push(id);
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
            <td class="actions"><div><PowerButtons vm power/></div></td>
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

#[component]
fn FigureCells(
    feed: Feed,
    id: i64,
    vm: Memo<Option<VmView>>,
    with_owner: bool,
    row: NodeRef<html::Tr>,
    painter: Painter,
) -> impl IntoView {
    Effect::new(move || {
        if let Some(row) = row.get() {
            painter.paint(id, &row);
        }
    });
    let (Texts(texts), disk_percent, [cpu_line, memory_line]) = feed.live.with_untracked(|live| {
        let vm = live.vms.iter().find(|vm| vm.id == id);
        let texts = vm.map(|vm| Texts::of(&vm.figures, vm.status == VmStatus::Running));
        (texts.unwrap_or_default(), vm.and_then(|vm| vm.figures.disk_percent), lines(live, id))
    });
    let [cpu, memory, disk, received, sent, up] = texts;
    let address = move || vm.with(|vm| vm.as_ref().and_then(|vm| vm.ip_address.clone()));
    let owner = move || vm.with(|vm| vm.as_ref().map(|vm| vm.owner_name.clone()));
    view! {
        <td data-label="CPU">
            <div class="figure">
                <b><span class="now" class:high=cpu.1 data-testid="cpu">{cpu.0}</span></b>
                <div><Sparkline shapes=cpu_line size=LINE_SIZE hue=Hue::Cpu/></div>
            </div>
        </td>
        <td data-label="Memory">
            <div class="figure">
                <b><span class="now" class:high=memory.1 data-testid="memory">{memory.0}</span></b>
                <div><Sparkline shapes=memory_line size=LINE_SIZE hue=Hue::Memory/></div>
            </div>
        </td>
        <td data-label="Disk">
            <div class="figure">
                <b><span class="now" class:high=disk.1 data-testid="disk">{disk.0}</span></b>
                <div><Bar percent=disk_percent hue=Hue::Disk/></div>
            </div>
        </td>
        <td data-label="Network" class="rates">
            <div><span class="now">{received.0}</span> " " <span class="now muted">{sent.0}</span></div>
        </td>
        <td data-label="Up, address">
            <span class="now">{up.0}</span>
            <span class="address">{address}</span>
        </td>
        {with_owner.then(|| view! { <td data-label="Owner">{owner}</td> })}
    }
}
