use crate::{
    api::{DeleteAlertRule, SaveAlertRule, alert_rules, list_vms},
    components::{
        action::{ActionForm, ServerAction},
        auth::Viewer,
        banner::{ErrorBanner, Loading, PageError},
        browser,
        confirm::{Confirm, ConfirmButton, Confirmation, Question},
        toast,
    },
    model::{
        AlertMetric, AlertRule, ApiError, Comparison, CurrentUser, RULE_MAX_FOR_SECS,
        RULE_MAX_REPEAT_MINUTES, Role, RuleForm, RuleScope, Severity, VmView, in_whole_units, time_of_day,
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

/// The alert rules. `?edit=5` edits a rule, `?vm=12` starts a new one for that VM.
#[component]
pub fn AlertRules() -> impl IntoView {
    let save = ServerAction::<SaveAlertRule>::new();
    let delete = ServerAction::<DeleteAlertRule>::new();
    toast::when_done(save, "Rule saved.");
    toast::when_done(delete, "Rule deleted.");
    // A failed request must not reload the rules: it would discard what was entered.
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
                match (rules.await, viewer.user().await) {
                    (Ok((rules, vms)), Some(user)) => view! { <Body rules vms user save delete/> }.into_any(),
                    (Err(error), _) => view! { <PageError error/> }.into_any(),
                    (Ok(_), None) => view! { <PageError error=ApiError::not_signed_in()/> }.into_any(),
                }
            })}
        </Transition>
    }
}

#[component]
fn Body(
    rules: Vec<AlertRule>,
    vms: Vec<VmView>,
    user: CurrentUser,
    save: ServerAction<SaveAlertRule>,
    delete: ServerAction<DeleteAlertRule>,
) -> impl IntoView {
    let error = Signal::derive(move || delete.value().get().and_then(Result::err));
    let query = use_query_map();
    let is_empty = rules.is_empty();
    let entries = rules.iter().map(|rule| view! { <Entry rule=rule.clone() delete/> }).collect_view();
    let form = move || {
        let asked = |name: &str| query.with(|query| query.get(name)).and_then(|id| id.parse::<i64>().ok());
        let entered = query.with_untracked(entered);
        let edited = asked("edit").and_then(|id| rules.iter().find(|rule| rule.id == id && rule.is_editable));
        let begun = edited.map_or_else(|| new_rule(asked("vm"), &user), RuleForm::of);
        let begun = entered.unwrap_or(begun);
        view! { <Form begun scopes=scopes(&vms, &user, edited) save/> }
    };
    view! {
        <section class="panel block" data-testid="rules">
            <p class="hint">
                "The most specific rule wins: VM, then owner, then all VMs. "
                "Disable a VM's rule to silence that metric for it."
            </p>
            <ErrorBanner error/>
            <ul class="entries">{entries}</ul>
            {is_empty.then(|| view! { <p class="none">"No rules yet. Create the first one below."</p> })}
        </section>
        {form}
    }
}

/// `CPU at 90 % or more for 60 s`
fn words(rule: &AlertRule) -> String {
    let wrong = rule.metric.wrong(rule.comparison, rule.threshold);
    let mut words = format!("{wrong} for {}", in_whole_units(rule.for_secs));
    if let Some(secs) = rule.repeat_secs {
        words += &format!(", reminder every {}", in_whole_units(secs));
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
        RuleScope::EveryVm => "All VMs".into(),
        RuleScope::Owner(_) => format!("All VMs of {}", name.unwrap_or_default()),
        RuleScope::Vm(_) => name.unwrap_or_default().into(),
    }
}

