//! The dialogs of the palette and of the list of shortcuts.

use super::{
    Opened,
    places::{Does, PAGES, Place, all_places, found, pages},
    step::{Step, run},
};
use crate::{
    api::{SignOut, list_vms, set_theme},
    components::{
        browser,
        icon::{Glyph, Icon},
        toast::Toasts,
    },
    model::OperationKind,
};
use leptos::{ev, html, prelude::*, server_fn::ServerFn, task::spawn_local};
use leptos_router::{NavigateOptions, hooks::use_navigate};

/// The palette and the list of shortcuts.
#[component]
pub(super) fn Dialogs(is_admin: bool, opened: RwSignal<Option<Opened>>) -> impl IntoView {
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
