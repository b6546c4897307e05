//! Charts as a table, for who cannot see them or wants the figures.

use super::{
    browser,
    chart::{ChartData, Mark},
    clock::{Moment, TimeForm},
    format,
};
use crate::model::UtcMillis;
use leptos::prelude::*;

/// A line of a chart. The times of a table are those of its first column's line.
#[derive(Clone, Copy)]
pub struct Column {
    pub label: &'static str,
    pub chart: Signal<ChartData>,
    /// Which line of the chart.
    pub trace: usize,
    /// Puts a value into words.
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

/// What happened from the time of a row on until that of the one above it.
fn events_of(marks: &[Mark], at: UtcMillis, until: Option<UtcMillis>) -> String {
    let of_row = marks.iter().filter(|mark| mark.at >= at && until.is_none_or(|until| mark.at < until));
    of_row.map(|mark| mark.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// The figures of the columns, newest first, and what happened in between.
#[component]
pub fn Readings(columns: Vec<Column>) -> impl IntoView {
    // Nobody looks at a closed table. Without JavaScript it can be opened, so at first it is filled in.
    let closed = RwSignal::new(false);
    Effect::new(move || closed.set(true));
    let heads = columns.iter().map(|column| view! { <th scope="col">{column.label}</th> }).collect_view();
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
        let marks =
            columns.first().map(|column| column.chart.with(|data| data.marks.clone())).unwrap_or_default();
        let mut until = None;
        let row = |at| {
            let figures = columns.iter().zip(&points).map(|(column, points)| {
                let known = points.binary_search_by_key(&at, |point| point.0).ok().and_then(|i| points[i].1);
                (column.told)(known)
            });
            (at, figures.collect::<Vec<_>>(), events_of(&marks, at, until.replace(at)))
        };
        times.into_iter().rev().step_by(step).map(row).collect()
    });
    view! {
        <details class="readings" data-testid="readings" on:toggle=move |event| closed.set(!browser::is_open(&event))>
            <summary>"Show as table"</summary>
            <div class="scroll" tabindex="0" role="region" aria-label="Readings">
                <table>
                    <thead><tr><th scope="col">"Time"</th>{heads}<th scope="col">"Events"</th></tr></thead>
                    <tbody>
                        <For each=move || rows.get() key=|row| row.clone() let:row>
                            <tr>
                                <th scope="row"><Moment at=row.0 form=TimeForm::DayAndSecond/></th>
                                {row.1.into_iter().map(|text| view! { <td>{text}</td> }).collect_view()}
                                <td class="events">{row.2}</td>
                            </tr>
                        </For>
                    </tbody>
                </table>
            </div>
        </details>
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
        assert_eq!(events_of(&marks, UtcMillis(5), Some(UtcMillis(10))), "Started. Stopped.");
        assert_eq!(events_of(&marks, UtcMillis(10), None), "After.");
    }
}
