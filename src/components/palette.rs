//! Keyboard shortcuts: the command palette (Ctrl-K or Cmd-K) opens any page or VM and runs actions, `g` and a letter opens
//! a page, and `?` lists the shortcuts. Everything also has a link or button.

use super::{
    browser,
    icon::{Glyph, Icon},
    lazy::lazy_view,
    toast::Toasts,
};
use crate::{
    api::{
        SignOut, destroy_vm, force_stop_vm, list_vms, restart_vm, resume_vm, save_snapshot, set_theme,
        start_vm, stop_vm, suspend_vm,
    },
    model::{ApiError, OperationKind, Theme, VmView},
};
use leptos::{
    ev, html,
    prelude::*,
    server_fn::ServerFn,
    task::spawn_local,
    wasm_split::{SplitLoaderError, wasm_split},
};
use leptos_router::{NavigateOptions, hooks::use_navigate};

/// An entry: a page, a VM or an action.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: String,
    /// Its kind, as shown.
    kind: String,
    does: Does,
}

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Does {
    /// Opens this path.
    Navigate(String),
    /// Requests an operation on a VM and opens its page.
    Run(OperationKind, Target),
    SetTheme(Theme),
    SignOut,
}

/// The VM of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    id: i64,
    name: String,
    /// Set if VMs of several owners are shown, because names are unique per owner only.
    owner: Option<String>,
}

impl Target {
    fn of(vm: &VmView, with_owner: bool) -> Self {
        Self { id: vm.id, name: vm.name.clone(), owner: with_owner.then(|| vm.owner_name.clone()) }
    }

    /// `web-1`, or `web-1 of bob`.
    fn label(&self) -> String {
        self.owner.as_ref().map_or_else(|| self.name.clone(), |owner| format!("{} of {owner}", self.name))
    }

    /// `bob's VM`, or `alone`.
    fn kind(&self, alone: &str) -> String {
        self.owner.as_ref().map_or_else(|| alone.to_owned(), |owner| format!("{owner}'s VM"))
    }
}

/// The actions on a VM.
const ACTIONS: [(OperationKind, &str); 8] = [
    (OperationKind::Start, "Start"),
    (OperationKind::Resume, "Resume"),
    (OperationKind::Stop, "Stop"),
    (OperationKind::Restart, "Restart"),
    (OperationKind::Suspend, "Suspend"),
    (OperationKind::SnapshotSave, "Save a snapshot of"),
    (OperationKind::ForceStop, "Power off"),
    (OperationKind::Destroy, "Destroy"),
];

/// The question before an action on a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    kind: OperationKind,
    vm: Target,
    /// What the action does, and what is lost.
    text: String,
    label: String,
    button: &'static str,
}

impl Step {
    /// `None` if the action needs no answer.
    fn before(kind: OperationKind, vm: &Target) -> Option<Self> {
        let (name, to_confirm) = (vm.label(), format!("Type {} to confirm", vm.name));
        let (text, label, button) = match kind {
            OperationKind::SnapshotSave => (
                format!("The snapshot lets you return {name} to its current state."),
                "Snapshot name".to_owned(),
                "Save snapshot",
            ),
            OperationKind::ForceStop => (
                format!("{name} is powered off without a shutdown. Data not written to its disk is lost."),
                to_confirm,
                "Power off",
            ),
            OperationKind::Destroy => (
                format!("{name}, its disk and its snapshots are deleted. This cannot be undone."),
                to_confirm,
                "Destroy VM",
            ),
            _ => return None,
        };
        Some(Self { kind, vm: vm.clone(), text, label, button })
    }

    fn is_answered_by(&self, typed: &str) -> bool {
        match self.kind {
            OperationKind::SnapshotSave => !typed.trim().is_empty(),
            _ => typed.trim() == self.vm.name,
        }
    }
}

