use crate::{
    api::list_events,
    components::{
        auth::Viewer,
        banner::ErrorBanner,
        browser,
        datetime_field::{DateTimeField, parse_datetime_field},
        form::QueryForm,
        hydration::is_hydrated,
        local_time::{LocalTime, TimeFormat},
        paging::Paging,
        poll::poll,
        resource::page_view,
    },
    model::{ApiError, Event, EventCategory, EventOrigin, EventPage, EventQuery, Severity, UtcMillis},
};
use leptos::{prelude::*, task::spawn_local};
use leptos_meta::Title;
use leptos_router::{hooks::use_query_map, params::ParamsMap};

/// The filter in the page's address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct PageQuery {
    query: EventQuery,
    before: Option<i64>,
}

impl PageQuery {
    fn of(map: &ParamsMap) -> Self {
        let word = |name: &str| map.get(name).unwrap_or_default();
        // A field holds a minute of local time; "to" includes that whole minute.
        let time = |name: &str, millis: i64| {
            let text = word(name);
            let at = parse_datetime_field(map, name).filter(|_| text.len() == "2026-11-23T06:15".len());
            at.map_or(text, |at| UtcMillis(at.0 + millis).to_rfc3339())
        };
        let query = EventQuery {
            category: word("category"),
            severity: word("severity"),
            vm: word("vm"),
            user: word("person"),
            text: word("text"),
            from: time("from", 0),
            to: time("to", 59_999),
        };
        Self { query, before: word("before").parse().ok() }
    }

    async fn load(self) -> Result<EventPage, ApiError> {
        list_events(self.query, self.before).await
    }

    /// The query string of an address with these parameters; an empty value removes one.
    fn address(&self, more: &[(&str, &str)]) -> String {
        let EventQuery { category, severity, vm, user, text, from, to } = &self.query;
        let own = [
            ("category", category),
            ("severity", severity),
            ("vm", vm),
            ("person", user),
            ("text", text),
            ("from", from),
            ("to", to),
        ];
        let mut map = ParamsMap::new();
        for (name, value) in own.into_iter().filter(|(_, value)| !value.is_empty()) {
            map.insert(name, value.clone());
        }
        for (name, value) in more {
            map.replace((*name).to_owned(), (*value).to_owned());
            if value.is_empty() {
                map.remove(name);
            }
        }
        let query = map.to_query_string();
        if query.is_empty() { "?".into() } else { query }
    }

    fn is_filtered(&self) -> bool {
        self.query != EventQuery::default()
    }
}

#[component]
pub fn Events() -> impl IntoView {
    let map = use_query_map();
    let page_query = Memo::new(move |_| map.with(PageQuery::of));
    let first = Resource::new(
        || (),
        move |()| async move {
            match page_query.get_untracked().load().await {
                // An invalid filter can be corrected on the page.
                Err(error) if !error.fields.is_empty() => Ok((EventPage::default(), Some(error))),
                page => page.map(|page| (page, None)),
            }
        },
    );
    let viewer = expect_context::<Viewer>();
    view! {
        <Title text="Events"/>
        {page_view(first, || view! { <Skeleton/> }.into_any(), move |(page, error)| async move {
            view! { <Body page_query page error is_admin=viewer.is_admin().await/> }.into_any()
        })}
    }
}

#[component]
fn Skeleton() -> impl IntoView {
    view! {
        <div role="status" aria-label="Loading">
            <header class="top"><h1>"Events"</h1></header>
            <div class="panel blank tall"></div>
        </div>
    }
}

