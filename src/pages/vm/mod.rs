mod charts;
mod manage;

use crate::{
    api::{DestroyVm, ReleaseVm, metrics_since, operation_output, vm_events},
    components::{
        action::{ActionForm, ServerAction},
        alerts::{self, AlertBell, AlertNotices},
        clock::{Moment, TimeForm},
        confirm::{Ask, Confirm, Confirmation, Question},
        feed::{Connection, Feed, Scope, open_operation},
        format,
        icon::{Glyph, Icon},
        notice::{LinkState, Refusal, Trouble, Unavailable},
        range::Range,
        response,
        source_badge::source_label,
        timeline::{self, Timeline},
        toast,
        vm::{Power, PowerButtons, Progress, StatusMark},
    },
    model::{
        Adopted, ApiError, Charts, ErrorCode, Event, Live, OperationKind, OperationState, OperationView,
        Source, UtcMillis, VmStatus, VmView,
    },
};
use charts::VmCharts;
use leptos::{prelude::*, task::spawn_local};
use leptos_meta::Title;
use leptos_router::{
    NavigateOptions,
    hooks::{use_navigate, use_params_map, use_query_map},
};
use manage::{CancelButton, Kept, Manage};
use serde::{Deserialize, Serialize};

const WINDOW_SECS: u32 = 900;

/// All that the page is rendered with.
#[derive(Clone, Serialize, Deserialize)]
struct First {
    live: Live,
    charts: Charts,
    events: Vec<Event>,
    /// What Vagrant said in the last operation, if the page was asked for with it.
    output: Option<Vec<String>>,
    /// An earlier operation that the page was asked for with, and what Vagrant said in it.
    earlier: Option<(i64, Vec<String>)>,
}

impl First {
    async fn load(id: i64, range: Range, with_output: bool, earlier: Option<i64>) -> Result<Self, ApiError> {
        let live = metrics_since(None, Some(id), Some(WINDOW_SECS), None).await?;
        let charts = timeline::load(Some(id), range, Some(live.cursor)).await?;
        let vm = live.vms.first().ok_or_else(|| ApiError::not_found("VM"))?;
        let output = match vm.operation.as_ref().filter(|_| with_output) {
            Some(operation) => Some(operation_output(id, operation.id).await?),
            None => None,
        };
        let earlier = match earlier {
            Some(operation_id) => Some((operation_id, operation_output(id, operation_id).await?)),
            None => None,
        };
        let events = vm_events(id).await?;
        Ok(Self { live, charts, events, output, earlier })
    }
}

#[component]
pub fn Vm() -> impl IntoView {
    let params = use_params_map();
    let id = Memo::new(move |_| params.with(|p| p.get("id").and_then(|id| id.parse::<i64>().ok())));
    let query = use_query_map();
    let with_output = query.with_untracked(|query| query.get("output").is_some());
    let earlier = query.with_untracked(|query| query.get("operation").and_then(|id| id.parse().ok()));
    let range = Range::of_page();
    let kept = Kept::of(id);
    let first = Resource::new(
        move || id.get(),
        move |id| async move {
            match id {
                Some(id) => First::load(id, range.get_untracked(), with_output, earlier).await,
                None => Err(ApiError::not_found("VM")),
            }
        },
    );
    view! {
        <Transition fallback=Skeleton>
            {move || Suspend::new(async move {
                match first.await {
                    Ok(first) => view! { <Body first range kept/> }.into_any(),
                    Err(error) if error.code == ErrorCode::NotFound => view! { <NoSuchVm/> }.into_any(),
                    Err(error) => view! { <Unavailable error/> }.into_any(),
                }
            })}
        </Transition>
    }
}

#[component]
fn Skeleton() -> impl IntoView {
    view! {
        <Title text="VM"/>
        <div role="status" aria-label="Loading">
            <header class="top"><h1>"VM"</h1></header>
            <div class="panel blank facts"></div>
            <div class="charts">{(0..4).map(|_| view! { <div class="panel chart blank"></div> }).collect_view()}</div>
        </div>
    }
}

#[component]
fn NoSuchVm() -> impl IntoView {
    response::page_not_found();
    view! {
        <Title text="No such VM"/>
        <section class="panel empty">
            <h1>"There is no such VM"</h1>
            <p>"It may have been destroyed, or it is not yours to see."</p>
            <p><a class="btn primary" href="/">"To the overview"</a></p>
        </section>
    }
}

