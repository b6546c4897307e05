//! The time range of a page's charts. It is part of the page's address: it can be linked to, works with the
//! back button, and can be chosen without JavaScript.

use super::{
    datetime_field::{DateTimeField, parse_datetime_field},
    form::QueryForm,
    icon::{Glyph, Icon},
    local_time::{LocalTime, TimeFormat},
};
use crate::model::UtcMillis;
use leptos::prelude::*;
use leptos_router::{
    NavigateOptions,
    hooks::{use_location, use_navigate, use_query_map},
    params::ParamsMap,
};

/// Shorter than this, a chart has next to nothing to show.
const SHORTEST_SECS: i64 = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// The last seconds up to the newest tick, which it follows.
    Last(u32),
    /// A fixed range.
    Between(UtcMillis, UtcMillis),
}

/// Name in the address, label, seconds.
const PRESETS: [(&str, &str, u32); 5] = [
    ("15m", "15 min", 15 * 60),
    ("1h", "1 h", 60 * 60),
    ("6h", "6 h", 6 * 60 * 60),
    ("24h", "24 h", 24 * 60 * 60),
    ("7d", "7 d", 7 * 24 * 60 * 60),
];

impl Default for Range {
    fn default() -> Self {
        Self::Last(PRESETS[0].2)
    }
}

impl Range {
    /// The range of the page's address.
    pub fn for_page() -> Memo<Self> {
        let query = use_query_map();
        Memo::new(move |_| query.with(Self::from_query))
    }

    /// The range in an address; an invalid one means the last 15 minutes.
    fn from_query(query: &ParamsMap) -> Self {
        if let (Some(from), Some(to)) =
            (parse_datetime_field(query, "from"), parse_datetime_field(query, "to"))
            && let (from, to) = (from.min(to), from.max(to))
            && to.0 - from.0 >= SHORTEST_SECS * 1000
        {
            return Self::Between(from, to);
        }
        let named = query.get("range");
        let preset = PRESETS.iter().find(|(key, ..)| named.as_deref() == Some(*key));
        preset.map_or_else(Self::default, |(.., secs)| Self::Last(*secs))
    }

    /// As the query of an address, with its question mark.
    pub fn query(self) -> String {
        match self {
            Self::Between(from, to) => format!("?from={}&to={}", from.to_rfc3339(), to.to_rfc3339()),
            Self::Last(secs) => {
                let preset = PRESETS.iter().find(|(.., of_preset)| *of_preset == secs).unwrap_or(&PRESETS[0]);
                format!("?range={}", preset.0)
            }
        }
    }

    /// Its ends, when the newest tick is at `now`.
    pub fn bounds(self, now: UtcMillis) -> (UtcMillis, UtcMillis) {
        match self {
            Self::Last(secs) => (now.plus_secs(-i64::from(secs)), now),
            Self::Between(from, to) => (from, to),
        }
    }

    /// The same middle, `factor` times as long; it does not reach beyond `now`.
    #[must_use]
    pub fn zoomed(self, factor: f64, now: UtcMillis) -> Self {
        let (from, to) = self.bounds(now);
        let length = (((to.0 - from.0) as f64 * factor) as i64).max(SHORTEST_SECS * 1000);
        let begin = from.midpoint(to).0 - length / 2;
        Self::until(begin, length, now)
    }

    /// Moved by a share of its own length; it does not reach beyond `now`.
    #[must_use]
    pub fn moved(self, share: f64, now: UtcMillis) -> Self {
        let (from, to) = self.bounds(now);
        let length = to.0 - from.0;
        Self::until(from.0 + (length as f64 * share) as i64, length, now)
    }

    fn until(begin: i64, length: i64, now: UtcMillis) -> Self {
        let begin = begin.min(now.0 - length);
        Self::Between(UtcMillis(begin), UtcMillis(begin + length))
    }

    /// `the last 15 minutes`, for a screen reader.
    pub fn words(self) -> &'static str {
        match self {
            Self::Last(900) => "the last 15 minutes",
            Self::Last(3_600) => "the last hour",
            Self::Last(21_600) => "the last 6 hours",
            Self::Last(86_400) => "the last 24 hours",
            Self::Last(_) => "the last 7 days",
            Self::Between(..) => "the selected time",
        }
    }
}

/// Shows another range on the same page.
#[derive(Clone, Copy)]
pub struct ShowRange(Callback<Range>);

impl ShowRange {
    pub fn on_this_page() -> Self {
        let navigate = use_navigate();
        let path = use_location().pathname;
        Self(Callback::new(move |range: Range| {
            let options = NavigateOptions { scroll: false, ..NavigateOptions::default() };
            navigate(&format!("{}{}", path.get_untracked(), range.query()), options);
        }))
    }

    pub fn show(self, range: Range) {
        self.0.run(range);
    }
}

