//! Charts as a table, for who cannot see them or wants the figures.

use super::{
    chart::{ChartData, Mark},
    clock::{Moment, TimeForm},
    format,
};
use crate::model::UtcMillis;
use leptos::{html, prelude::*};

/// A line of a chart. The times of a table are those of its first column's line.
#[derive(Clone, Copy)]
pub struct Column {
    pub label: &'static str,
    pub chart: Signal<ChartData>,
    /// Which line of the chart.
    pub trace: usize,
    /// Formats a value.
    pub told: fn(Option<f64>) -> String,
}

/// The columns that a VM and the host have.
pub fn usual_columns([cpu, memory, disk, network]: [Signal<ChartData>; 4]) -> Vec<Column> {
    vec![
        Column { label: "CPU", chart: cpu, trace: 0, told: format::percent },
        Column { label: "Memory", chart: memory, trace: 0, told: format::percent },
        Column { label: "Disk", chart: disk, trace: 0, told: format::percent },
        Column { label: "Received", chart: network, trace: 0, told: format::rate },
        Column { label: "Sent", chart: network, trace: 1, told: format::rate },
    ]
}

/// At most.
const TABLE_ROWS: usize = 60;

/// A table as an alternative to a chart. While it is closed, its rows are not computed.
/// Without JavaScript it can be opened, so it counts as open at first.
#[component]
pub fn Fold(#[prop(into)] label: String, closed: RwSignal<bool>, children: Children) -> impl IntoView {
    let details = NodeRef::<html::Details>::new();
    let look = move || closed.set(details.get().is_some_and(|details| !details.open()));
    Effect::new(look);
    view! {
        <details class="readings" node_ref=details data-testid="readings" on:toggle=move |_| untrack(look)>
            <summary>"Show as table"</summary>
            <div class="scroll" tabindex="0" role="region" aria-label=label><table>{children()}</table></div>
        </details>
    }
}

/// The events between a row's time and that of the row above. The last row also has all earlier ones.
fn events_of(marks: &[Mark], from: Option<UtcMillis>, until: Option<UtcMillis>) -> String {
    let is_of_row =
        |mark: &&Mark| from.is_none_or(|from| mark.at >= from) && until.is_none_or(|until| mark.at < until);
    marks.iter().filter(is_of_row).map(|mark| mark.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// The values of the columns, newest first, with the events in between.
#[component]
pub fn Readings(columns: Vec<Column>) -> impl IntoView {
    let closed = RwSignal::new(false);
    let heads = columns.iter().map(|column| view! { <th scope="col">{column.label}</th> }).collect_view();
    let of_marks = columns.first().map(|column| column.chart);
    let any = Memo::new(move |_| of_marks.is_some_and(|chart| chart.with(|data| !data.marks.is_empty())));
    let rows = Memo::new(move |_| {
        if closed.get() {
            return Vec::new();
        }
        let points = columns.iter().map(|column| {
            column.chart.with(|data| data.traces.get(column.trace).map(|trace| trace.points.clone()))
        });
        let points = points.map(Option::unwrap_or_default).collect::<Vec<_>>();
        let times = points.first().into_iter().flatten().map(|point| point.0).collect::<Vec<_>>();
        let step = times.len().div_ceil(TABLE_ROWS).max(1);
        let times = times.into_iter().rev().step_by(step).collect::<Vec<_>>();
        let marks = of_marks.map(|chart| chart.with(|data| data.marks.clone())).unwrap_or_default();
        let row = |(i, at): (usize, &UtcMillis)| {
            let figures = columns.iter().zip(&points).map(|(column, points)| {
                let known = points.binary_search_by_key(at, |point| point.0).ok().and_then(|i| points[i].1);
                (column.told)(known)
            });
            let from = (i + 1 < times.len()).then_some(*at);
            let until = i.checked_sub(1).map(|above| times[above]);
            (*at, figures.collect::<Vec<_>>(), any.get().then(|| events_of(&marks, from, until)))
        };
        times.iter().enumerate().map(row).collect()
    });
    view! {
        <Fold label="Values" closed>
            <thead>
                <tr><th scope="col">"Time"</th>{heads}{move || any.get().then(|| view! { <th scope="col">"Events"</th> })}</tr>
            </thead>
            <tbody>
                <For each=move || rows.get() key=|row| row.clone() let:row>
                    <tr>
                        <th scope="row"><Moment at=row.0 form=TimeForm::DayAndSecond/></th>
                        {row.1.into_iter().map(|text| view! { <td>{text}</td> }).collect_view()}
                        {row.2.map(|events| view! { <td class="events">{events}</td> })}
                    </tr>
                </For>
            </tbody>
        </Fold>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;

    #[test]
    fn an_event_stands_in_the_row_of_the_reading_before_it() {
        let mark = |at, text: &str| Mark { at: UtcMillis(at), text: text.into(), severity: Severity::Info };
        let marks = [mark(4, "Before."), mark(5, "Started."), mark(9, "Stopped."), mark(10, "After.")];
        let told = |from: Option<i64>, until: Option<i64>| {
            events_of(&marks, from.map(UtcMillis), until.map(UtcMillis))
        };
        assert_eq!(told(Some(5), Some(10)), "Started. Stopped.");
        assert_eq!(told(Some(10), None), "After.");
        assert_eq!(told(None, Some(5)), "Before.");
    }
}