#[component]
fn Body(first: First, range: Memo<Range>, kept: Kept) -> impl IntoView {
    let First { live, charts, events, output, earlier } = first;
    let id = live.vms[0].id;
    let feed = Feed::start(live, Scope { vm_id: Some(id), window_secs: WINDOW_SECS });
    let vm = feed.vm(id);
    let timeline = Timeline::follow(feed, Some(id), range, charts);
    // Kept when the VM is gone, so that the page can still say which one it was.
    let (name, adopted) = vm
        .with_untracked(|vm| vm.as_ref().map(|vm| (vm.name.clone(), vm.adopted.clone())))
        .unwrap_or_default();
    let gone = Memo::new(move |_| feed.connection.get() == Connection::Gone || vm.with(Option::is_none));
    let title = name.clone();
    view! {
        <Title text=title/>
        {move || {
            if gone.get() {
                view! { <Gone name=name.clone() was_adopted=adopted.is_some()/> }.into_any()
            } else {
                let (name, adopted, earlier) = (name.clone(), adopted.clone(), earlier.clone());
                let (events, output) = (events.clone(), output.clone());
                view! { <Present feed id vm timeline kept name adopted events output earlier/> }.into_any()
            }
        }}
    }
}

#[component]
fn Gone(name: String, was_adopted: bool) -> impl IntoView {
    let what = if was_adopted {
        "It has been taken off the list, or destroyed."
    } else {
        "It has been destroyed, and its disk with it."
    };
    view! {
        <section class="panel empty" role="status" data-testid="gone">
            <h1>{name} " is gone"</h1>
            <p>{what}</p>
            <p><a class="btn primary" href="/">"To the overview"</a></p>
        </section>
    }
}

#[component]
fn Present(
    feed: Feed,
    id: i64,
    vm: Memo<Option<VmView>>,
    timeline: Timeline,
    kept: Kept,
    name: String,
    adopted: Option<Adopted>,
    events: Vec<Event>,
    output: Option<Vec<String>>,
    earlier: Option<(i64, Vec<String>)>,
) -> impl IntoView {
    kept.follow(vm);
    let power = Power::new(move || feed.poll_now());
    let destroy = ServerAction::<DestroyVm>::new();
    let release = ServerAction::<ReleaseVm>::new();
    toast::when_done(release, "The VM is off the list, and goes on as it is.");
    // The overview shows how the destroying goes on, and that the VM is gone in the end.
    let navigate = use_navigate();
    Effect::new(move || {
        let destroyed = destroy.value().with(|answer| matches!(answer, Some(Ok(_))));
        if destroyed || release.value().with(|answer| matches!(answer, Some(Ok(_)))) {
            navigate("/", NavigateOptions::default());
        }
    });
    let question =
        Question::new("destroy", adopted.as_ref().map_or(&name, |adopted| &adopted.directory).as_str());
    let turn_off = Question::new("turn-off", name.as_str());
    let refusal = Signal::derive(move || {
        destroy
            .value()
            .get()
            .and_then(Result::err)
            .or_else(|| release.value().get().and_then(Result::err))
            .or_else(|| power.refusal().get())
    });
    let problem = Memo::new(move |_| vm.with(|vm| vm.as_ref().and_then(|vm| vm.problem.clone())));
    let busy = Memo::new(move |_| vm.with(|vm| vm.as_ref().is_some_and(|vm| open_operation(vm).is_some())));
    view! {
        <Trouble feed/>
        <Header feed vm name=name.clone() power question turn_off/>
        <Refusal error=refusal/>
        {move || {
            problem.get().map(|text| {
                view! { <p class="banner bad" role="alert" data-testid="problem"><Glyph icon=Icon::Warning/><span>{text}</span></p> }
            })
        }}
        <AlertNotices feed vm_id=id/>
        {move || busy.get().then(|| view! { <section class="panel under-way"><Progress vm now=feed.now/><CancelButton feed id vm/></section> })}
        <Facts vm adopted=adopted.clone()/>
        <VmCharts feed id vm timeline/>
        {rest(Rest {
            feed, id, vm, timeline, kept, name, adopted, events, output, earlier, power, question, turn_off, destroy, release,
        })}
    }
}

