use crate::{
    api::{DeleteAlertRule, SaveAlertRule, alert_rules, list_vms},
    components::{
        action::{ActionForm, ServerAction},
        auth::Viewer,
        browser,
        confirm::{Ask, Confirm, Confirmation, Question},
        notice::{Loading, Refusal, Unavailable},
        toast,
    },
    model::{
        AlertMetric, AlertRule, ApiError, Comparison, Me, RULE_MAX_FOR_SECS, RULE_MAX_REPEAT_MINUTES, Role,
        RuleForm, RuleScope, Severity, VmView, in_whole_units, time_of_day,
    },
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::{
    NavigateOptions,
    hooks::{use_navigate, use_query_map},
    params::ParamsMap,
};
use std::collections::BTreeMap;

const ADDRESS: &str = "/alerts/rules";

/// What is watched, and when it is an alert. `?edit=5` changes a rule, `?vm=12` begins a new one for that VM.
#[component]
pub fn AlertRules() -> impl IntoView {
    let save = ServerAction::<SaveAlertRule>::new();
    let delete = ServerAction::<DeleteAlertRule>::new();
    toast::when_done(save, "The rule is saved.");
    toast::when_done(delete, "The rule is deleted.");
    // A refusal changes nothing, and must not take away what was entered.
    let changed = Memo::new(move |before: Option<&(usize, usize)>| {
        let (saved, deleted) = before.copied().unwrap_or_default();
        let newest = (save.version().get(), delete.version().get());
        let is_saved = save.value().with_untracked(|answer| matches!(answer, Some(Ok(_))));
        let is_deleted = delete.value().with_untracked(|answer| matches!(answer, Some(Ok(()))));
        (if is_saved { newest.0 } else { saved }, if is_deleted { newest.1 } else { deleted })
    });
    let rules = Resource::new(
        move || changed.get(),
        |_| async { Ok::<_, ApiError>((alert_rules().await?, list_vms().await?)) },
    );
    let viewer = expect_context::<Viewer>();
    view! {
        <Title text="Alert rules"/>
        <header class="top">
            <h1>"Alert rules"</h1>
            <span class="push"></span>
            <a class="btn" href="/alerts">"Alerts"</a>
        </header>
        <Transition fallback=|| view! { <Loading/> }>
            {move || Suspend::new(async move {
                match (rules.await, viewer.me().await) {
                    (Ok((rules, vms)), Some(me)) => view! { <Body rules vms me save delete/> }.into_any(),
                    (Err(error), _) => view! { <Unavailable error/> }.into_any(),
                    (Ok(_), None) => view! { <Unavailable error=ApiError::not_signed_in()/> }.into_any(),
                }
            })}
        </Transition>
    }
}

#[component]
fn Body(
    rules: Vec<AlertRule>,
    vms: Vec<VmView>,
    me: Me,
    save: ServerAction<SaveAlertRule>,
    delete: ServerAction<DeleteAlertRule>,
) -> impl IntoView {
    let refused = Signal::derive(move || delete.value().get().and_then(Result::err));
    let query = use_query_map();
    let is_empty = rules.is_empty();
    let entries = rules.iter().map(|rule| view! { <Entry rule=rule.clone() delete/> }).collect_view();
    let form = move || {
        let asked = |name: &str| query.with(|query| query.get(name)).and_then(|id| id.parse::<i64>().ok());
        let entered = query.with_untracked(entered);
        let edited = asked("edit").and_then(|id| rules.iter().find(|rule| rule.id == id && rule.is_editable));
        let begun = edited.map_or_else(|| new_rule(asked("vm"), &me), RuleForm::of);
        let begun = entered.unwrap_or(begun);
        view! { <Form begun scopes=scopes(&vms, &me, edited) save/> }
    };
    view! {
        <section class="panel block" data-testid="rules">
            <p class="hint">
                "A VM's own rule stands in the place of its owner's for the same figure, and this one in the place of the one for every VM. "
                "So turn a VM's own rule off to hear nothing of that figure."
            </p>
            <Refusal error=refused/>
            <ul class="entries">{entries}</ul>
            {is_empty.then(|| view! { <p class="none">"Nothing is watched. Make the first rule below."</p> })}
        </section>
        {form}
    }
}

/// `CPU at 90 % or more for 60 s`
fn words(rule: &AlertRule) -> String {
    let wrong = rule.metric.wrong(rule.comparison, rule.threshold);
    let mut words = format!("{wrong} for {}", in_whole_units(rule.for_secs));
    if let Some(secs) = rule.repeat_secs {
        words += &format!(", told again every {}", in_whole_units(secs));
    }
    if let Some(quiet) = &rule.quiet_hours {
        let (from, to) = (time_of_day(quiet.from_minute), time_of_day(quiet.to_minute));
        words += &format!(", quiet from {from} to {to} in {}", quiet.time_zone);
    }
    words
}

fn subject(scope: RuleScope, name: Option<&str>) -> String {
    match scope {
        RuleScope::Host => "The host".into(),
        RuleScope::EveryVm => "Every VM".into(),
        RuleScope::Owner(_) => format!("Every VM of {}", name.unwrap_or_default()),
        RuleScope::Vm(_) => name.unwrap_or_default().into(),
    }
}

#[component]
fn Entry(rule: AlertRule, delete: ServerAction<DeleteAlertRule>) -> impl IntoView {
    let severity = rule.severity.as_str();
    // A rule has no name of its own; what it watches is the shortest that tells it from others.
    let question = Question::new(format!("delete-{}", rule.id), rule.metric.label());
    let what = format!("{}: {}", subject(rule.scope, rule.scope_name.as_deref()), words(&rule));
    view! {
        <li data-rule=rule.id>
            <div class="what">
                <i class=format!("mark {severity}") title=severity></i> " "
                <b>{subject(rule.scope, rule.scope_name.as_deref())}</b> ": " {words(&rule)}
                {(!rule.is_enabled).then(|| view! { " " <span class="badge">"off"</span> })}
            </div>
            {rule.is_editable.then(|| view! {
                <a class="btn" href=format!("{ADDRESS}?edit={}#rule", rule.id)>"Change"</a>
                <Ask question of=what.clone()>"Delete…"</Ask>
                <Confirm question title="Delete this rule?">
                    <p><b>{what}</b>"."</p>
                    <p>"It is not watched any more, and what it has found wrong is over."</p>
                    <ActionForm action=delete>
                        <input type="hidden" name="rule_id" value=rule.id/>
                        <Confirmation question label="Delete it" disabled=delete.pending()/>
                    </ActionForm>
                </Confirm>
            })}
        </li>
    }
}

/// What was entered before it was refused, on a page without scripts.
fn entered(query: &ParamsMap) -> Option<RuleForm> {
    let part = |name: &str| query.get(&format!("rule[{name}]"));
    let scope = part("scope")?;
    let part = |name: &str| part(name).unwrap_or_default();
    Some(RuleForm {
        id: part("id"),
        scope,
        metric: part("metric"),
        comparison: part("comparison"),
        threshold: part("threshold"),
        for_secs: part("for_secs"),
        severity: part("severity"),
        repeat_minutes: part("repeat_minutes"),
        quiet_from: part("quiet_from"),
        quiet_to: part("quiet_to"),
        time_zone: part("time_zone"),
        is_enabled: part("is_enabled"),
    })
}

/// A rule as a new one begins.
fn new_rule(vm_id: Option<i64>, me: &Me) -> RuleForm {
    RuleForm {
        scope: vm_id.map_or(RuleScope::Owner(me.id), RuleScope::Vm).text(),
        metric: AlertMetric::Cpu.as_str().into(),
        threshold: "90".into(),
        for_secs: "60".into(),
        severity: Severity::Warning.as_str().into(),
        is_enabled: "on".into(),
        ..RuleForm::default()
    }
}

/// What a rule may be for, each with its words.
fn scopes(vms: &[VmView], me: &Me, edited: Option<&AlertRule>) -> Vec<(String, String)> {
    let all = (me.role == Role::Admin).then_some([RuleScope::Host, RuleScope::EveryVm]);
    let mut scopes: Vec<_> =
        all.into_iter().flatten().map(|scope| (scope.text(), subject(scope, None))).collect();
    scopes.push((RuleScope::Owner(me.id).text(), "Every VM of mine".into()));
    let others = vms.iter().filter(|vm| vm.owner_id != me.id);
    let owners: BTreeMap<_, _> = others.map(|vm| (vm.owner_name.as_str(), vm.owner_id)).collect();
    scopes.extend(owners.into_iter().map(|(name, id)| {
        let scope = RuleScope::Owner(id);
        (scope.text(), subject(scope, Some(name)))
    }));
    scopes.extend(vms.iter().map(|vm| {
        let of = if vm.owner_id == me.id { String::new() } else { format!(" of {}", vm.owner_name) };
        (RuleScope::Vm(vm.id).text(), vm.name.clone() + &of)
    }));
    if let Some(rule) = edited.filter(|rule| scopes.iter().all(|(value, _)| *value != rule.scope.text())) {
        scopes.push((rule.scope.text(), subject(rule.scope, rule.scope_name.as_deref())));
    }
    scopes
}

type Choice = (String, String);

fn choices<T: Copy>(all: &[T], value: fn(T) -> &'static str, label: fn(T) -> &'static str) -> Vec<Choice> {
    all.iter().map(|one| (value(*one).to_owned(), label(*one).to_owned())).collect()
}

#[component]
fn Form(begun: RuleForm, scopes: Vec<Choice>, save: ServerAction<SaveAlertRule>) -> impl IntoView {
    let refused = Signal::derive(move || save.value().get().and_then(Result::err));
    let is_new = begun.id.is_empty();
    let navigate = use_navigate();
    Effect::new(move |seen: Option<usize>| {
        let answered = save.version().get();
        let is_saved = save.value().with_untracked(|answer| matches!(answer, Some(Ok(_))));
        if seen.is_some_and(|seen| seen != answered) && is_saved {
            navigate(ADDRESS, NavigateOptions { scroll: false, ..NavigateOptions::default() });
        }
        answered
    });
    let zone = RwSignal::new(begun.time_zone);
    Effect::new(move || {
        if zone.with_untracked(String::is_empty) {
            zone.set(browser::time_zone());
        }
    });
    let title = if is_new { "New rule" } else { "Change a rule" };
    let at_least = choices(&Comparison::ALL, Comparison::as_str, Comparison::label);
    let metrics = choices(&AlertMetric::ALL, AlertMetric::as_str, AlertMetric::choice);
    let severities =
        choices(&[Severity::Info, Severity::Warning, Severity::Error], Severity::as_str, Severity::as_str);
    view! {
        <section class="panel block" id="rule" data-testid="rule-form">
            <h2>{title}</h2>
            <Refusal error=refused/>
            <ActionForm action=save>
                <input type="hidden" name="rule[id]" value=begun.id/>
                <div class="three">
                    <Select name="scope" label="Watch" chosen=begun.scope choices=scopes refused/>
                    <Select name="metric" label="Figure" chosen=begun.metric choices=metrics refused/>
                    <Select name="severity" label="Severity" chosen=begun.severity choices=severities refused/>
                    <Input name="threshold" label="At (%, MB/s or load)" kind="number" value=begun.threshold hint="Not for figures and stops." refused/>
                    <Select name="comparison" label="Which is" chosen=begun.comparison choices=at_least refused/>
                    <Input name="for_secs" label="For seconds" kind="number" value=begun.for_secs max=RULE_MAX_FOR_SECS refused/>
                    <Input name="repeat_minutes" label="Tell again after minutes" kind="number" value=begun.repeat_minutes hint="Empty: once." max=RULE_MAX_REPEAT_MINUTES refused/>
                    <Input name="quiet_from" label="No notifications from" kind="time" value=begun.quiet_from hint="Empty: at any time." refused/>
                    <Input name="quiet_to" label="until" kind="time" value=begun.quiet_to refused/>
                    <div class="field" class:wrong=is_wrong(refused, "time_zone")>
                        <label for="field-time_zone">"in the time zone"</label>
                        <span class="control">
                            <input
                                id="field-time_zone" name="rule[time_zone]" maxlength="64" autocomplete="off" spellcheck="false"
                                value=zone.get_untracked() prop:value=zone
                                on:input=move |event| zone.set(event_target_value(&event))
                                aria-invalid=invalid(refused, "time_zone") aria-describedby="field-time_zone-note"
                            />
                        </span>
                        <Note name="time_zone" hint="Such as Europe/Berlin." refused/>
                    </div>
                </div>
                <label class="choice">
                    <input type="checkbox" name="rule[is_enabled]" value="on" checked=begun.is_enabled == "on"/>
                    "It is on"
                </label>
                <p class="hint">
                    "It is over when the figure has been well again for as long: 5 points of percent on the other side of the threshold, of rates and load 5 % of it."
                </p>
                <p class="buttons">
                    <button type="submit" class="btn primary" disabled=save.pending()>{if is_new { "Make the rule" } else { "Save the rule" }}</button>
                    {(!is_new).then(|| view! { <a class="btn" href=ADDRESS>"Leave it as it is"</a> })}
                </p>
            </ActionForm>
        </section>
    }
}

#[component]
fn Select(
    name: &'static str,
    label: &'static str,
    chosen: String,
    choices: Vec<Choice>,
    refused: Signal<Option<ApiError>>,
) -> impl IntoView {
    let id = format!("field-{name}");
    let options = choices
        .into_iter()
        .map(|(value, words)| {
            let is_chosen = value == chosen;
            view! { <option value=value selected=is_chosen prop:selected=is_chosen>{words}</option> }
        })
        .collect_view();
    view! {
        <div class="field" class:wrong=is_wrong(refused, name)>
            <label for=id.clone()>{label}</label>
            <span class="control">
                <select name=format!("rule[{name}]") aria-invalid=invalid(refused, name) aria-describedby=format!("{id}-note") id=id>{options}</select>
            </span>
            <Note name hint="" refused/>
        </div>
    }
}

#[component]
fn Input(
    name: &'static str,
    label: &'static str,
    kind: &'static str,
    value: String,
    #[prop(optional)] hint: &'static str,
    #[prop(optional)] max: Option<u32>,
    refused: Signal<Option<ApiError>>,
) -> impl IntoView {
    let id = format!("field-{name}");
    view! {
        <div class="field" class:wrong=is_wrong(refused, name)>
            <label for=id.clone()>{label}</label>
            <span class="control">
                <input
                    aria-invalid=invalid(refused, name) name=format!("rule[{name}]") type=kind value=value min=(kind == "number").then_some("0") max=max
                    step=(name == "threshold").then_some("any") autocomplete="off" aria-describedby=format!("{id}-note") id=id
                />
            </span>
            <Note name hint refused/>
        </div>
    }
}

fn is_wrong(refused: Signal<Option<ApiError>>, name: &'static str) -> impl Fn() -> bool + Copy {
    move || refused.with(|error| error.as_ref().is_some_and(|error| error.field(name).is_some()))
}

fn invalid(
    refused: Signal<Option<ApiError>>,
    name: &'static str,
) -> impl Fn() -> Option<&'static str> + Copy {
    move || is_wrong(refused, name)().then_some("true")
}

/// What is wrong with a field, or how it is meant.
#[component]
fn Note(name: &'static str, hint: &'static str, refused: Signal<Option<ApiError>>) -> impl IntoView {
    let wrong = move || refused.with(|error| error.as_ref()?.field(name).map(str::to_owned));
    view! { <p class="note" id=format!("field-{name}-note") data-field=name>{move || wrong().unwrap_or_else(|| hint.into())}</p> }
}