/// Requests an operation on a VM. `word` is the answer to its [`Step`].
async fn run(kind: OperationKind, vm_id: i64, word: String) -> Result<(), ApiError> {
    let answer = match kind {
        OperationKind::Start => start_vm(vm_id).await,
        OperationKind::Resume => resume_vm(vm_id).await,
        OperationKind::Stop => stop_vm(vm_id).await,
        OperationKind::Restart => restart_vm(vm_id).await,
        OperationKind::Suspend => suspend_vm(vm_id).await,
        OperationKind::SnapshotSave => save_snapshot(vm_id, word).await,
        OperationKind::ForceStop => force_stop_vm(vm_id).await,
        OperationKind::Destroy => destroy_vm(vm_id, word, false).await,
        OperationKind::Launch
        | OperationKind::Resize
        | OperationKind::SnapshotRestore
        | OperationKind::SnapshotDelete => return Err(ApiError::internal()),
    };
    answer.map(|_| ())
}

/// Name, path, and the key behind `g` that leads there.
const PAGES: [(&str, &str, &str); 8] = [
    ("Overview", "/", "o"),
    ("Launch a VM", "/vms/new", "n"),
    ("Monitor", "/monitor", "m"),
    ("Alerts", "/alerts", "a"),
    ("Events", "/events", "e"),
    ("Admin", "/admin", "d"),
    ("Accounts", "/admin/accounts", "u"),
    ("Account", "/account", "p"),
];
/// Pages for admins only.
const FOR_ADMINS: [&str; 2] = ["/admin", "/admin/accounts"];
/// The maximum number of entries shown.
const SHOWN: usize = 12;

fn pages(is_admin: bool) -> Vec<Place> {
    let may_see = |path: &str| is_admin || !FOR_ADMINS.contains(&path);
    let pages = PAGES.iter().filter(|(_, path, _)| may_see(path));
    let place = |(name, path, _): &(&str, &str, &str)| Place {
        name: (*name).into(),
        kind: "page".into(),
        does: Does::Navigate((*path).into()),
    };
    pages.map(place).collect()
}

/// Actions that are always available.
fn deeds() -> impl Iterator<Item = Place> {
    let deeds = [
        ("Light theme", Does::SetTheme(Theme::Light)),
        ("Dark theme", Does::SetTheme(Theme::Dark)),
        ("System theme", Does::SetTheme(Theme::System)),
        ("Sign out", Does::SignOut),
    ];
    deeds.into_iter().map(|(name, does)| Place { name: name.into(), kind: "action".into(), does })
}

/// The VMs, followed by the actions each allows now.
fn places_of(vms: &[VmView], with_owner: bool) -> Vec<Place> {
    let place = |vm: &VmView| Place {
        name: vm.name.clone(),
        kind: Target::of(vm, with_owner).kind("VM"),
        does: Does::Navigate(format!("/vms/{}", vm.id)),
    };
    let actions = vms.iter().flat_map(|vm| {
        // For an imported VM, the confirmation on its page says what is lost.
        let may =
            |kind| vm.allowed.contains(&kind) && (kind != OperationKind::Destroy || vm.adopted.is_none());
        ACTIONS.iter().filter(move |(kind, _)| may(*kind)).map(move |(kind, word)| {
            let target = Target::of(vm, with_owner);
            Place {
                name: format!("{word} {}", vm.name),
                kind: target.kind("action"),
                does: Does::Run(*kind, target),
            }
        })
    });
    vms.iter().map(place).chain(actions).collect()
}

fn all_places(is_admin: bool, vms: &[VmView]) -> Vec<Place> {
    pages(is_admin).into_iter().chain(places_of(vms, is_admin)).chain(deeds()).collect()
}

/// The entries with all letters of `typed` in this order: first those that start with it, then those that contain
/// it.
fn found(places: &[Place], typed: &str) -> Vec<Place> {
    let typed = typed.trim().to_ascii_lowercase();
    let rank = |place: &Place| {
        let name = place.name.to_ascii_lowercase();
        let mut letters = name.chars();
        if name.starts_with(&typed) {
            Some(0)
        } else if name.contains(&typed) {
            Some(1)
        } else {
            typed.chars().all(|wanted| letters.any(|letter| letter == wanted)).then_some(2)
        }
    };
    let mut ranked: Vec<_> = places.iter().filter_map(|place| Some((rank(place)?, place))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, place)| place.clone()).take(SHOWN).collect()
}

