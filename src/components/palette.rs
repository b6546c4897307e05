//! Everything by keyboard: the palette (Ctrl-K or Cmd-K) leads to any page and VM and starts and stops them, a few keys
//! lead at once, and `?` lists them. Nothing of it is needed: each has a link or button of its own.

use super::{
    browser,
    icon::{Glyph, Icon},
    part::when_there,
};
use crate::{
    api::{list_vms, restart_vm, start_vm, stop_vm},
    model::{OperationKind, VmView},
};
use leptos::{
    ev, html,
    prelude::*,
    task::spawn_local,
    wasm_split::{SplitLoaderError, wasm_split},
};
use leptos_router::hooks::use_navigate;

/// Where one can go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    name: String,
    /// What it is, for the eye.
    kind: &'static str,
    path: String,
    /// What is asked of which VM on the way there.
    asks: Option<(OperationKind, i64)>,
}

/// What can be asked of a VM here.
const ACTIONS: [(OperationKind, &str); 3] =
    [(OperationKind::Start, "Start"), (OperationKind::Stop, "Stop"), (OperationKind::Restart, "Restart")];

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
/// Pages that lead an admin somewhere, and nobody else.
const FOR_ADMINS: [&str; 2] = ["/admin", "/admin/accounts"];
/// So many are shown at once.
const SHOWN: usize = 12;

fn pages(is_admin: bool) -> Vec<Place> {
    let may_see = |path: &str| is_admin || !FOR_ADMINS.contains(&path);
    let pages = PAGES.iter().filter(|(_, path, _)| may_see(path));
    let place = |(name, path, _): &(&str, &str, &str)| Place {
        name: (*name).into(),
        kind: "page",
        path: (*path).into(),
        asks: None,
    };
    pages.map(place).collect()
}

/// The VMs, and behind them what may be asked of each now.
fn places_of(vms: &[VmView]) -> Vec<Place> {
    let place = |vm: &VmView| Place {
        name: vm.name.clone(),
        kind: "VM",
        path: format!("/vms/{}", vm.id),
        asks: None,
    };
    let actions = vms.iter().flat_map(|vm| {
        ACTIONS.iter().filter(|(kind, _)| vm.allowed.contains(kind)).map(|(kind, word)| Place {
            name: format!("{word} {}", vm.name),
            kind: "action",
            asks: Some((*kind, vm.id)),
            ..place(vm)
        })
    });
    vms.iter().map(place).chain(actions).collect()
}

/// Those that have all letters of `typed` in this order, first those whose name begins with it, then those that hold
/// it in one piece.
fn found(places: &[Place], typed: &str) -> Vec<Place> {
    let typed = typed.trim().to_lowercase();
    let rank = |place: &Place| {
        let name = place.name.to_lowercase();
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

/// What opens a few buttons or fields over the page.
const MENUS: &str = "details.more";

/// What a key has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    Palette,
    Keys,
}

/// Listens to the keys on every page of who is signed in. What they open comes when it is first asked for.
#[component]
pub fn Keyboard(is_admin: bool) -> impl IntoView {
    let opened = RwSignal::new(None::<Opened>);
    let navigate = use_navigate();
    // `g` waits for the letter behind it.
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
            if key == "Escape" {
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
                        navigate(path, Default::default());
                    }
                }
                "g" => after_g.set_value(true),
                "?" => opened.set(Some(Opened::Keys)),
                // The key itself is not what is searched for.
                "/" if browser::focus_search() => event.prevent_default(),
                _ => {}
            }
        });
        on_cleanup(move || listener.remove());
    });
    let is_wanted = Memo::new(move |before: Option<&bool>| before == Some(&true) || opened.get().is_some());
    move || {
        is_wanted.get().then(|| {
            when_there(Box::pin(load_dialogs()), Box::new(move || Box::pin(dialogs(is_admin, opened))))
        })
    }
}

#[wasm_split(palette, wasm_split_path = ::leptos::wasm_split, preload(load_dialogs), fallible)]
fn dialogs(is_admin: bool, opened: RwSignal<Option<Opened>>) -> Result<AnyView, SplitLoaderError> {
    Ok(view! { <Dialogs is_admin opened/> }.into_any())
}