#[component]
fn Entry(rule: AlertRule, delete: ServerAction<DeleteAlertRule>) -> impl IntoView {
    let severity = rule.severity.as_str();
    // A rule has no name, so its metric is typed to confirm.
    let question = Question::new(format!("delete-{}", rule.id), rule.metric.label());
    let what = format!("{}: {}", subject(rule.scope, rule.scope_name.as_deref()), words(&rule));
    view! {
        <li data-rule=rule.id>
            <div class="what">
                <i class=format!("mark {severity}") title=severity></i> " "
                <b>{subject(rule.scope, rule.scope_name.as_deref())}</b> ": " {words(&rule)}
                {(!rule.is_enabled).then(|| view! { " " <span class="badge">"disabled"</span> })}
            </div>
            {rule.is_editable.then(|| view! {
                <a class="btn" href=format!("{ADDRESS}?edit={}#rule", rule.id)>"Edit"</a>
                <ConfirmButton question of=what.clone()>"Delete…"</ConfirmButton>
                <Confirm question title="Delete this rule?">
                    <p><b>{what}</b>"."</p>
                    <p>"Its open alerts are resolved. This cannot be undone."</p>
                    <ActionForm action=delete>
                        <input type="hidden" name="rule_id" value=rule.id/>
                        <Confirmation question label="Delete rule" disabled=delete.pending()/>
                    </ActionForm>
                </Confirm>
            })}
        </li>
    }
}

/// The values of a rejected form, on a page without JavaScript.
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

/// The initial values of a new rule.
fn new_rule(vm_id: Option<i64>, user: &CurrentUser) -> RuleForm {
    RuleForm {
        scope: vm_id.map_or(RuleScope::Owner(user.id), RuleScope::Vm).text(),
        metric: AlertMetric::Cpu.as_str().into(),
        threshold: "90".into(),
        for_secs: "60".into(),
        severity: Severity::Warning.as_str().into(),
        is_enabled: "on".into(),
        ..RuleForm::default()
    }
}

