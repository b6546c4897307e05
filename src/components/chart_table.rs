//! Charts as a table, for users who cannot see them or want exact values.

use super::{
    chart::{ChartData, Mark},
    format,
    local_time::{LocalTime, TimeFormat},
};
use crate::model::UtcMillis;
use leptos::{html, prelude::*};

/// A line of a chart. The rows have the times of the first column's line.
#[derive(Clone, Copy)]
pub struct Column {
    pub label: &'static str,
    pub chart: Signal<ChartData>,
    /// Which line of the chart.
    pub trace: usize,
    /// Formats a value.
    pub format: fn(Option<f64>) -> String,
}

/// The columns for a VM or the host.
pub fn default_columns([cpu, memory, disk, network]: [Signal<ChartData>; 4]) -> Vec<Column> {
    vec![
        Column { label: "CPU", chart: cpu, trace: 0, format: format::percent },
        Column { label: "Memory", chart: memory, trace: 0, format: format::percent },
        Column { label: "Disk", chart: disk, trace: 0, format: format::percent },
        Column { label: "Received", chart: network, trace: 0, format: format::rate },
        Column { label: "Sent", chart: network, trace: 1, format: format::rate },
    ]
}

const MAX_ROWS: usize = 60;

/// A table as an alternative to a chart. While it is closed, its rows are not computed.
/// Without JavaScript it can be opened, so it counts as open at first.
#[component]
pub fn TableDetails(
    #[prop(into)] label: String,
    is_closed: RwSignal<bool>,
    children: Children,
) -> impl IntoView {
    let details = NodeRef::<html::Details>::new();
    let update = move || is_closed.set(details.get().is_some_and(|details| !details.open()));
    Effect::new(update);
    view! {
        <details class="disclosure" node_ref=details data-testid="chart-table" on:toggle=move |_| untrack(update)>
            <summary>"Show as table"</summary>
            <div class="scroll" tabindex="0" role="region" aria-label=label><table>{children()}</table></div>
        </details>
    }
}

/// The events between a row's time and that of the row above. The last row also has all earlier ones.
fn row_events(marks: &[Mark], from: Option<UtcMillis>, until: Option<UtcMillis>) -> String {
    let is_in_row =
        |mark: &&Mark| from.is_none_or(|from| mark.at >= from) && until.is_none_or(|until| mark.at < until);
    marks.iter().filter(is_in_row).map(|mark| mark.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// The values of the columns, newest first, with the events in between.
#[component]
pub fn ChartTable(columns: Vec<Column>) -> impl IntoView {
    let is_closed = RwSignal::new(false);
    let heads = columns.iter().map(|column| view! { <th scope="col">{column.label}</th> }).collect_view();
    let marked_chart = columns.first().map(|column| column.chart);
    let has_events =
        Memo::new(move |_| marked_chart.is_some_and(|chart| chart.with(|data| !data.marks.is_empty())));
    let rows = Memo::new(move |_| {
        if is_closed.get() {
            return Vec::new();
        }
        let points = columns.iter().map(|column| {
            column.chart.with(|data| data.traces.get(column.trace).map(|trace| trace.points.clone()))
        });
        let points = points.map(Option::unwrap_or_default).collect::<Vec<_>>();
        let times = points.first().into_iter().flatten().map(|point| point.0).collect::<Vec<_>>();
        let step = times.len().div_ceil(MAX_ROWS).max(1);
        let times = times.into_iter().rev().step_by(step).collect::<Vec<_>>();
        let marks = marked_chart.map(|chart| chart.with(|data| data.marks.clone())).unwrap_or_default();
        let row = |(i, at): (usize, &UtcMillis)| {
            let values = columns.iter().zip(&points).map(|(column, points)| {
                let known = points.binary_search_by_key(at, |point| point.0).ok().and_then(|i| points[i].1);
                (column.format)(known)
            });
            let from = (i + 1 < times.len()).then_some(*at);
            let until = i.checked_sub(1).map(|above| times[above]);
            (*at, values.collect::<Vec<_>>(), has_events.get().then(|| row_events(&marks, from, until)))
        };
        times.iter().enumerate().map(row).collect()
    });
    view! {
        <TableDetails label="Values" is_closed>
            <thead>
                <tr><th scope="col">"Time"</th>{heads}{move || has_events.get().then(|| view! { <th scope="col">"Events"</th> })}</tr>
            </thead>
            <tbody>
                <For each=move || rows.get() key=|row| row.clone() let:row>
                    <tr>
                        <th scope="row"><LocalTime at=row.0 form=TimeFormat::DayAndSecond/></th>
                        {row.1.into_iter().map(|text| view! { <td>{text}</td> }).collect_view()}
                        {row.2.map(|events| view! { <td class="events">{events}</td> })}
                    </tr>
                </For>
            </tbody>
        </TableDetails>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;

    #[test]
    fn an_event_is_in_the_row_of_the_sample_before_it() {
        let mark = |at, text: &str| Mark { at: UtcMillis(at), text: text.into(), severity: Severity::Info };
        let marks = [mark(4, "Before."), mark(5, "Started."), mark(9, "Stopped."), mark(10, "After.")];
        let events_between = |from: Option<i64>, until: Option<i64>| {
            row_events(&marks, from.map(UtcMillis), until.map(UtcMillis))
        };
        assert_eq!(events_between(Some(5), Some(10)), "Started. Stopped.");
        assert_eq!(events_between(Some(10), None), "After.");
        assert_eq!(events_between(None, Some(5)), "Before.");
    }
}
