//! Host usage by VM: each VM's share of the host's CPU and memory in the last 15 minutes, stacked.

use crate::{
    components::{
        chart::Hue,
        chart_table::TableDetails,
        feed::Feed,
        format,
        sparkline_geometry::{self, push_pair},
    },
    model::{Live, Series, VmView},
};
use leptos::prelude::*;

/// This many VMs are named; the others are one layer.
const NAMED: usize = 5;
/// Points of a chart, each the mean of its stretch of time.
const COLUMNS: usize = 60;
const COLUMN_SECS: i64 = 15 * 60 / COLUMNS as i64;
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 100.0;

/// A resource: how a VM's percentage of its own share becomes one of the host, and where its values are.
#[derive(Clone, Copy)]
struct Resource {
    factor: fn(&Live, &VmView) -> Option<f64>,
    column: fn(&Series) -> &Vec<Option<f64>>,
    now: fn(&VmView) -> Option<f64>,
}

const CPU: Resource = Resource {
    factor: |live, vm| Some(f64::from(vm.spec.cpu_cores) / f64::from(live.host.cpu_cores).max(1.0)),
    column: |series| &series.cpu_percent,
    now: |vm| vm.usage.cpu_percent,
};

/// Based on the memory that the guest sees, the sum of its used and available parts.
const MEMORY: Resource = Resource {
    factor: |live, vm| {
        let seen_mb =
            vm.usage.memory_used_mb.zip(vm.usage.memory_available_mb).map(|(used, free)| used + free);
        Some(seen_mb.unwrap_or(vm.spec.ram_mb.into()) / (live.host.memory_total_gb? * 1024.0))
    },
    column: |series| &series.memory_percent,
    now: |vm| vm.usage.memory_percent,
};

/// The usage of one VM, or of all others together; percent of the host.
#[derive(Debug, Clone, PartialEq)]
struct Layer {
    /// None for all others.
    vm_id: Option<i64>,
    name: String,
    columns: [f64; COLUMNS],
}

/// Stacked layers, the largest at the bottom.
#[derive(Debug, Clone, PartialEq)]
struct Stack {
    layers: Vec<Layer>,
    /// Whether a column has any value.
    known: [bool; COLUMNS],
    /// Where the axis ends, percent of the host; above 100 where VMs are simulated.
    top: f64,
}

fn layer(
    live: &Live,
    vm: &VmView,
    series: Option<&Series>,
    resource: Resource,
    known: &mut [bool; COLUMNS],
) -> Option<Layer> {
    let factor = (resource.factor)(live, vm)?;
    let mut columns = [0.0; COLUMNS];
    let mut counts = [0_u32; COLUMNS];
    if let Some(series) = series {
        let width_millis = COLUMN_SECS * 1000;
        // Columns are aligned to the clock: a finished one only moves.
        let oldest = live.cursor.0 / width_millis - COLUMNS as i64 + 1;
        for (at, value) in series.sampled_at.iter().zip((resource.column)(series)) {
            let column =
                usize::try_from(at.0 / width_millis - oldest).ok().filter(|column| *column < COLUMNS);
            if let (Some(column), Some(value)) = (column, value) {
                columns[column] += value;
                counts[column] += 1;
            }
        }
    }
    for i in 0..COLUMNS {
        if counts[i] > 0 {
            columns[i] *= factor / f64::from(counts[i]);
            known[i] = true;
        }
    }
    let used = (resource.now)(vm).is_some_and(|now| now > 0.0) || columns.iter().any(|column| *column > 0.0);
    used.then(|| Layer { vm_id: Some(vm.id), name: vm.name.clone(), columns })
}