/// What the page below its figures, and the dialogs, are made of.
#[derive(Clone)]
struct Rest {
    feed: Feed,
    id: i64,
    vm: Memo<Option<VmView>>,
    timeline: Timeline,
    kept: Kept,
    name: String,
    adopted: Option<Adopted>,
    events: Vec<Event>,
    output: Option<Vec<String>>,
    earlier: Option<(i64, Vec<String>)>,
    power: Power,
    question: Question,
    turn_off: Question,
    destroy: ServerAction<DestroyVm>,
    release: ServerAction<ReleaseVm>,
}

fn rest(rest: Rest) -> impl IntoView {
    let Rest { feed, id, vm, kept, name, adopted, events, output, earlier, .. } = rest;
    let Rest { timeline, power, question, turn_off, destroy, release, .. } = rest;
    let history = History::follow(feed, id, vm, timeline, events, output);
    view! {
        <div class="charts">
            <Events history/>
            <LastOperation feed vm history/>
        </div>
        {earlier.map(|(operation_id, lines)| view! { <EarlierOutput id operation_id lines/> })}
        <Manage feed id vm kept is_ours=adopted.is_none()/>
        <TurnOffDialog id name=name.clone() question=turn_off power/>
        <DestroyDialog id name adopted question destroy release/>
    }
}

#[component]
fn EarlierOutput(id: i64, operation_id: i64, lines: Vec<String>) -> impl IntoView {
    view! {
        <section class="panel block" id="earlier" data-testid="earlier-output">
            <h2>"Operation " {operation_id}</h2>
            <pre class="log whole" tabindex="0">{lines.join("\n")}</pre>
            <p><a class="btn" href=format!("/vms/{id}") rel="external">"Close"</a></p>
        </section>
    }
}

#[component]
fn Header(
    feed: Feed,
    vm: Memo<Option<VmView>>,
    name: String,
    power: Power,
    question: Question,
    turn_off: Question,
) -> impl IntoView {
    let status = Memo::new(move |_| vm.with(|vm| vm.as_ref().map_or(VmStatus::Unknown, |vm| vm.status)));
    let up = move || {
        vm.with(|vm| {
            let vm = vm.as_ref().filter(|vm| vm.status == VmStatus::Running)?;
            vm.figures.uptime_seconds.map(|s| format!(" · up {}", format::duration(s)))
        })
    };
    let told = move || {
        let source = vm.with(|vm| vm.as_ref().map_or(Source::Unknown, |vm| vm.figures.sources.uptime));
        format!("Uptime source: {}", source_label(source))
    };
    let may_destroy = Memo::new(move |_| {
        vm.with(|vm| {
            vm.as_ref().is_some_and(|vm| vm.allowed.contains(&OperationKind::Destroy) || vm.adopted.is_some())
        })
    });
    view! {
        <header class="top">
            <StatusMark status/>
            <h1>{name}</h1>
            <span class="muted"><span data-testid="status">{move || status.get().label()}</span><span title=told>{up}</span></span>
            <LinkState feed/>
            <span class="push"></span>
            <AlertBell feed/>
            <PowerButtons vm power turn_off/>
            {move || may_destroy.get().then(|| view! {
                <Ask question test_id="destroy"><Glyph icon=Icon::Bin/>"Destroy…"</Ask>
            })}
        </header>
    }
}

#[component]
fn TurnOffDialog(id: i64, name: String, question: Question, power: Power) -> impl IntoView {
    view! {
        <Confirm question title=format!("Turn {name} off at once?")>
            <p>"As if its plug were pulled: what its programs have not written to the disk yet is lost. To let them end first, stop it instead."</p>
            <ActionForm action=power.force_stop>
                <input type="hidden" name="vm_id" value=id/>
                <Confirmation question label="Turn it off" disabled=power.force_stop.pending()/>
            </ActionForm>
        </Confirm>
    }
}