/// The scopes a rule may have, with their labels.
fn scopes(vms: &[VmView], user: &CurrentUser, edited: Option<&AlertRule>) -> Vec<(String, String)> {
    let all = (user.role == Role::Admin).then_some([RuleScope::Host, RuleScope::EveryVm]);
    let mut scopes: Vec<_> =
        all.into_iter().flatten().map(|scope| (scope.text(), subject(scope, None))).collect();
    scopes.push((RuleScope::Owner(user.id).text(), "All my VMs".into()));
    let others = vms.iter().filter(|vm| vm.owner_id != user.id);
    let owners: BTreeMap<_, _> = others.map(|vm| (vm.owner_name.as_str(), vm.owner_id)).collect();
    scopes.extend(owners.into_iter().map(|(name, id)| {
        let scope = RuleScope::Owner(id);
        (scope.text(), subject(scope, Some(name)))
    }));
    scopes.extend(vms.iter().map(|vm| {
        let of = if vm.owner_id == user.id { String::new() } else { format!(" of {}", vm.owner_name) };
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
    let error = Signal::derive(move || save.value().get().and_then(Result::err));
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
    let title = if is_new { "New rule" } else { "Edit rule" };
    let comparisons = choices(&Comparison::ALL, Comparison::as_str, Comparison::choice);
    let metrics = choices(&AlertMetric::ALL, AlertMetric::as_str, AlertMetric::choice);
    let severities =
        choices(&[Severity::Info, Severity::Warning, Severity::Error], Severity::as_str, Severity::as_str);
    view! {
        <section class="panel block" id="rule" data-testid="rule-form">
            <h2>{title}</h2>
            <ErrorBanner error/>
            <ActionForm action=save>
                <input type="hidden" name="rule[id]" value=begun.id/>
                <div class="two">
                    <Select name="scope" label="Applies to" chosen=begun.scope choices=scopes error/>
                    <Select name="severity" label="Severity" chosen=begun.severity choices=severities error/>
                </div>
                <div class="sentence">
                    <Select name="metric" label="When" chosen=begun.metric choices=metrics error/>
                    <Select name="comparison" label="is" chosen=begun.comparison choices=comparisons error/>
                    <Input name="threshold" label="Threshold" kind="number" value=begun.threshold error/>
                    <Input name="for_secs" label="for" unit="s" kind="number" value=begun.for_secs max=RULE_MAX_FOR_SECS error/>
                    <Input name="repeat_minutes" label="Remind every" unit="min" kind="number" value=begun.repeat_minutes hint="Empty: no reminders." max=RULE_MAX_REPEAT_MINUTES error/>
                </div>
                <div class="sentence">
                    <Input name="quiet_from" label="No notifications from" kind="time" value=begun.quiet_from hint="Empty: notify at any time." error/>
                    <Input name="quiet_to" label="until" kind="time" value=begun.quiet_to error/>
                    <div class="field" class:wrong=is_wrong(error, "time_zone")>
                        <label for="field-time_zone">"in the time zone"</label>
                        <span class="control">
                            <input
                                id="field-time_zone" name="rule[time_zone]" maxlength="64" autocomplete="off" spellcheck="false"
                                value=zone.get_untracked() prop:value=zone
                                on:input=move |event| zone.set(event_target_value(&event))
                                aria-invalid=invalid(error, "time_zone") aria-describedby="field-time_zone-note"
                            />
                        </span>
                        <Note name="time_zone" hint="For example Europe/Berlin." error/>
                    </div>
                </div>
                <label class="choice">
                    <input type="checkbox" name="rule[is_enabled]" value="on" checked=begun.is_enabled == "on"/>
                    "Enabled"
                </label>
                <p class="hint">
                    "An alert resolves after the same time 5 points below the threshold (5 % for rates and load), or above it if the rule says \"at or below\"."
                </p>
                <p class="buttons">
                    <button type="submit" class="btn primary" disabled=save.pending()>{if is_new { "Create rule" } else { "Save rule" }}</button>
                    {(!is_new).then(|| view! { <a class="btn" href=ADDRESS>"Cancel"</a> })}
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
    error: Signal<Option<ApiError>>,
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
        <div class="field" class:wrong=is_wrong(error, name)>
            <label for=id.clone()>{label}</label>
            <span class="control">
                <select name=format!("rule[{name}]") aria-invalid=invalid(error, name) aria-describedby=format!("{id}-note") id=id>{options}</select>
            </span>
            <Note name hint="" error/>
        </div>
    }
}

#[component]
fn Input(
    name: &'static str,
    label: &'static str,
    kind: &'static str,
    value: String,
    #[prop(optional)] unit: &'static str,
    #[prop(optional)] hint: &'static str,
    #[prop(optional)] max: Option<u32>,
    error: Signal<Option<ApiError>>,
) -> impl IntoView {
    let id = format!("field-{name}");
    view! {
        <div class="field" class:wrong=is_wrong(error, name)>
            <label for=id.clone()>{label}</label>
            <span class="control">
                <input
                    aria-invalid=invalid(error, name) name=format!("rule[{name}]") type=kind value=value min=(kind == "number").then_some("0") max=max
                    step=(name == "threshold").then_some("any") autocomplete="off" aria-describedby=format!("{id}-note") id=id
                />
                {(!unit.is_empty()).then(|| view! { <span class="unit">{unit}</span> })}
            </span>
            <Note name hint error/>
        </div>
    }
}

fn is_wrong(error: Signal<Option<ApiError>>, name: &'static str) -> impl Fn() -> bool + Copy {
    move || error.with(|error| error.as_ref().is_some_and(|error| error.field(name).is_some()))
}

fn invalid(error: Signal<Option<ApiError>>, name: &'static str) -> impl Fn() -> Option<&'static str> + Copy {
    move || is_wrong(error, name)().then_some("true")
}

/// The error of a field, or its hint.
#[component]
fn Note(name: &'static str, hint: &'static str, error: Signal<Option<ApiError>>) -> impl IntoView {
    let wrong = move || error.with(|error| error.as_ref()?.field(name).map(str::to_owned));
    view! { <p class="note" id=format!("field-{name}-note") data-field=name>{move || wrong().unwrap_or_else(|| hint.into())}</p> }
}