/// The VMs with the highest usage first, the rest as one layer.
fn stack(live: &Live, resource: Resource) -> Stack {
    let series = |id| live.series.iter().find(|series| series.vm_id == id);
    let mut known = [false; COLUMNS];
    let mut layers: Vec<_> = live
        .vms
        .iter()
        .filter_map(|vm| layer(live, vm, series(vm.id), resource, &mut known))
        .map(|layer| (layer.columns.iter().sum::<f64>(), layer))
        .collect();
    layers.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut layers: Vec<_> = layers.into_iter().map(|(_, layer)| layer).collect();
    if layers.len() > NAMED + 1 {
        let rest = layers.split_off(NAMED);
        let mut others =
            Layer { vm_id: None, name: format!("{} others", rest.len()), columns: [0.0; COLUMNS] };
        for layer in &rest {
            for (sum, value) in others.columns.iter_mut().zip(layer.columns) {
                *sum += value;
            }
        }
        layers.push(others);
    }
    let sums = (0..COLUMNS).map(|i| layers.iter().map(|layer| layer.columns[i]).sum());
    let top = sparkline_geometry::count_axis(sums).top.max(1.0);
    Stack { layers, known, top }
}

impl Stack {
    /// SVG path data of each layer, a closed shape for each stretch of known columns.
    fn paths(&self) -> Vec<String> {
        let mut below = [0.0; COLUMNS];
        let mut paths = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let above: [f64; COLUMNS] = std::array::from_fn(|i| below[i] + layer.columns[i]);
            let mut path = String::new();
            let mut begin = 0;
            for stretch in self.known.chunk_by(|a, b| a == b) {
                let end = begin + stretch.len();
                if stretch[0] {
                    self.push_shape(&mut path, begin..end, &below, &above);
                }
                begin = end;
            }
            paths.push(path);
            below = above;
        }
        paths
    }

    /// Over the known columns.
    fn mean_and_highest(&self, layer: &Layer) -> (Option<f64>, Option<f64>) {
        let known =
            || layer.columns.iter().zip(self.known).filter_map(|(value, known)| known.then_some(*value));
        let count = known().count();
        let mean = (count > 0).then(|| known().sum::<f64>() / count as f64);
        (mean, known().reduce(f64::max))
    }

    fn push_shape(&self, path: &mut String, columns: std::ops::Range<usize>, below: &[f64], above: &[f64]) {
        let x = |edge: usize| edge as f64 / COLUMNS as f64 * WIDTH;
        let y = |value: f64| (1.0 - (value / self.top).min(1.0)) * HEIGHT;
        let mut to = |begin: char, edge: usize, value: f64| {
            path.push(begin);
            push_pair(path, x(edge), y(value));
        };
        to('M', columns.start, below[columns.start]);
        to('L', columns.start, above[columns.start]);
        for i in columns.clone() {
            to('L', i + 1, above[i]);
        }
        for i in columns.clone().rev() {
            to('L', i + 1, below[i]);
        }
        path.push('Z');
    }
}

#[component]
pub fn HostUsageByVm(feed: Feed, redraw: Memo<i64>) -> impl IntoView {
    view! {
        <section class="panel host-usage" aria-label="Host usage by VM" data-testid="host-usage">
            <StackChart feed redraw title="CPU by VM" hue=Hue::Cpu resource=CPU/>
            <StackChart feed redraw title="Memory by VM" hue=Hue::Memory resource=MEMORY/>
        </section>
    }
}

#[component]
fn StackChart(
    feed: Feed,
    redraw: Memo<i64>,
    title: &'static str,
    hue: Hue,
    resource: Resource,
) -> impl IntoView {
    let stack = Memo::new(move |_| {
        redraw.get();
        feed.follow_facts();
        feed.live.with_untracked(|live| stack(live, resource))
    });
    let layers = move || {
        let layer =
            |(i, path): (usize, String)| view! { <path class=format!("area step-{i}") d=path></path> };
        stack.with(Stack::paths).into_iter().enumerate().map(layer).collect_view()
    };
    let legend = Memo::new(move |_| {
        stack.with(|stack| {
            stack.layers.iter().map(|layer| (layer.vm_id, layer.name.clone())).collect::<Vec<_>>()
        })
    });
    let entries = move || {
        let entry = |(i, (vm_id, name)): (usize, (Option<i64>, String))| {
            let name = match vm_id {
                Some(id) => view! { <a href=format!("/vms/{id}")>{name}</a> }.into_any(),
                None => name.into_any(),
            };
            let now = move || {
                let named = legend.with(|legend| legend.iter().filter_map(|(id, _)| *id).collect::<Vec<_>>());
                format::percent(feed.live.with(|live| now(live, resource, vm_id, &named)))
            };
            view! { <li><i class=format!("swatch step-{i}") aria-hidden="true"></i>{name} " " <b><span class="now">{now}</span></b></li> }
        };
        legend.get().into_iter().enumerate().map(entry).collect_view()
    };
    let top = move || format::percent(Some(stack.with(|stack| stack.top)));
    view! {
        <div class=hue.class()>
            <h2 class="label">{title}<span class="muted">" of the host, last 15 min"</span><span class="push"></span><span class="muted">{top}</span></h2>
            <svg class="stacked" viewBox="0 0 600 100" preserveAspectRatio="none" aria-hidden="true">
                <path class="gridlines" d="M0 0H600M0 50H600M0 100H600"></path>
                {layers}
            </svg>
            <ul class="legend">{entries}</ul>
            <StackTable title stack/>
        </div>
    }
}

