//! The collector's health. Only admins receive it.

use super::{
    feed::Feed,
    format,
    local_time::{LocalTime, TimeFormat},
};
use crate::model::{CollectorHealth, CollectorState, TickMillis, VmsBySource};
use leptos::prelude::*;

#[component]
pub fn Collector(feed: Feed) -> impl IntoView {
    let health = Memo::new(move |_| feed.live.with(|live| live.collector.clone()));
    let has_health = Memo::new(move |_| health.with(Option::is_some));
    let fact = move |read: fn(&CollectorHealth) -> String| {
        Memo::new(move |_| health.with(|health| health.as_ref().map(read).unwrap_or_default()))
    };
    let state = Memo::new(move |_| {
        health.with(|health| health.as_ref().map_or(CollectorState::Starting, |health| health.state))
    });
    let newest = Memo::new(move |_| health.with(|health| health.as_ref().and_then(|h| h.newest_tick_at)));
    let has_ticked = Memo::new(move |_| newest.with(Option::is_some));
    let newest_at = move || {
        let at = Signal::derive(move || newest.get().unwrap_or_default());
        view! { <LocalTime at form=TimeFormat::TimeOfDay/> }
    };
    let error = Memo::new(move |_| health.with(|health| health.as_ref().and_then(|h| h.last_error.clone())));
    let section = move || {
        view! {
            <section class="panel collector" aria-labelledby="collector" data-testid="collector">
                <header>
                    <h2 id="collector">"Collector"</h2>
                    <i class=move || format!("mark {}", mark(state.get())) aria-hidden="true"></i>
                    <span data-testid="collector-state">{move || state.get().label()}</span>
                </header>
                <dl class="facts">
                    <div>
                        <dt>"Last sample"</dt>
                        <dd>{move || if has_ticked.get() { newest_at().into_any() } else { format::UNKNOWN.into_any() }}</dd>
                    </div>
                    <div><dt>"Duration"</dt><dd data-testid="collector-took">{fact(|h| millis(h.tick_ms.last))}</dd></div>
                    <div><dt>{fact(|h| over(h.tick_ms))}</dt><dd>{fact(|h| mean_and_max(h.tick_ms))}</dd></div>
                    <div><dt>"Ticks"</dt><dd data-testid="collector-ticks">{fact(|h| h.ticks.to_string())}</dd></div>
                    <div><dt>"Skipped, failed"</dt><dd>{fact(|h| format!("{}, {}", h.ticks_skipped, h.ticks_failed))}</dd></div>
                    <div><dt>"No response"</dt><dd>{fact(|h| h.samples_failed.to_string())}</dd></div>
                    <div><dt>"Sources"</dt><dd data-testid="collector-sources">{fact(|h| sources(h.vms))}</dd></div>
                    {move || error.get().map(|error| view! {
                        <div class="last-error">
                            <dt>"Last error, " <LocalTime at=error.at form=TimeFormat::DayAndTime/></dt>
                            <dd>{error.text}</dd>
                        </div>
                    })}
                </dl>
            </section>
        }
    };
    move || has_health.get().then(section)
}

/// The VM status with the matching mark.
fn mark(state: CollectorState) -> &'static str {
    match state {
        CollectorState::Starting => "pending",
        CollectorState::Working => "running",
        CollectorState::HypervisorSilent => "warning",
        CollectorState::NotStoring | CollectorState::Stopped => "failed",
    }
}

/// `7.2 ms`, `1.4 s`.
pub fn millis(millis: Option<f64>) -> String {
    match millis {
        None => format::UNKNOWN.into(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 1000.0 => format!("{} ms", ms.round()),
        Some(ms) => format!("{:.1} s", ms / 1000.0),
    }
}

fn over(ticks: TickMillis) -> String {
    format!("Mean, max of {}", ticks.over)
}

fn mean_and_max(ticks: TickMillis) -> String {
    format!("{}, {}", millis(ticks.mean), millis(ticks.max))
}

/// `3 hypervisor, 2 guest, 1 none`.
fn sources(vms: VmsBySource) -> String {
    let counts = [
        (vms.hypervisor, "hypervisor"),
        (vms.guest, "guest"),
        (vms.simulated, "simulated"),
        (vms.none, "none"),
    ];
    let texts: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, source)| format!("{count} {source}"))
        .collect();
    if texts.is_empty() { "no VMs".into() } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_two_digits_that_matter() {
        let texts = [None, Some(0.04), Some(7.24), Some(34.4), Some(999.4), Some(4512.0)].map(millis);
        assert_eq!(texts, ["–", "0.0 ms", "7.2 ms", "34 ms", "999 ms", "4.5 s"]);
    }

    #[test]
    fn only_sources_with_vms_are_named() {
        assert_eq!(
            sources(VmsBySource { hypervisor: 3, guest: 2, simulated: 0, none: 1 }),
            "3 hypervisor, 2 guest, 1 none"
        );
        assert_eq!(sources(VmsBySource::default()), "no VMs");
    }
}