#[component]
fn DestroyDialog(
    id: i64,
    name: String,
    adopted: Option<Adopted>,
    question: Question,
    destroy: ServerAction<DestroyVm>,
    release: ServerAction<ReleaseVm>,
) -> impl IntoView {
    let what = match adopted {
        None => view! { <p>"The VM and everything on its disk are deleted. This cannot be undone."</p> }.into_any(),
        Some(Adopted { directory, machine, .. }) => view! {
            <ActionForm action=release class="release">
                <input type="hidden" name="vm_id" value=id/>
                <p>"It was adopted. To stop watching it and leave it as it is, take it off the list: it can be adopted again."</p>
                <button type="submit" class="btn" data-testid="release" disabled=release.pending()>"Take it off the list"</button>
            </ActionForm>
            <p>
                "To destroy it, Vagrant deletes the machine " <b>{machine}</b> " of " <span class="mono path">{directory}</span>
                " and everything on its disk. The project's own files stay. This cannot be undone."
            </p>
        }
        .into_any(),
    };
    view! {
        <Confirm question title=format!("Destroy {name}?")>
            {what}
            <ActionForm action=destroy>
                <input type="hidden" name="vm_id" value=id/>
                <Confirmation question field="confirm_name" label="Destroy for good" disabled=destroy.pending()>
                    <label class="choice">
                        <input type="checkbox" name="forget_samples" value="true"/>
                        "Delete its recorded figures too. Otherwise they are kept until they are too old."
                    </label>
                </Confirmation>
            </ActionForm>
        </Confirm>
    }
}

#[component]
fn Facts(vm: Memo<Option<VmView>>, adopted: Option<Adopted>) -> impl IntoView {
    let fact = move |read: fn(&VmView) -> String| {
        let text = Memo::new(move |_| vm.with(|vm| vm.as_ref().map(read).unwrap_or_default()));
        move || text.get()
    };
    let created_at =
        Memo::new(move |_| vm.with(|vm| vm.as_ref().map_or(UtcMillis::default(), |vm| vm.created_at)));
    view! {
        <dl class="panel facts">
            <div><dt>"Image"</dt><dd>{fact(|vm| vm.os_type.clone())}</dd></div>
            <div><dt>"Cores"</dt><dd>{fact(|vm| vm.spec.cpu_cores.to_string())}</dd></div>
            <div><dt>"Memory"</dt><dd>{fact(|vm| format::megabytes(vm.spec.ram_mb.into()))}</dd></div>
            <div><dt>"Disk"</dt><dd>{fact(|vm| format::gigabytes(vm.spec.disk_gb.into()))}</dd></div>
            <div>
                <dt>"Address"</dt>
                <dd class="mono" data-testid="address">{fact(|vm| vm.ip_address.clone().unwrap_or_else(|| format::UNKNOWN.into()))}</dd>
            </div>
            {adopted.map(|Adopted { directory, provider, .. }| view! {
                <div><dt>"Adopted from"</dt><dd class="mono path">{directory}</dd></div>
                <div><dt>"Provider"</dt><dd>{provider}</dd></div>
            })}
            <div><dt>"Owner"</dt><dd>{fact(|vm| vm.owner_name.clone())}</dd></div>
            <div><dt>"Created"</dt><dd><Moment at=created_at form=TimeForm::DayAndTime/></dd></div>
        </dl>
    }
}

/// What is asked anew when something seems to have happened: the events, and while somebody reads it, the
/// output of the last operation. It begins with what the page was rendered with.
#[derive(Clone, Copy)]
struct History {
    events: RwSignal<Vec<Event>>,
    output: RwSignal<Vec<String>>,
    /// Somebody wants the whole output, not its last line.
    whole: RwSignal<bool>,
}