/// Menus, which Escape closes.
const MENUS: &str = "details.more";

/// The open dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    Palette,
    Keys,
}

/// Handles the shortcuts on all pages for signed-in users. The dialogs are loaded on first use.
#[component]
pub fn Keyboard(is_admin: bool) -> impl IntoView {
    let opened = RwSignal::new(None::<Opened>);
    let navigate = use_navigate();
    // `g` waits for the next letter.
    let after_g = StoredValue::new(false);
    Effect::new(move || {
        let navigate = navigate.clone();
        let listener = window_event_listener(ev::keydown, move |event| {
            let key = event.key();
            if (event.ctrl_key() || event.meta_key()) && key.eq_ignore_ascii_case("k") {
                event.prevent_default();
                opened.set(Some(Opened::Palette));
                return;
            }
            // A dialog handles Escape itself and returns the focus, possibly into a menu.
            if key == "Escape" && !browser::is_in_dialog(&event) {
                browser::close_details(MENUS);
            }
            if event.ctrl_key() || event.meta_key() || event.alt_key() || browser::is_typing(&event) {
                return;
            }
            let was_after_g = after_g.get_value();
            after_g.set_value(false);
            match key.as_str() {
                _ if was_after_g => {
                    let page = PAGES.iter().find(|(.., letter)| *letter == key);
                    if let Some((_, path, _)) =
                        page.filter(|(_, path, _)| is_admin || !FOR_ADMINS.contains(path))
                    {
                        navigate(path, NavigateOptions::default());
                    }
                }
                "g" => after_g.set_value(true),
                "?" => opened.set(Some(Opened::Keys)),
                // Keeps the slash out of the search field.
                "/" if browser::focus_search() => event.prevent_default(),
                _ => {}
            }
        });
        let pressed = window_event_listener(ev::click, |event| {
            if !browser::is_in_dialog(&event) {
                browser::close_other_details(MENUS, &event);
            }
        });
        on_cleanup(move || {
            listener.remove();
            pressed.remove();
        });
    });
    let is_opened = Memo::new(move |before: Option<&bool>| before == Some(&true) || opened.get().is_some());
    move || {
        is_opened
            .get()
            .then(|| lazy_view(Box::pin(load_dialogs()), move || Box::pin(dialogs(is_admin, opened))))
    }
}

#[wasm_split(palette, wasm_split_path = ::leptos::wasm_split, preload(load_dialogs), fallible)]
fn dialogs(is_admin: bool, opened: RwSignal<Option<Opened>>) -> Result<AnyView, SplitLoaderError> {
    Ok(view! { <Dialogs is_admin opened/> }.into_any())
}

