//! Views whose code comes in a part of the wasm of its own (`#[wasm_split]`).

use super::notice::NotLoaded;
use leptos::{prelude::*, reactive::spawn_local_scoped_with_cancellation, wasm_split::SplitLoaderError};
use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

pub type Coming<T> = Pin<Box<dyn Future<Output = Result<T, SplitLoaderError>>>>;
pub type Part = Box<dyn Fn() -> Coming<AnyView> + Send + Sync>;

/// What a part shows, at once where its code is there: on the server, and where the browser takes the server's page over.
/// No `Suspense` stands around it, for that may run what it holds several times, and with it begin a page's requests.
pub fn when_there(mut code: Coming<()>, part: Part) -> AnyView {
    let part = move || match now(part().as_mut()) {
        Some(Ok(view)) => view,
        _ => view! { <NotLoaded/> }.into_any(),
    };
    if let Some(came) = now(code.as_mut()) {
        return if came.is_ok() { part() } else { view! { <NotLoaded/> }.into_any() };
    }
    let there = RwSignal::new(None);
    spawn_local_scoped_with_cancellation(async move { there.set(Some(code.await.is_ok())) });
    let shown = move || match there.get() {
        None => view! { <div class="panel blank tall" role="status" aria-label="Loading"></div> }.into_any(),
        Some(true) => untrack(&part),
        Some(false) => view! { <NotLoaded/> }.into_any(),
    };
    shown.into_any()
}

/// What comes, if it is there.
pub fn now<T>(coming: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    match coming.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(came) => Some(came),
        Poll::Pending => None,
    }
}
