//! The health of the sample store, for admins.

use super::{
    collector::millis,
    format,
    local_time::{LocalTime, TimeFormat},
    poll::poll,
};
use crate::{
    api::get_store_health,
    model::{Sealing, StoreHealth, UtcMillis},
};
use leptos::{prelude::*, task::spawn_local};

#[component]
pub fn Store(health: StoreHealth) -> impl IntoView {
    let health = RwSignal::new(health);
    poll(move || {
        spawn_local(async move {
            if let Ok(newer) = get_store_health().await {
                health.try_set(newer);
            }
        });
    });
    let fact = move |read: fn(&StoreHealth) -> String| {
        let text = Memo::new(move |_| health.with(read));
        move || text.get()
    };
    let moment = move |read: fn(&StoreHealth) -> Option<UtcMillis>| {
        let at = Memo::new(move |_| health.with(read));
        move || match at.get() {
            Some(at) => view! { <LocalTime at=Signal::stored(at) form=TimeFormat::DayAndTime/> }.into_any(),
            None => format::UNKNOWN.into_any(),
        }
    };
    view! {
        <section class="panel collector" aria-labelledby="store" data-testid="store">
            <header><h2 id="store">"Store"</h2></header>
            <dl class="facts">
                <div><dt>"Database file"</dt><dd data-testid="store-file">{fact(|h| format::bytes(h.file_bytes))}</dd></div>
                <div><dt>"Write-ahead log"</dt><dd>{fact(|h| format::bytes(h.wal_bytes))}</dd></div>
                <div><dt>"Free disk space"</dt><dd>{fact(|h| h.disk_free_bytes.map_or(format::UNKNOWN.into(), format::bytes))}</dd></div>
                <div><dt>"Not yet compressed"</dt><dd data-testid="store-waiting">{fact(|h| counted(h.waiting_ticks, "row"))}</dd></div>
                <div><dt>"Compressed"</dt><dd data-testid="store-sealed">{fact(sealed)}</dd></div>
                <div><dt>"Bytes per value"</dt><dd>{fact(|h| h.bytes_per_value.map_or(format::UNKNOWN.into(), |bytes| format!("{bytes:.2} B")))}</dd></div>
                <div><dt>"Oldest sample"</dt><dd>{moment(|h| h.oldest_tick_at)}</dd></div>
                <div><dt>"Newest sample"</dt><dd>{moment(|h| h.newest_tick_at)}</dd></div>
                <div><dt>"Retention"</dt><dd>{fact(|h| counted(h.retention_days.into(), "day"))}</dd></div>
                <div>
                    <dt>"Last compression " {fact(|h| if h.last_sealing.is_some() { String::new() } else { "since startup".into() })}</dt>
                    <dd>{moment(|h| h.last_sealing.map(|sealing| sealing.at))} {fact(|h| h.last_sealing.map(took).unwrap_or_default())}</dd>
                </div>
            </dl>
        </section>
    }
}

/// `168 hours, 9072 chunks, 98 MB`.
fn sealed(health: &StoreHealth) -> String {
    let (hours, chunks) = (counted(health.sealed_hours, "hour"), counted(health.chunks, "chunk"));
    format!("{hours}, {chunks}, {}", format::bytes(health.chunk_bytes))
}

/// `: 1 hour in 63 ms`.
fn took(sealing: Sealing) -> String {
    format!(": {} in {}", counted(sealing.hours as u64, "hour"), millis(Some(sealing.took_ms)))
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_none_are_many() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "row")), ["0 rows", "1 row", "2 rows"]);
        let sealing = Sealing { at: UtcMillis(0), took_ms: 63.4, hours: 1 };
        assert_eq!(took(sealing), ": 1 hour in 63 ms");
    }
}