/// The palette and the list of shortcuts.
#[component]
fn Dialogs(is_admin: bool, opened: RwSignal<Option<Opened>>) -> impl IntoView {
    const WHAT: &str = "Go to a page, VM or action";
    let palette = NodeRef::<html::Dialog>::new();
    let keys = NodeRef::<html::Dialog>::new();
    let input = NodeRef::<html::Input>::new();
    let typed = RwSignal::new(String::new());
    let chosen = RwSignal::new(0_usize);
    let places = RwSignal::new(all_places(is_admin, &[]));
    let shown = Memo::new(move |_| places.with(|places| found(places, &typed.get())));
    let step = RwSignal::new(None::<Step>);
    let error = RwSignal::new(None::<String>);
    // Counts openings. A response to an earlier one is shown as a toast and opens no page.
    let turn = StoredValue::new(0_u32);
    // Whether a request is pending, to ignore a second press of Enter.
    let pending = RwSignal::new(false);
    let toasts = expect_context::<Toasts>();
    let navigate = use_navigate();
    let close = move || {
        if let Some(dialog) = palette.get_untracked() {
            let _ = dialog.hide_popover();
        }
    };
    let navigate = Callback::new(move |path: String| {
        close();
        navigate(&path, NavigateOptions::default());
    });
    let focus = move || {
        if let Some(input) = input.get_untracked() {
            let _ = input.focus();
        }
    };
    let show_step = move |wanted: Option<Step>| {
        turn.update_value(|turn| *turn += 1);
        pending.set(false);
        typed.set(String::new());
        chosen.set(0);
        error.set(None);
        step.set(wanted);
        focus();
    };
    let send = move |kind: OperationKind, vm_id: i64| {
        if pending.get_untracked() {
            return;
        }
        pending.set(true);
        let (word, turn_at_start) = (typed.get_untracked(), turn.get_value());
        spawn_local(async move {
            let answer = run(kind, vm_id, word).await;
            let is_shown = turn.try_get_value() == Some(turn_at_start);
            if is_shown {
                pending.set(false);
            }
            match answer {
                // The overview shows the progress and the removal of the VM.
                Ok(()) if is_shown && kind == OperationKind::Destroy => navigate.run("/".into()),
                Ok(()) if is_shown && kind.is_about_a_snapshot() => {
                    navigate.run(format!("/vms/{vm_id}/snapshots"));
                }
                Ok(()) if is_shown => navigate.run(format!("/vms/{vm_id}")),
                Ok(()) => {}
                Err(rejection) => {
                    let field_text = rejection.fields.first().map(|field| field.text.clone());
                    let text = field_text.unwrap_or(rejection.text);
                    if is_shown { error.set(Some(text)) } else { toasts.warn(text) }
                }
            }
        });
    };
    let go = move |place: Place| match place.does {
        Does::Navigate(path) => navigate.run(path),
        Does::Run(kind, vm) => match Step::before(kind, &vm) {
            Some(before) => show_step(Some(before)),
            None => send(kind, vm.id),
        },
        Does::SetTheme(theme) => {
            close();
            browser::set_theme(theme);
            spawn_local(async move {
                match set_theme(theme.as_str().into()).await {
                    Ok(()) => toasts.say("Theme saved for this browser."),
                    Err(error) => toasts.warn(error.text),
                }
            });
        }
        Does::SignOut => browser::submit_form_to(SignOut::url()),
    };
    let answer_step = move || {
        let answered = step.with_untracked(|step| {
            let step = step.as_ref().filter(|step| step.is_answered_by(&typed.get_untracked()))?;
            Some((step.kind, step.vm.id))
        });
        if let Some((kind, vm_id)) = answered {
            send(kind, vm_id);
        }
    };
    let open = move || {
        let Some(dialog) = palette.get_untracked() else { return };
        // A popover, because a modal dialog makes the browser restyle every element of the page, which delays the key
        // press. Fails if it is already open.
        let _ = dialog.show_popover();
        show_step(None);
        spawn_local(async move {
            if let Ok(vms) = list_vms().await {
                // Keeps the selected entry when the list changes.
                let before = shown.try_get_untracked().unwrap_or_default();
                let place = chosen.try_get_untracked().and_then(|chosen| before.into_iter().nth(chosen));
                places.try_set(all_places(is_admin, &vms));
                let now = shown.try_get_untracked().unwrap_or_default();
                let position = place.and_then(|place| now.iter().position(|other| *other == place));
                chosen.try_set(position.unwrap_or(0));
            }
        });
    };
    Effect::new(move || {
        match opened.get() {
            Some(Opened::Palette) => open(),
            Some(Opened::Keys) => {
                if let Some(dialog) = keys.get_untracked().filter(|dialog| !dialog.open()) {
                    let _ = dialog.show_modal();
                }
            }
            None => return,
        }
        opened.set(None);
    });
    Effect::new(move || browser::scroll_into_view(&format!("place-{}", chosen.get())));
    let on_toggle = move |_| {
        let is_open =
            palette.get_untracked().is_some_and(|dialog| dialog.matches(":popover-open") == Ok(true));
        if !is_open {
            turn.update_value(|turn| *turn += 1);
        }
    };
    // It is not modal, so it closes when the focus leaves it.
    let on_focus_out = move |event: ev::FocusEvent| {
        if browser::focus_leaves(&event) {
            close();
        }
    };
    let on_key = move |event: ev::KeyboardEvent| {
        if step.with_untracked(Option::is_some) {
            if event.key() == "Enter" {
                event.prevent_default();
                answer_step();
            }
            return;
        }
        let count = shown.with_untracked(Vec::len);
        match event.key().as_str() {
            "ArrowDown" if count > 0 => chosen.update(|chosen| *chosen = (*chosen + 1) % count),
            "ArrowUp" if count > 0 => chosen.update(|chosen| *chosen = (*chosen + count - 1) % count),
            "Enter" => {
                if let Some(place) = shown.with_untracked(|shown| shown.get(chosen.get_untracked()).cloned())
                {
                    go(place);
                }
            }
            // There is nothing else to focus.
            "Tab" => {}
            _ => return,
        }
        event.prevent_default();
    };
    let option = move |(i, place): (usize, Place)| {
        let target = place.clone();
        view! {
            <li
                role="option" id=format!("place-{i}") aria-selected=move || (chosen.get() == i).to_string()
                on:click=move |_| go(target.clone()) on:pointermove=move |_| if chosen.get_untracked() != i { chosen.set(i) }
            >
                <span>{place.name}</span><small class="muted">{place.kind}</small>
            </li>
        }
    };
    let close_keys = move |_| {
        if let Some(dialog) = keys.get_untracked() {
            dialog.close();
        }
    };
    let label =
        move || step.with(|step| step.as_ref().map_or_else(|| WHAT.to_owned(), |step| step.label.clone()));
    let list = move || {
        view! {
            <ul id="places" role="listbox" aria-label="Places">
                {move || shown.get().into_iter().enumerate().map(option).collect_view()}
            </ul>
            {move || shown.with(Vec::is_empty).then(|| view! { <p class="none" role="status">"No matches."</p> })}
        }
    };
    let turn_at_start = move |step: Step| {
        let is_open = {
            let step = step.clone();
            move || !pending.get() && typed.with(|typed| step.is_answered_by(typed))
        };
        let class =
            if step.kind == OperationKind::SnapshotSave { "btn primary" } else { "btn danger filled" };
        view! {
            <footer class="buttons">
                <button type="button" class=class disabled=move || !is_open() on:click=move |_| answer_step()>{step.button}</button>
                <button type="button" class="btn" on:click=move |_| show_step(None)>"Back"</button>
            </footer>
        }
    };
    view! {
        <dialog class="palette" popover="auto" node_ref=palette aria-label=WHAT data-testid="palette" on:toggle=on_toggle on:focusout=on_focus_out>
            <div id="palette-text" class="question" role="status">{move || step.get().map(|step| view! { <p>{step.text}</p><b>{step.label}</b> })}</div>
            <label class="search">
                <Glyph icon=Icon::Search/>
                <input
                    id="palette-input" type="text" node_ref=input placeholder=move || step.with(Option::is_none).then_some(WHAT) autocomplete="off" autocapitalize="none" spellcheck="false"
                    role=move || step.with(Option::is_none).then_some("combobox") aria-label=label
                    aria-expanded=move || step.with(Option::is_none).then_some("true")
                    aria-controls=move || step.with(Option::is_none).then_some("places")
                    aria-activedescendant=move || {
                        (step.with(Option::is_none) && !shown.with(Vec::is_empty)).then(|| format!("place-{}", chosen.get()))
                    }
                    aria-describedby="palette-text"
                    prop:value=typed
                    on:input=move |event| {
                        typed.set(event_target_value(&event));
                        chosen.set(0);
                        error.set(None);
                    }
                    on:keydown=on_key
                />
            </label>
            <div role="alert">{move || error.get().map(|text| view! { <p class="banner bad"><Glyph icon=Icon::Warning/><span>{text}</span></p> })}</div>
            {move || match step.get() {
                Some(step) => turn_at_start(step).into_any(),
                None => list().into_any(),
            }}
        </dialog>
        <dialog class="keys" node_ref=keys aria-labelledby="keys-title" data-testid="keys">
            <h2 id="keys-title">"Keyboard shortcuts"</h2>
            <dl>
                <div><dt><kbd>"Ctrl"</kbd> " " <kbd>"K"</kbd></dt><dd>"Go to a page or VM, or run an action"</dd></div>
                <div><dt><kbd>"/"</kbd></dt><dd>"Search on this page"</dd></div>
                {pages(is_admin).into_iter().map(|place| {
                    let letter = PAGES.iter().find(|(name, ..)| *name == place.name).map_or("", |(.., letter)| letter);
                    view! { <div><dt><kbd>"g"</kbd> " " <kbd>{letter}</kbd></dt><dd>{place.name}</dd></div> }
                }).collect_view()}
                <div><dt><kbd>"?"</kbd></dt><dd>"Show this list"</dd></div>
                <div><dt><kbd>"Esc"</kbd></dt><dd>"Close the open menu or dialog"</dd></div>
            </dl>
            <footer class="buttons"><button type="button" class="btn" on:click=close_keys>"Close"</button></footer>
        </dialog>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::feed::tests::vm;

    fn names(places: &[Place]) -> Vec<&str> {
        places.iter().map(|place| place.name.as_str()).collect()
    }

    #[test]
    fn prefixes_rank_before_substrings_and_those_before_single_letters() {
        let vm = |name: &str| Place { name: name.into(), kind: "VM".into(), does: Does::SignOut };
        let places = [vm("my-web"), vm("w-e-b"), vm("web-1"), vm("db")];
        assert_eq!(names(&found(&places, " WEB")), ["web-1", "my-web", "w-e-b"]);
        assert_eq!(found(&places, "").len(), 4);
        assert!(found(&places, "x").is_empty());
    }

    #[test]
    fn operations_are_listed_after_all_vms() {
        let mut vms = [vm(1), vm(2)];
        vms[0].allowed = vec![OperationKind::Stop, OperationKind::Restart, OperationKind::Destroy];
        assert_eq!(
            names(&places_of(&vms, false)),
            ["vm-1", "vm-2", "Stop vm-1", "Restart vm-1", "Destroy vm-1"]
        );
    }

    #[test]
    fn an_admin_sees_the_owner_of_a_vm() {
        let places = places_of(&[vm(1)], true);
        assert_eq!(places[0].kind, format!("{}'s VM", vm(1).owner_name));
        let target = Target::of(&vm(1), true);
        let step = Step::before(OperationKind::Destroy, &target).unwrap();
        assert!(step.text.starts_with(&target.label()) && target.label().ends_with(&vm(1).owner_name));
        assert_eq!(Target::of(&vm(1), false).kind("VM"), "VM");
    }

    #[test]
    fn what_loses_something_is_done_once_the_name_is_typed() {
        let vm = Target { id: 1, name: "web-1".into(), owner: None };
        let answers = |kind, typed| Step::before(kind, &vm).map(|step| step.is_answered_by(typed));
        for kind in [OperationKind::Destroy, OperationKind::ForceStop] {
            assert_eq!([answers(kind, ""), answers(kind, "web-2")], [Some(false); 2]);
            assert_eq!(answers(kind, " web-1 "), Some(true));
        }
        assert_eq!(answers(OperationKind::SnapshotSave, "before"), Some(true));
        assert_eq!(answers(OperationKind::SnapshotSave, " "), Some(false));
        assert_eq!(answers(OperationKind::Stop, ""), None);
    }

    #[test]
    fn only_admins_are_led_to_their_pages() {
        assert!(names(&pages(true)).contains(&"Admin"));
        assert!(!names(&pages(false)).iter().any(|name| *name == "Admin" || *name == "Accounts"));
    }

    #[test]
    fn every_page_has_a_letter_of_its_own() {
        let letters: std::collections::BTreeSet<_> = PAGES.iter().map(|(.., letter)| letter).collect();
        assert_eq!(letters.len(), PAGES.len());
    }
}
