//! Form fields that work without JavaScript, and validate while typing with it.

use super::browser;
use crate::model::ApiError;
use leptos::{html, prelude::*};
use leptos_router::{
    NavigateOptions,
    hooks::{use_location, use_navigate, use_query_map},
};

/// Which fields the user has visited: a field's error is shown once they have left it or have submitted
/// the form.
#[derive(Clone, Copy)]
pub struct Checks {
    wrong: Memo<Option<ApiError>>,
    error: Signal<Option<ApiError>>,
    left: RwSignal<Vec<&'static str>>,
    sent: RwSignal<bool>,
}

impl Checks {
    /// `wrong` is the result of validating the current values, `error` the server's response to the last submission.
    pub fn new(
        wrong: impl Fn() -> Option<ApiError> + Send + Sync + 'static,
        error: Signal<Option<ApiError>>,
    ) -> Self {
        Self {
            wrong: Memo::new(move |_| wrong()),
            error,
            left: RwSignal::default(),
            sent: RwSignal::new(false),
        }
    }

    /// The error of a field, to be shown next to it.
    pub fn of(self, field: &'static str) -> Option<String> {
        let own = self.wrong.with(|e| e.as_ref().and_then(|e| e.field(field).map(String::from)));
        let due = self.sent.get() || self.left.with(|left| left.contains(&field));
        let error = || self.error.with(|e| e.as_ref().and_then(|e| e.field(field).map(String::from)));
        own.filter(|_| due).or_else(error)
    }

    fn leave(self, field: &'static str) {
        if !self.left.with_untracked(|left| left.contains(&field)) {
            self.left.update(|left| {
                left.push(field);
            });
        }
    }

    /// Prevents the submission of an invalid form.
    pub fn guard(self, event: &leptos::ev::SubmitEvent) {
        self.sent.set(true);
        if self.wrong.with_untracked(Option::is_some) {
            event.prevent_default();
        }
    }
}

/// A form that writes its values into the page's address without scrolling.
#[component]
pub fn QueryForm(
    #[prop(optional)] class: &'static str,
    #[prop(optional)] label: Option<&'static str>,
    /// Whether it has the role of a search.
    #[prop(optional)]
    search: bool,
    children: Children,
) -> impl IntoView {
    let path = use_location().pathname;
    let navigate = use_navigate();
    let on_submit = move |event: leptos::ev::SubmitEvent| {
        if let Some(query) = browser::form_body(&event) {
            event.prevent_default();
            let stays = NavigateOptions { scroll: false, ..NavigateOptions::default() };
            navigate(&format!("{}?{query}", path.get_untracked()), stays);
        }
    };
    view! { <form method="get" role=search.then_some("search") class=class aria-label=label on:submit=on_submit>{children()}</form> }
}

/// The initial value of a field: without JavaScript, a rejected form returns the entered values in the page's
/// address.
pub fn entered(field: &str) -> Option<String> {
    use_query_map().with_untracked(|query| query.get(field))
}

/// A labelled input, bound to `value` in both directions.
#[component]
pub fn TextField(
    name: &'static str,
    #[prop(into)] label: String,
    value: RwSignal<String>,
    checks: Checks,
    #[prop(default = "text")] kind: &'static str,
    #[prop(optional)] autocomplete: Option<&'static str>,
    #[prop(optional)] hint: Option<&'static str>,
    #[prop(optional)] unit: Option<&'static str>,
    #[prop(optional, into)] min: Signal<Option<u32>>,
    #[prop(optional, into)] max: Signal<Option<u32>>,
    #[prop(optional)] autofocus: bool,
    #[prop(default = true)] required: bool,
) -> impl IntoView {
    let input = NodeRef::<html::Input>::new();
    Effect::new(move |begun: Option<()>| {
        let wanted = value.get();
        let Some(input) = input.get() else { return };
        if begun.is_none() {
            // Keeps what was typed before hydration.
            value.set(input.value());
        } else if input.value() != wanted {
            input.set_value(&wanted);
        }
    });
    let error = Memo::new(move |_| checks.of(name));
    let id = format!("field-{name}");
    let note_id = format!("{id}-note");
    view! {
        <div class="field" class:wrong=move || error.with(Option::is_some)>
            <label for=id.clone()>{label}</label>
            <span class="control">
                <input
                    node_ref=input
                    id=id
                    name=name
                    type=kind
                    value=value.get_untracked()
                    required=required
                    autofocus=autofocus
                    autocomplete=autocomplete
                    autocapitalize="none"
                    spellcheck="false"
                    min=move || min.get()
                    max=move || max.get()
                    aria-describedby=note_id.clone()
                    aria-invalid=move || error.with(Option::is_some).then_some("true")
                    on:input=move |event| value.set(event_target_value(&event))
                    on:blur=move |_| checks.leave(name)
                />
                {unit.map(|unit| view! { <span class="unit">{unit}</span> })}
            </span>
            <p class="note" id=note_id data-field=name>
                {move || error.get().unwrap_or_else(|| hint.unwrap_or_default().to_owned())}
            </p>
        </div>
    }
}

/// A text field for the code of a link, which is behind the `#` of the page's address and so reaches no server before the form
/// is sent. The browser fills it in; without JavaScript users enter it.
#[component]
pub fn CodeField(
    name: &'static str,
    label: &'static str,
    checks: Checks,
    hint: &'static str,
    #[prop(default = true)] required: bool,
) -> impl IntoView {
    let value = RwSignal::new(String::new());
    let hash = use_location().hash;
    let field = view! { <TextField name label value checks autocomplete="off" hint required/> };
    // Created after the field's own effect, which takes over what was typed before hydration.
    Effect::new(move || {
        let code = hash.with(|hash| hash.trim_start_matches('#').to_owned());
        if !code.is_empty() {
            value.set(code);
        }
    });
    field
}