/// The chart as a table.
#[component]
fn StackTable(title: &'static str, stack: Memo<Stack>) -> impl IntoView {
    let is_closed = RwSignal::new(false);
    let rows = move || {
        let row = |stack: &Stack, layer: &Layer| {
            let (mean, highest) = stack.mean_and_highest(layer);
            let [mean, highest] = [mean, highest].map(format::percent);
            view! { <tr><th scope="row">{layer.name.clone()}</th><td>{mean}</td><td>{highest}</td></tr> }
        };
        let rows = |stack: &Stack| stack.layers.iter().map(|layer| row(stack, layer)).collect_view();
        (!is_closed.get()).then(|| stack.with(rows))
    };
    view! {
        <TableDetails label=title is_closed>
            <thead><tr><th scope="col">"VM"</th><th scope="col">"Mean, 15 min"</th><th scope="col">"Max"</th></tr></thead>
            <tbody>{rows}</tbody>
        </TableDetails>
    }
}

/// The current usage of a VM, or of all but `named` together; percent of the host.
fn now(live: &Live, resource: Resource, vm_id: Option<i64>, named: &[i64]) -> Option<f64> {
    let is_included = |vm: &&VmView| vm_id.map_or_else(|| !named.contains(&vm.id), |id| vm.id == id);
    let share = |vm: &VmView| Some((resource.now)(vm)? * (resource.factor)(live, vm)?);
    live.vms.iter().filter(is_included).filter_map(share).reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        components::feed::tests::{live, vm},
        model::UtcMillis,
    };

    /// Eight VMs on four cores; the first has no samples, each later one uses ten percent more.
    fn fleet() -> Live {
        let mut live = live(900, &[], vec![]);
        live.host.cpu_cores = 4;
        live.vms = (1..=8).map(vm).collect();
        for (i, vm) in live.vms.iter_mut().enumerate().skip(1) {
            let percent = Some(10.0 * i as f64);
            vm.usage.cpu_percent = percent;
            live.series.push(Series {
                vm_id: vm.id,
                sampled_at: vec![UtcMillis(890_000), UtcMillis(895_000)],
                cpu_percent: vec![percent, percent],
                ..Series::default()
            });
        }
        live
    }

    #[test]
    fn the_largest_come_first_and_the_rest_is_one_layer() {
        let stack = stack(&fleet(), CPU);
        let names: Vec<_> = stack.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["vm-8", "vm-7", "vm-6", "vm-5", "vm-4", "2 others"]);
        let named: Vec<_> = stack.layers.iter().filter_map(|layer| layer.vm_id).collect();
        assert_eq!(now(&fleet(), CPU, Some(8), &named), Some(17.5));
        assert_eq!(now(&fleet(), CPU, None, &named), Some(7.5));
        assert_eq!(stack.layers[0].columns[COLUMNS - 2], 17.5);
        assert_eq!(stack.top, 100.0);
    }

    #[test]
    fn time_without_samples_is_left_empty() {
        let stack = stack(&fleet(), CPU);
        assert_eq!(stack.known.iter().filter(|known| **known).count(), 1);
        assert_eq!(stack.mean_and_highest(&stack.layers[0]), (Some(17.5), Some(17.5)));
        // The column from 885 s to 900 s, from 0 to 17.5 %.
        assert_eq!(stack.paths()[0], "M580 100L580 82.5L590 82.5L590 100Z");
    }
}