#[component]
fn Body(
    page_query: Memo<PageQuery>,
    page: EventPage,
    error: Option<ApiError>,
    is_admin: bool,
) -> impl IntoView {
    let page = RwSignal::new(page);
    let error = RwSignal::new(error);
    // Ignores late answers to an earlier filter.
    let load = move || {
        let requested = page_query.get_untracked();
        spawn_local(async move {
            let answer = requested.clone().load().await;
            if page_query.try_get_untracked() != Some(requested) {
                return;
            }
            match answer {
                Ok(newer) => {
                    if page.try_with_untracked(|page| *page != newer) == Some(true) {
                        page.try_set(newer);
                    }
                    error.try_set(None);
                }
                Err(failure) => {
                    error.try_set(Some(failure));
                }
            }
        });
    };
    Effect::new(move |begun: Option<()>| {
        page_query.get();
        if begun.is_some() {
            load();
        }
    });
    poll(load);
    let older = Memo::new(move |_| {
        let last =
            page.with(|page| page.events.last().filter(|_| page.more).map(|event| event.id.to_string()));
        last.map(|id| page_query.with(|page_query| page_query.address(&[("before", &id)])))
    });
    let newest =
        Memo::new(move |_| page_query.with(|page_query| page_query.before.map(|_| page_query.address(&[]))));
    let file = move |format: &'static str| {
        let query = page_query.with(|page_query| page_query.address(&[("format", format)]));
        format!("/api/events/export{query}")
    };
    view! {
        <header class="top">
            <h1>"Events"</h1>
            <span class="push"></span>
            <details class="more" data-testid="export">
                <summary class="btn">"Export"</summary>
                <div>
                    <a class="btn" href=move || file("csv") download rel="external">"CSV"</a>
                    <a class="btn" href=move || file("json") download rel="external">"JSON"</a>
                </div>
            </details>
        </header>
        <ErrorBanner error/>
        <section class="panel" aria-label="Events">
            <Filters page_query is_admin/>
            <Counts page_query page/>
            <List page is_admin/>
            {move || {
                let nothing = page.with(|page| page.events.is_empty());
                let words = if page_query.with(PageQuery::is_filtered) {
                    "No matching events. Remove a filter to see more."
                } else {
                    "No events yet. Launching a VM creates the first one."
                };
                nothing.then(|| view! { <p class="none" role="status">{words}</p> })
            }}
            <Paging newest older/>
        </section>
    }
}

#[component]
fn Filters(page_query: Memo<PageQuery>, is_admin: bool) -> impl IntoView {
    let is_hydrated = is_hydrated();
    let chosen = move |read: fn(&EventQuery) -> &String| {
        move || page_query.with(|page_query| read(&page_query.query).clone())
    };
    let select = move |name: &'static str,
                       label: &'static str,
                       all: &'static str,
                       options: Vec<(&'static str, &'static str)>,
                       read: fn(&EventQuery) -> &String| {
        let value = chosen(read);
        let option = move |(key, text): (&'static str, &'static str)| {
            let is_chosen = move || value() == key;
            view! { <option value=key selected=is_chosen prop:selected=is_chosen>{text}</option> }
        };
        view! {
            <span class="control"><select name=name aria-label=label on:change=move |event| browser::submit_form_of(&event)>
                <option value="">{all}</option>
                {options.into_iter().map(option).collect_view()}
            </select></span>
        }
    };
    let input = move |name: &'static str, label: &'static str, read: fn(&EventQuery) -> &String| {
        let value = chosen(read);
        view! {
            <span class="control"><input
                name=name type="search" aria-label=label placeholder=label autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="100"
                value=value prop:value=value on:change=move |event| browser::submit_form_of(&event)
            /></span>
        }
    };
    let from = Memo::new(move |_| page_query.with(|page_query| page_query.query.times().0));
    let to = Memo::new(move |_| page_query.with(|page_query| page_query.query.times().1));
    let categories = EventCategory::ALL.map(|category| (category.as_str(), category.label()));
    view! {
        <QueryForm search=true class="toolbar filters" label="Filter events">
            {input("text", "Search the text", |q| &q.text)}
            {select("category", "Kind", "All kinds", categories.to_vec(), |q| &q.category)}
            {select("severity", "Severity", "All severities", vec![("info", "Info"), ("warning", "Warning"), ("error", "Error")], |q| &q.severity)}
            {input("vm", "VM", |q| &q.vm)}
            {is_admin.then(|| input("person", "User", |q| &q.user))}
            <div class="dated"><DateTimeField name="from" id="events-from" label="From" at=from submit_on_change=true/></div>
            <div class="dated"><DateTimeField name="to" id="events-to" label="To" at=to submit_on_change=true/></div>
            <button type="submit" class="btn" hidden=is_hydrated>"Apply"</button>
            {move || page_query.with(PageQuery::is_filtered).then(|| view! { <a class="btn quiet" href="/events" data-noscroll="">"Clear"</a> })}
        </QueryForm>
    }
}