/// The palette and the list of keys.
#[component]
fn Dialogs(is_admin: bool, opened: RwSignal<Option<Opened>>) -> impl IntoView {
    let palette = NodeRef::<html::Dialog>::new();
    let keys = NodeRef::<html::Dialog>::new();
    let input = NodeRef::<html::Input>::new();
    let typed = RwSignal::new(String::new());
    let chosen = RwSignal::new(0_usize);
    let places = RwSignal::new(pages(is_admin));
    let shown = Memo::new(move |_| places.with(|places| found(places, &typed.get())));
    let navigate = use_navigate();
    let lead_to = Callback::new(move |path: String| navigate(&path, Default::default()));
    let refusal = RwSignal::new(None::<String>);
    let leave_for = move |path: String| {
        if let Some(dialog) = palette.get_untracked() {
            let _ = dialog.hide_popover();
        }
        lead_to.run(path);
    };
    let go = move |place: Place| {
        let Some((kind, vm_id)) = place.asks else { return leave_for(place.path) };
        spawn_local(async move {
            let answer = match kind {
                OperationKind::Start => start_vm(vm_id).await,
                OperationKind::Stop => stop_vm(vm_id).await,
                _ => restart_vm(vm_id).await,
            };
            match answer {
                Ok(_) => leave_for(place.path),
                Err(error) => refusal.set(Some(error.text)),
            }
        });
    };
    let open = move || {
        let Some(dialog) = palette.get_untracked() else { return };
        typed.set(String::new());
        chosen.set(0);
        refusal.set(None);
        // As a popover: a modal dialog makes the browser style every element of the page anew, which a press would wait
        // for. It is refused while it is open already.
        let _ = dialog.show_popover();
        if let Some(input) = input.get_untracked() {
            let _ = input.focus();
        }
        spawn_local(async move {
            if let Ok(vms) = list_vms().await {
                places.try_set(pages(is_admin).into_iter().chain(places_of(&vms)).collect());
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
    let on_key = move |event: ev::KeyboardEvent| {
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
            // There is nothing else in here to go to.
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
    view! {
        <dialog class="palette" popover="auto" node_ref=palette aria-modal="true" aria-label="Jump to a page, VM or action" data-testid="palette">
            <label class="search">
                <Glyph icon=Icon::Search/>
                <input
                    type="text" node_ref=input placeholder="Jump to a page, VM or action" autocomplete="off" spellcheck="false"
                    role="combobox" aria-label="Jump to a page, VM or action" aria-expanded="true" aria-controls="places"
                    aria-activedescendant=move || format!("place-{}", chosen.get())
                    prop:value=typed
                    on:input=move |event| {
                        typed.set(event_target_value(&event));
                        chosen.set(0);
                        refusal.set(None);
                    }
                    on:keydown=on_key
                />
            </label>
            <div role="alert">{move || refusal.get().map(|text| view! { <p class="banner bad"><Glyph icon=Icon::Warning/><span>{text}</span></p> })}</div>
            <ul id="places" role="listbox" aria-label="Places">
                {move || shown.get().into_iter().enumerate().map(option).collect_view()}
            </ul>
            {move || shown.with(Vec::is_empty).then(|| view! { <p class="none" role="status">"There is nothing with that name."</p> })}
        </dialog>
        <dialog class="keys" node_ref=keys aria-labelledby="keys-title" data-testid="keys">
            <h2 id="keys-title">"Keys"</h2>
            <dl>
                <div><dt><kbd>"Ctrl"</kbd> " " <kbd>"K"</kbd></dt><dd>"Jump to a page, VM or action"</dd></div>
                <div><dt><kbd>"/"</kbd></dt><dd>"Search on this page"</dd></div>
                {pages(is_admin).into_iter().map(|place| {
                    let letter = PAGES.iter().find(|(_, path, _)| *path == place.path).map_or("", |(.., letter)| letter);
                    view! { <div><dt><kbd>"g"</kbd> " " <kbd>{letter}</kbd></dt><dd>{place.name}</dd></div> }
                }).collect_view()}
                <div><dt><kbd>"?"</kbd></dt><dd>"This list"</dd></div>
                <div><dt><kbd>"Esc"</kbd></dt><dd>"Close what is open"</dd></div>
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
    fn what_begins_so_comes_before_what_holds_it_and_that_before_single_letters() {
        let vm = |name: &str| Place { name: name.into(), kind: "VM", path: String::new(), asks: None };
        let places = [vm("my-web"), vm("w-e-b"), vm("web-1"), vm("db")];
        assert_eq!(names(&found(&places, " WEB")), ["web-1", "my-web", "w-e-b"]);
        assert_eq!(found(&places, "").len(), 4);
        assert!(found(&places, "x").is_empty());
    }

    #[test]
    fn what_may_be_asked_of_a_vm_stands_behind_all_vms() {
        let mut vms = [vm(1), vm(2)];
        vms[0].allowed = vec![OperationKind::Stop, OperationKind::Restart, OperationKind::Destroy];
        assert_eq!(names(&places_of(&vms)), ["vm-1", "vm-2", "Stop vm-1", "Restart vm-1"]);
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
