//! A form that asks something of the server, and what came of it. As Leptos' own of these names, but that the browser
//! sends what the form holds as it stands: it knows nothing of a server function's arguments, which is most of what such
//! a form costs in wasm.

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

/// What came of the newest request of one kind.
pub struct ServerAction<S: ServerFn> {
    value: RwSignal<Option<Result<S::Output, ApiError>>>,
    asked: Asked,
    kind: PhantomData<fn(S)>,
}

/// What there is to know of it whatever its answer is.
#[derive(Clone, Copy)]
struct Asked {
    /// Counts the answers.
    version: RwSignal<usize>,
    /// What was sent and has no answer yet, percent-encoded.
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
    /// Begins with the refusal of a form that was sent without JavaScript, which stands in the page's address.
    pub fn new() -> Self {
        Self {
            value: RwSignal::new(refused_before(S::PATH).map(Err)),
            asked: Asked { version: RwSignal::new(0), body: RwSignal::new(None) },
            kind: PhantomData,
        }
    }

    pub fn value(self) -> RwSignal<Option<Result<S::Output, ApiError>>> {
        self.value
    }

    pub fn version(self) -> RwSignal<usize> {
        self.asked.version
    }

    pub fn pending(self) -> Signal<bool> {
        let body = self.asked.body;
        Signal::derive(move || body.with(Option::is_some))
    }

    /// Whether what has no answer yet was sent with a field of this value; plain words only.
    pub fn is_sent_with(self, field: &str, value: &str) -> bool {
        self.asked.body.with(|body| {
            let pairs = body.as_deref().unwrap_or_default().split('&');
            pairs.filter_map(|pair| pair.split_once('=')).any(|pair| pair == (field, value))
        })
    }
}

fn refused_before(path: &str) -> Option<ApiError> {
    let error = use_context::<leptos::server::ServerActionError>()?;
    (error.path() == path).then(|| ServerFnUrlError::<ApiError>::decode_err(error.err()))
}

/// A form for `action`, which works without JavaScript too.
#[component]
pub fn ActionForm<S>(
    action: ServerAction<S>,
    #[prop(optional)] class: &'static str,
    #[prop(optional)] id: Option<&'static str>,
    /// The page says itself what is wrong with a field.
    #[prop(optional, into)]
    novalidate: Signal<bool>,
    /// May keep the form from being sent.
    #[prop(optional, into)]
    guard: Option<Callback<SubmitEvent>>,
    children: Children,
) -> impl IntoView
where
    S: ServerFn<Error = ApiError, Protocol = Http<PostUrl, Json>> + 'static,
    S::Output: serde::de::DeserializeOwned + Clone + Send + Sync + 'static,
{
    let answered = move |answer: Result<Vec<u8>, ApiError>| {
        let answer = answer.and_then(|bytes| {
            let unreadable = |_| {
                ApiError::new(
                    crate::model::ErrorCode::Unreachable,
                    "It was done, but the server's answer could not be read: it has been updated. Please load this page again.",
                )
            };
            <JsonEncoding as Decodes<S::Output>>::decode(bytes.into()).map_err(unreadable)
        });
        // The page may be gone by now.
        action.value.try_set(Some(answer));
    };
    plain_form(S::PATH, action.asked, Arc::new(answered), class, id, novalidate, guard, children)
}

type Answered = Arc<dyn Fn(Result<Vec<u8>, ApiError>) + Send + Sync>;

#[expect(clippy::too_many_arguments, reason = "a component's, once for all types")]
fn plain_form(
    path: &'static str,
    asked: Asked,
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
        asked.body.set(Some(body.clone()));
        let answered = answered.clone();
        spawn_local(async move {
            answered(browser::post_form(path, body).await);
            asked.body.try_set(None);
            asked.version.try_update(|version| *version += 1);
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
    fn a_request_is_known_by_what_it_was_sent_with() {
        let owner = Owner::new();
        owner.set();
        let stop = ServerAction::<StopVm>::new();
        assert!(!stop.is_sent_with("vm_id", "7"));
        stop.asked.body.set(Some("confirm=a%26b&vm_id=7".into()));
        assert!(stop.is_sent_with("vm_id", "7") && stop.pending().get());
        assert!(!stop.is_sent_with("vm_id", "77"));
    }
}