/// Selects the range: a preset, a custom one, earlier, later, zoom in, zoom out.
#[component]
pub fn RangePicker(range: Memo<Range>, now: Signal<UtcMillis>, show: ShowRange) -> impl IntoView {
    let is_custom = move || matches!(range.get(), Range::Between(..));
    let presets = PRESETS.map(|(key, label, secs)| {
        let chosen = move || (range.get() == Range::Last(secs)).then_some("true");
        view! { <a href=format!("?range={key}") data-noscroll="" aria-current=chosen>{label}</a> }
    });
    let step = move |label: &'static str, icon: Icon, to: fn(Range, UtcMillis) -> Range| {
        let target = move || to(range.get(), now.get());
        view! {
            <a class="btn quiet" href=move || target().query() data-noscroll="" aria-label=label title=label
                on:click=move |event| {
                    event.prevent_default();
                    show.show(to(range.get_untracked(), now.get_untracked()));
                }
            >
                <Glyph icon/>
            </a>
        }
    };
    view! {
        <nav class="ranges" aria-label="Time range" data-testid="ranges">
            <div class="segments">{presets.into_iter().collect_view()}</div>
            <details class="more custom">
                <summary class="btn" aria-current=move || is_custom().then_some("true")>"Custom"</summary>
                <CustomRange range now/>
            </details>
            <span class="steps">
                {step("Earlier", Icon::Left, |range, now| range.moved(-0.5, now))}
                {step("Later", Icon::Right, |range, now| range.moved(0.5, now))}
                {step("Zoom in", Icon::ZoomIn, |range, now| range.zoomed(0.5, now))}
                {step("Zoom out", Icon::ZoomOut, |range, now| range.zoomed(2.0, now))}
            </span>
            {move || {
                is_custom().then(|| {
                    let (from, to) = range.get().bounds(now.get_untracked());
                    view! {
                        <span class="muted" data-testid="custom-range">
                            <LocalTime at=Signal::stored(from) form=TimeFormat::DayAndTime/> " to "
                            <LocalTime at=Signal::stored(to) form=TimeFormat::DayAndTime/>
                        </span>
                    }
                })
            }}
        </nav>
    }
}

#[component]
fn CustomRange(range: Memo<Range>, now: Signal<UtcMillis>) -> impl IntoView {
    // Does not follow the newest tick while the user types.
    let end = move |bound: fn((UtcMillis, UtcMillis)) -> UtcMillis| {
        Memo::new(move |_| Some(bound(range.get().bounds(now.get_untracked()))))
    };
    let (from, to) = (end(|ends| ends.0), end(|ends| ends.1));
    view! {
        <QueryForm>
            <div class="field"><DateTimeField name="from" id="range-from" label="From" at=from required=true/></div>
            <div class="field"><DateTimeField name="to" id="range-to" label="To" at=to required=true/></div>
            <button type="submit" class="btn primary">"Apply"</button>
        </QueryForm>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(pairs: &[(&'static str, &str)]) -> Range {
        Range::from_query(&pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }

    const NOON: UtcMillis = UtcMillis(1_795_435_200_000);

    #[test]
    fn an_address_leads_to_the_range_it_was_made_of() {
        for (key, _, secs) in PRESETS {
            assert_eq!(range(&[("range", key)]), Range::Last(secs));
            assert_eq!(Range::Last(secs).query(), format!("?range={key}"));
        }
        let between = Range::Between(NOON, NOON.plus_secs(3600));
        assert_eq!(between.query(), "?from=2026-11-23T12:00:00Z&to=2026-11-23T13:00:00Z");
        assert_eq!(range(&[("from", "2026-11-23T12:00:00Z"), ("to", "2026-11-23T13:00:00Z")]), between);
        assert_eq!(
            range(&[
                ("from", "2026-11-23T13:00"),
                ("from_offset", "60"),
                ("to", "2026-11-23T13:00"),
                ("to_offset", "0")
            ]),
            between
        );
        let backwards = [("from", "2026-11-23T13:00:00Z"), ("to", "2026-11-23T12:00:00Z")];
        assert_eq!(range(&backwards), between);
    }

    #[test]
    fn nonsense_shows_the_last_quarter_of_an_hour() {
        for nonsense in
            [&[("range", "2y")][..], &[("from", "x"), ("to", "y")], &[("to", "2026-11-23T12:00:00Z")]]
        {
            assert_eq!(range(nonsense), Range::Last(900));
        }
    }

    #[test]
    fn moving_and_zooming_stay_before_now_and_keep_a_minute() {
        let hour = Range::Last(3600);
        assert_eq!(hour.moved(-0.5, NOON).bounds(NOON), (NOON.plus_secs(-5400), NOON.plus_secs(-1800)));
        assert_eq!(hour.moved(0.5, NOON).bounds(NOON), (NOON.plus_secs(-3600), NOON));
        assert_eq!(hour.zoomed(0.5, NOON).bounds(NOON), (NOON.plus_secs(-2700), NOON.plus_secs(-900)));
        assert_eq!(hour.zoomed(2.0, NOON).bounds(NOON), (NOON.plus_secs(-7200), NOON));
        let (from, to) = hour.zoomed(0.0001, NOON).bounds(NOON);
        assert_eq!(to.secs_since(from), 60.0);
    }
}
