//! Short messages at the edge of the page, for results that nothing else on it shows. Errors are shown next to
//! the form instead (`banner::ErrorBanner`).

use super::{
    action::ServerAction,
    auth::Viewer,
    browser,
    feed::Feed,
    icon::{Glyph, Icon},
};
use crate::model::{ApiError, OperationKind, OperationState, OperationView, VmView};
use leptos::{ev, prelude::*, server_fn::ServerFn};
use std::time::Duration;

/// The maximum number shown; the oldest are removed first.
const MOST: usize = 4;
const STAY: Duration = Duration::from_secs(6);
/// How long a toast stays after the pointer or focus was last seen on one.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Clone, PartialEq)]
struct Toast {
    id: usize,
    text: String,
    is_bad: bool,
}

/// The toasts of the pages within [`super::app_layout::AppLayout`].
#[derive(Clone, Copy)]
pub struct Toasts {
    shown: RwSignal<Vec<Toast>>,
    /// Whether the pointer is on a toast, and whether the focus is in one.
    held: RwSignal<(bool, bool)>,
    count: StoredValue<usize>,
}

impl Toasts {
    /// Provides an empty list as context.
    pub fn provide() -> Self {
        let toasts =
            Self { shown: RwSignal::default(), held: RwSignal::default(), count: StoredValue::default() };
        provide_context(toasts);
        toasts
    }

    pub fn say(self, text: impl Into<String>) {
        self.add(text.into(), false);
    }

    pub fn warn(self, text: impl Into<String>) {
        self.add(text.into(), true);
    }

    fn add(self, text: String, is_bad: bool) {
        self.count.update_value(|count| *count += 1);
        let id = self.count.get_value();
        self.shown.update(|shown| {
            shown.push(Toast { id, text, is_bad });
            let surplus = shown.len().saturating_sub(MOST);
            shown.drain(..surplus);
        });
        self.leave_after(id, STAY);
    }

    fn leave_after(self, id: usize, time: Duration) {
        set_timeout(
            move || match self.held.try_get_untracked() {
                Some((false, false)) => self.dismiss(id),
                Some(_) => self.leave_after(id, LINGER),
                None => {}
            },
            time,
        );
    }

    fn dismiss(self, id: usize) {
        self.shown.try_update(|shown| shown.retain(|toast| toast.id != id));
    }
}

/// Where the toasts appear. The region is there from the beginning, or a screen reader would miss what comes into it.
#[component]
pub fn ToastRegion(toasts: Toasts) -> impl IntoView {
    let Toasts { shown, held, .. } = toasts;
    Effect::new(move || {
        let listener = window_event_listener(ev::keydown, move |event| {
            if event.key() == "Escape" && !browser::is_typing(&event) && !shown.with_untracked(Vec::is_empty)
            {
                held.set((false, false));
                shown.set(Vec::new());
            }
        });
        on_cleanup(move || listener.remove());
    });
    let toast = move |Toast { id, text, is_bad }| {
        let mark = if is_bad { "mark failed" } else { "mark running" };
        // Removing the focused button does not fire a blur event.
        let dismiss = move |_| {
            held.update(|held| held.1 = false);
            toasts.dismiss(id);
        };
        view! {
            <div class="toast">
                <i class=mark aria-hidden="true"></i>
                <p>{text}</p>
                <button type="button" class="btn quiet" aria-label="Dismiss" title="Dismiss" on:click=dismiss><Glyph icon=Icon::Close/></button>
            </div>
        }
    };
    view! {
        <div
            class="toasts" role="status" aria-live="polite" aria-atomic="false" data-testid="toasts"
            on:mouseenter=move |_| held.update(|held| held.0 = true)
            on:mouseleave=move |_| held.update(|held| held.0 = false)
            on:focusin=move |_| held.update(|held| held.1 = true)
            on:focusout=move |_| held.update(|held| held.1 = false)
        >
            <For each=move || shown.get() key=|toast| toast.id children=toast/>
        </div>
    }
}