impl History {
    fn follow(
        feed: Feed,
        id: i64,
        vm: Memo<Option<VmView>>,
        timeline: Timeline,
        events: Vec<Event>,
        output: Option<Vec<String>>,
    ) -> Self {
        let whole = RwSignal::new(output.is_some());
        let history =
            Self { events: RwSignal::new(events), output: RwSignal::new(output.unwrap_or_default()), whole };
        let of_operation = move |read: fn(&OperationView) -> String| {
            vm.with(|vm| vm.as_ref().and_then(|vm| vm.operation.as_ref()).map(|o| (o.id, o.state, read(o))))
        };
        let alerts = alerts::of_vm(feed, id);
        let occasion = Memo::new(move |_| {
            let vm = vm.with(|vm| vm.as_ref().map(|vm| (vm.status, vm.problem.clone())));
            (
                vm,
                of_operation(|_| String::new()),
                alerts.with(|alerts| alerts.iter().map(|alert| alert.id).collect::<Vec<_>>()),
            )
        });
        let spoken = Memo::new(move |_| of_operation(|operation| operation.last_line.clone()));
        Effect::new(move |begun: Option<()>| {
            // A memo that is never read follows nothing.
            occasion.get();
            if begun.is_some() {
                timeline.something_happened();
                spawn_local(async move {
                    if let Ok(events) = vm_events(id).await {
                        history.events.try_set(events);
                    }
                });
            }
        });
        Effect::new(move || {
            if let (true, Some((operation_id, ..))) = (whole.get(), spoken.get()) {
                spawn_local(async move {
                    if let Ok(lines) = operation_output(id, operation_id).await {
                        history.output.try_set(lines);
                    }
                });
            }
        });
        history
    }
}

#[component]
fn Events(history: History) -> impl IntoView {
    let entry = |event: Event| {
        view! {
            <li data-severity=event.severity.as_str()>
                <Moment at=event.at form=TimeForm::DayAndTime/>
                <i class=format!("mark {}", event.severity.as_str()) title=event.severity.as_str()></i>
                <span>{event.text}</span>
            </li>
        }
    };
    view! {
        <section class="panel events" data-testid="events">
            <header><h2>"Events"</h2></header>
            <ol class="timeline" tabindex="0" aria-label="Events">
                <For each=move || history.events.get() key=|event| event.id children=entry/>
            </ol>
            {move || {
                history.events.with(Vec::is_empty).then(|| view! { <p class="none">"Nothing has happened yet."</p> })
            }}
        </section>
    }
}

#[component]
fn LastOperation(feed: Feed, vm: Memo<Option<VmView>>, history: History) -> impl IntoView {
    let whole = history.whole;
    let operation = Memo::new(move |_| vm.with(|vm| vm.as_ref().and_then(|vm| vm.operation.clone())));
    let there = Memo::new(move |_| operation.with(Option::is_some));
    let summary = move || {
        operation.with(|operation| {
            operation.as_ref().map(|operation| {
                let until = operation.finished_at.unwrap_or_else(|| feed.now.get());
                let took = format::elapsed(format::seconds_between(operation.requested_at, until));
                let outcome = match operation.state {
                    OperationState::Queued => "queued",
                    OperationState::Running => "under way",
                    OperationState::Succeeded => "done",
                    OperationState::Failed => "failed",
                    OperationState::Cancelled => "cancelled",
                };
                format!("{} · {took} · {outcome}", operation.kind.as_str())
            })
        })
    };
    let error = move || operation.with(|operation| operation.as_ref().and_then(|o| o.error.clone()));
    let body = move || {
        if !there.get() {
            return view! { <p class="none">"Nothing has been asked of this VM yet."</p> }.into_any();
        }
        view! {
            {move || error().map(|text| view! { <p class="banner bad" data-testid="operation-error"><Glyph icon=Icon::Warning/><span>{text}</span></p> })}
            {move || {
                if whole.get() {
                    let text = move || history.output.with(|lines| lines.join("\n"));
                    view! { <pre class="log whole" tabindex="0" data-testid="output">{text}</pre> }.into_any()
                } else {
                    let line = move || operation.with(|o| o.as_ref().map(|o| o.last_line.clone()));
                    view! { <pre class="log" data-testid="last-line">{line}</pre> }.into_any()
                }
            }}
            <p>
                <a
                    class="btn" role="button" data-testid="whole-output"
                    href=move || if whole.get() { "?" } else { "?output=whole" }
                    aria-expanded=move || whole.get().to_string()
                    on:click=move |event| {
                        event.prevent_default();
                        whole.update(|whole| *whole = !*whole);
                    }
                >
                    {move || if whole.get() { "Show the last line only" } else { "Show the whole output" }}
                </a>
            </p>
        }
        .into_any()
    };
    view! {
        <section class="panel operation" data-testid="operation">
            <header>
                <h2>"Last operation"</h2>
                <span class="muted">{summary}</span>
            </header>
            {body}
        </section>
    }
}
