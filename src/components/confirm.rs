//! Confirmation of destructive actions: a dialog says what is lost, and the name must be typed.
//!
//! The button is a link to the dialog's id, so that without JavaScript the address opens it (`:target`) and the field's
//! `pattern` compares; with it the dialog is modal, and the form's button waits for the name.

use super::{browser, hydration::is_hydrated};
use leptos::{ev, html, prelude::*};

/// A confirmation on a page.
#[derive(Clone, Copy)]
pub struct Question {
    /// The dialog's id, unique on the page.
    id: StoredValue<String>,
    /// What must be typed.
    expected: StoredValue<String>,
    typed: RwSignal<String>,
}

impl Question {
    pub fn new(id: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            id: StoredValue::new(id.into()),
            expected: StoredValue::new(expected.into()),
            typed: RwSignal::default(),
        }
    }
}

/// The button that opens the dialog. `of` names its object for screen readers, if several buttons have the same label.
#[component]
pub fn ConfirmButton(
    question: Question,
    #[prop(default = "btn danger")] class: &'static str,
    #[prop(optional)] test_id: Option<&'static str>,
    #[prop(optional, into)] of: String,
    children: Children,
) -> impl IntoView {
    let open = move || question.id.with_value(|id| browser::open_dialog(id));
    view! {
        <a
            class=class href=format!("#{}", question.id.get_value()) role="button" aria-haspopup="dialog" data-testid=test_id
            on:click=move |event| {
                if open() {
                    event.prevent_default();
                }
            }
            // A button is pressed by the space bar, too.
            on:keydown=move |event: ev::KeyboardEvent| {
                if event.key() == " " && open() {
                    event.prevent_default();
                }
            }
        >
            {children()}
            {(!of.is_empty()).then(|| view! { <span class="unseen">" " {of}</span> })}
        </a>
    }
}

/// The dialog. Its children include a form with the [`Confirmation`]; submitting it closes the dialog, and the page shows
/// the result.
#[component]
pub fn Confirm(question: Question, #[prop(into)] title: String, children: Children) -> impl IntoView {
    let dialog = NodeRef::<html::Dialog>::new();
    let is_hydrated = is_hydrated();
    // Opened by the address before hydration: now it becomes modal.
    Effect::new(move || {
        if let Some(dialog) = dialog.get()
            && dialog.matches(":target") == Ok(true)
        {
            let _ = dialog.show_modal();
        }
    });
    let id = question.id.get_value();
    let title_id = format!("title-of-{id}");
    let labelled_by = title_id.clone();
    view! {
        <dialog
            id=id node_ref=dialog class:plain=move || !is_hydrated.get() aria-labelledby=labelled_by
            on:close=move |_| question.typed.set(String::new())
            on:submit=move |_| {
                if let Some(dialog) = dialog.get_untracked() {
                    dialog.close();
                }
            }
        >
            <h2 id=title_id>{title}</h2>
            {children()}
        </dialog>
    }
}

/// The end of the dialog's form: the field for the name, the button and "Cancel". `field` is the form field of the name, if
/// the server checks it too.
#[component]
pub fn Confirmation(
    question: Question,
    #[prop(optional)] field: Option<&'static str>,
    label: &'static str,
    #[prop(optional, into)] disabled: Signal<bool>,
    #[prop(optional)] children: Option<Children>,
) -> impl IntoView {
    let Question { id, expected, typed } = question;
    let is_hydrated = is_hydrated();
    let is_typed =
        Memo::new(move |_| typed.with(|typed| expected.with_value(|expected| typed.trim() == expected)));
    let input_id = id.with_value(|id| format!("name-for-{id}"));
    let expected = expected.get_value();
    view! {
        <div class="field">
            <label for=input_id.clone()>"Type " <b class="path">{expected.clone()}</b> " to confirm"</label>
            <span class="control">
                <input
                    id=input_id name=field required pattern=pattern(&expected) title=format!("Type {expected}.")
                    autocomplete="off" autocapitalize="none" spellcheck="false"
                    prop:value=typed
                    on:input=move |event| typed.set(event_target_value(&event))
                />
            </span>
        </div>
        {children.map(|children| children())}
        <footer class="buttons">
            <button type="submit" class="btn danger filled" disabled=move || disabled.get() || is_hydrated.get() && !is_typed.get()>
                {label}
            </button>
            <a
                class="btn" role="button" href="#"
                on:click=move |event| {
                    if id.with_value(|id| browser::close_dialog(id)) {
                        event.prevent_default();
                    }
                }
            >
                "Cancel"
            </a>
        </footer>
    }
}

/// The regular expression for a field's `pattern` that matches this text with optional spaces around it.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("\\s*");
    for letter in text.chars() {
        if "^$\\.*+?()[]{}|/".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "\\s*"
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn a_name_is_no_expression() {
        assert_eq!(pattern("web-1"), r"\s*web-1\s*");
        assert_eq!(pattern("/srv/a.b (1)"), r"\s*\/srv\/a\.b \(1\)\s*");
    }
}