/// Shows `text` whenever the action succeeds.
pub fn when_done<S>(action: ServerAction<S>, text: &'static str)
where
    S: ServerFn<Error = ApiError> + 'static,
    S::Output: Clone + Send + Sync + 'static,
{
    let (version, value) = (action.version(), action.value());
    let is_done = move || value.with_untracked(|answer| matches!(answer, Some(Ok(_))));
    say_after(Box::new(move || version.get()), Box::new(is_done), text);
}

/// Not generic, so it is compiled once for all actions.
fn say_after(
    answers: Box<dyn Fn() -> usize + Send + Sync>,
    is_done: Box<dyn Fn() -> bool + Send + Sync>,
    text: &'static str,
) {
    let toasts = expect_context::<Toasts>();
    Effect::new(move |seen: Option<usize>| {
        let answered = answers();
        if seen.is_some_and(|seen| seen != answered) && is_done() {
            toasts.say(text);
        }
        answered
    });
}

/// Shows toasts about the current user's operations, from the data of the page's poll.
pub fn follow_operations(feed: Feed) {
    let (toasts, viewer) = (expect_context::<Toasts>(), expect_context::<Viewer>());
    let operations = feed.of_facts(|vms| vms.iter().map(Seen::of).collect::<Vec<_>>());
    Effect::new(move |before: Option<Vec<Seen>>| {
        let seen = operations.get();
        if let Some((before, name)) = before.zip(viewer.name_untracked()) {
            let changes = changes(&before, &seen, &name);
            if !changes.is_empty() {
                viewer.something_changed();
            }
            for (text, is_bad) in changes {
                if is_bad { toasts.warn(text) } else { toasts.say(text) }
            }
        }
        seen
    });
}

/// A VM and its last operation, as of one poll.
#[derive(Clone, PartialEq)]
struct Seen {
    vm_id: i64,
    name: String,
    operation: Option<OperationView>,
}

impl Seen {
    fn of(vm: &VmView) -> Self {
        Self { vm_id: vm.id, name: vm.name.clone(), operation: vm.operation.clone() }
    }
}

/// The messages about `user`'s operations that changed between two polls, and whether each is an error.
fn changes(before: &[Seen], now: &[Seen], user: &str) -> Vec<(String, bool)> {
    let mine = |seen: &Seen| seen.operation.clone().filter(|operation| operation.requested_by == user);
    let finished = now.iter().filter_map(|vm| {
        let operation = mine(vm)?;
        let earlier = before.iter().find(|earlier| earlier.vm_id == vm.vm_id)?.operation.as_ref();
        let same = earlier.filter(|earlier| earlier.id == operation.id);
        if same.is_some_and(|same| same.state.is_open() == operation.state.is_open()) {
            return None;
        }
        Some((outcome(&vm.name, &operation), operation.state == OperationState::Failed))
    });
    let gone = before.iter().filter_map(|earlier| {
        let operation = mine(earlier).filter(|o| o.state.is_open())?;
        if now.iter().any(|vm| vm.vm_id == earlier.vm_id) {
            return None;
        }
        match operation.kind {
            OperationKind::Destroy => Some((format!("{} {}.", earlier.name, operation.kind.done()), false)),
            OperationKind::Import => {
                Some((format!("{} was not imported. The events say why.", earlier.name), true))
            }
            _ => None,
        }
    });
    finished.chain(gone).collect()
}

fn outcome(vm: &str, operation: &OperationView) -> String {
    let kind = operation.kind;
    match operation.state {
        OperationState::Queued | OperationState::Running => {
            format!("{vm}: {}…", kind.present_participle().to_ascii_lowercase())
        }
        OperationState::Succeeded if kind == OperationKind::Resize => {
            format!("{vm}: the new size applies at the next start.")
        }
        OperationState::Succeeded => format!("{vm} {}.", kind.done()),
        OperationState::Cancelled => format!("{vm}: {} was cancelled.", kind.label()),
        OperationState::Failed => {
            format!("{vm}: {} failed. {}", kind.label(), operation.error.as_deref().unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UtcMillis;

    fn seen(vm_id: i64, operation: Option<(i64, OperationKind, OperationState)>) -> Seen {
        let operation = operation.map(|(id, kind, state)| OperationView {
            id,
            vm_id,
            kind,
            snapshot: None,
            state,
            requested_by: "ada".into(),
            requested_at: UtcMillis(0),
            finished_at: None,
            is_being_cancelled: false,
            phase: None,
            percent: None,
            last_line: String::new(),
            error: (state == Failed).then(|| "The box is missing.".into()),
        });
        Seen { vm_id, name: format!("vm-{vm_id}"), operation }
    }

    fn texts(before: &[Seen], now: &[Seen], user: &str) -> Vec<String> {
        changes(before, now, user).into_iter().map(|(text, _)| text).collect()
    }

    use OperationKind::{Destroy, Import, SnapshotSave, Start, Stop};
    use OperationState::{Cancelled, Failed, Queued, Running, Succeeded};

    #[test]
    fn an_operation_is_reported_when_it_starts_and_when_it_ends() {
        let at_rest = || [seen(1, None), seen(2, Some((3, Start, Succeeded)))];
        let asked = || [seen(1, Some((5, Start, Queued))), seen(2, Some((6, SnapshotSave, Running)))];
        assert_eq!(texts(&at_rest(), &asked(), "ada"), ["vm-1: starting…", "vm-2: saving a snapshot…"]);
        let working = [seen(1, Some((5, Start, Running))), seen(2, Some((6, SnapshotSave, Running)))];
        assert!(texts(&asked(), &working, "ada").is_empty());
        let over = [seen(1, Some((5, Start, Failed))), seen(2, Some((6, SnapshotSave, Succeeded)))];
        let messages = changes(&working, &over, "ada");
        assert_eq!(messages[0], ("vm-1: start failed. The box is missing.".into(), true));
        assert_eq!(messages[1], ("vm-2 has a new snapshot.".into(), false));
    }

    #[test]
    fn an_operation_that_ends_between_two_polls_is_reported_once() {
        let messages = texts(&[seen(1, None)], &[seen(1, Some((5, Stop, Cancelled)))], "ada");
        assert_eq!(messages, ["vm-1: stop was cancelled."]);
    }

    #[test]
    fn a_vm_that_goes_while_it_is_destroyed_was_destroyed() {
        let before = [seen(1, Some((5, Destroy, Running))), seen(2, Some((3, Stop, Running)))];
        assert_eq!(texts(&before, &[], "ada"), ["vm-1 destroyed."]);
    }

    #[test]
    fn a_vm_that_goes_while_it_is_imported_was_not_imported() {
        let messages = changes(&[seen(1, Some((5, Import, Running)))], &[], "ada");
        assert_eq!(messages, [("vm-1 was not imported. The events say why.".into(), true)]);
    }

    #[test]
    fn operations_of_others_and_of_the_first_load_are_not_reported() {
        let asked = [seen(1, Some((5, Start, Queued)))];
        assert!(texts(&[seen(1, None)], &asked, "bob").is_empty());
        assert!(texts(&[], &asked, "ada").is_empty());
    }
}
