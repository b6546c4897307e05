//! Forms that call a server function, and the result of the call. Like Leptos's own `ServerAction` and `ActionForm`, but
//! the browser posts the form's encoded fields as they are. Building the function's arguments from them first would be
//! most of such a form's wasm.

use super::browser;
use crate::model::ApiError;
use leptos::{
    ev::SubmitEvent,
    prelude::*,
    server_fn::{
        Decodes, Http, ServerFn,
        codec::{Json, JsonEncoding, PostUrl},
        error::ServerFnUrlError,
    },
    task::spawn_local,
};
use std::{marker::PhantomData, sync::Arc};

/// The result of the latest call of a server function.
pub struct ServerAction<S: ServerFn> {
    value: RwSignal<Option<Result<S::Output, ApiError>>>,
    submission: Submission,
    kind: PhantomData<fn(S)>,
}

/// The state of the call, independent of the type of its result.
#[derive(Clone, Copy)]
struct Submission {
    /// The number of responses so far.
    version: RwSignal<usize>,
    /// The percent-encoded body of the pending request.
    body: RwSignal<Option<String>>,
}

impl<S: ServerFn> Clone for ServerAction<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: ServerFn> Copy for ServerAction<S> {}

impl<S> ServerAction<S>
where
    S: ServerFn<Error = ApiError> + 'static,
    S::Output: Clone + Send + Sync + 'static,
{
    /// Starts with the error of a form that was sent without JavaScript, which Leptos returns in the page's address.
    pub fn new() -> Self {
        Self {
            value: RwSignal::new(error_in_address(S::PATH).map(Err)),
            submission: Submission { version: RwSignal::new(0), body: RwSignal::new(None) },
            kind: PhantomData,
        }
    }

    pub fn value(self) -> RwSignal<Option<Result<S::Output, ApiError>>> {
        self.value
    }

    pub fn version(self) -> RwSignal<usize> {
        self.submission.version
    }

    pub fn pending(self) -> Signal<bool> {
        let body = self.submission.body;
        Signal::derive(move || body.with(Option::is_some))
    }

    /// Whether the pending request has this field with this value, which must not need percent-encoding.
    pub fn is_sent_with(self, field: &str, value: &str) -> bool {
        self.submission.body.with(|body| {
            let pairs = body.as_deref().unwrap_or_default().split('&');
            pairs.filter_map(|pair| pair.split_once('=')).any(|pair| pair == (field, value))
        })
    }
}

/// An action of any server function with this result: forms are compiled once for each result, not once for each function.
pub struct FormAction<T: 'static> {
    path: &'static str,
    value: RwSignal<Option<Result<T, ApiError>>>,
    submission: Submission,
}

impl<S> From<ServerAction<S>> for FormAction<S::Output>
where
    S: ServerFn<Error = ApiError, Protocol = Http<PostUrl, Json>>,
{
    fn from(action: ServerAction<S>) -> Self {
        Self { path: S::PATH, value: action.value, submission: action.submission }
    }
}

fn error_in_address(path: &str) -> Option<ApiError> {
    let error = use_context::<ServerActionError>()?;
    (error.path() == path).then(|| ServerFnUrlError::<ApiError>::decode_err(error.err()))
}

/// A form for `action`, which also works without JavaScript.
#[component]
pub fn ActionForm<T>(
    #[prop(into)] action: FormAction<T>,
    #[prop(optional)] class: &'static str,
    #[prop(optional)] id: Option<&'static str>,
    /// The page validates the fields itself.
    #[prop(optional, into)]
    novalidate: Signal<bool>,
    /// Can prevent the submission.
    #[prop(optional, into)]
    guard: Option<Callback<SubmitEvent>>,
    children: Children,
) -> impl IntoView
where
    T: serde::de::DeserializeOwned + Clone + Send + Sync + 'static,
{
    let FormAction { path, value, submission } = action;
    let answered = move |answer: Result<Vec<u8>, ApiError>| {
        let answer = answer.and_then(|bytes| {
            let unreadable = |_| {
                ApiError::new(
                    crate::model::ErrorCode::Unreachable,
                    "The action succeeded, but the server has been updated since this page was loaded. Reload the page.",
                )
            };
            <JsonEncoding as Decodes<T>>::decode(bytes.into()).map_err(unreadable)
        });
        // The page may have been closed.
        value.try_set(Some(answer));
    };
    plain_form(path, submission, Arc::new(answered), class, id, novalidate, guard, children)
}

type Answered = Arc<dyn Fn(Result<Vec<u8>, ApiError>) + Send + Sync>;

#[expect(clippy::too_many_arguments, reason = "the props of a component, compiled once for all types")]
fn plain_form(
    path: &'static str,
    submission: Submission,
    answered: Answered,
    class: &'static str,
    id: Option<&'static str>,
    novalidate: Signal<bool>,
    guard: Option<Callback<SubmitEvent>>,
    children: Children,
) -> AnyView {
    let on_submit = move |event: SubmitEvent| {
        if let Some(guard) = guard {
            guard.run(event.clone());
        }
        if event.default_prevented() {
            return;
        }
        let Some(body) = browser::form_body(&event) else { return };
        event.prevent_default();
        submission.body.set(Some(body.clone()));
        let answered = answered.clone();
        spawn_local(async move {
            answered(browser::post_form(path, body).await);
            submission.body.try_set(None);
            submission.version.try_update(|version| *version += 1);
        });
    };
    view! {
        <form action=path method="post" class=class id=id novalidate=move || novalidate.get() on:submit=on_submit>
            {children()}
        </form>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::StopVm;

    #[test]
    fn a_pending_request_is_identified_by_its_fields() {
        let owner = Owner::new();
        owner.set();
        let stop = ServerAction::<StopVm>::new();
        assert!(!stop.is_sent_with("vm_id", "7"));
        stop.submission.body.set(Some("confirm=a%26b&vm_id=7".into()));
        assert!(stop.is_sent_with("vm_id", "7") && stop.pending().get());
        assert!(!stop.is_sent_with("vm_id", "77"));
    }
}