/// The number of events of each severity, as links that filter by it.
#[component]
fn Counts(page_query: Memo<PageQuery>, page: RwSignal<EventPage>) -> impl IntoView {
    let chip = move |severity: Option<Severity>, label: &'static str| {
        let key = severity.map_or("", Severity::as_str);
        let count = move || {
            page.with(|page| match severity {
                None => page.counts.info + page.counts.warning + page.counts.error,
                Some(Severity::Info) => page.counts.info,
                Some(Severity::Warning) => page.counts.warning,
                Some(Severity::Error) => page.counts.error,
            })
        };
        let is_chosen =
            move || page_query.with(|page_query| page_query.query.severity == key).then_some("true");
        let address = move || page_query.with(|page_query| page_query.address(&[("severity", key)]));
        view! {
            <a class="chip" href=address data-noscroll="" aria-current=is_chosen data-testid=format!("count-{}", if key.is_empty() { "all" } else { key })>
                {severity.map(|severity| view! { <i class=format!("mark {}", severity.as_str()) aria-hidden="true"></i> })}
                {label} " " <b>{count}</b>
            </a>
        }
    };
    view! {
        <nav class="chips" aria-label="By severity">
            {chip(None, "All")}
            {chip(Some(Severity::Error), "Errors")}
            {chip(Some(Severity::Warning), "Warnings")}
            {chip(Some(Severity::Info), "Info")}
        </nav>
    }
}

/// The request that caused an event.
fn origin_details(origin: EventOrigin) -> impl IntoView {
    let EventOrigin { address, session_id, request_id, .. } = origin;
    view! {
        {address.map(|address| view! { <div><dt>"Address"</dt><dd class="mono">{address}</dd></div> })}
        {session_id.map(|id| view! { <div><dt>"Session"</dt><dd>{id}</dd></div> })}
        <div><dt>"Request"</dt><dd class="mono">{request_id}</dd></div>
    }
}

#[component]
fn List(page: RwSignal<EventPage>, is_admin: bool) -> impl IntoView {
    let entry = move |event: Event| {
        let severity = event.severity.as_str();
        let kind = event.kind.clone();
        let vm = event.vm_name.clone().zip(event.vm_id);
        let user = event.user.clone().filter(|_| is_admin);
        let origin = page
            .with_untracked(|page| page.origins.iter().find(|origin| origin.event_id == event.id).cloned());
        view! {
            <li data-severity=severity data-kind=kind>
                <LocalTime at=Signal::stored(event.at) form=TimeFormat::DayAndSecond/>
                <i class=format!("mark {severity}") aria-hidden="true"></i>
                <details>
                    <summary><span class="unseen">{severity} ": "</span>{event.text}</summary>
                    <dl class="details">
                        <div><dt>"Severity"</dt><dd>{severity}</dd></div>
                        <div><dt>"Kind"</dt><dd class="mono">{event.kind}</dd></div>
                        {vm.map(|(name, id)| view! { <div><dt>"VM"</dt><dd><a href=format!("/vms/{id}")>{name}</a></dd></div> })}
                        {user.map(|name| view! { <div><dt>"User"</dt><dd>{name}</dd></div> })}
                        <div><dt>"ID"</dt><dd>{event.id}</dd></div>
                        {origin.map(origin_details)}
                    </dl>
                </details>
            </li>
        }
    };
    view! {
        <ol class="timeline whole" data-testid="event-list">
            <For each=move || page.with(|page| page.events.clone()) key=|event| event.id children=entry/>
        </ol>
    }
}
