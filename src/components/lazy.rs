//! Views and functions beside the routes whose code loads later (`#[wasm_split]`).

use super::banner::PageNotLoaded;
use leptos::{prelude::*, reactive::spawn_local_scoped_with_cancellation, wasm_split::SplitLoaderError};
use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

pub type Loading<T> = Pin<Box<dyn Future<Output = Result<T, SplitLoaderError>>>>;

/// Shows `view` once `code` is loaded. Without a `Suspense`, which would run `view` as often as a signal in it changes.
pub fn lazy_view(code: Loading<()>, view: impl Fn() -> Loading<AnyView> + Send + Sync + 'static) -> AnyView {
    let is_loaded = RwSignal::new(None);
    spawn_local_scoped_with_cancellation(async move { is_loaded.set(Some(code.await.is_ok())) });
    let shown = move || match is_loaded.get() {
        None => view! { <div class="panel blank tall" role="status" aria-label="Loading"></div> }.into_any(),
        Some(true) => match untrack(|| if_ready(view().as_mut())) {
            Some(Ok(view)) => view,
            _ => view! { <PageNotLoaded/> }.into_any(),
        },
        Some(false) => view! { <PageNotLoaded/> }.into_any(),
    };
    shown.into_any()
}

/// The future's output, if it need not wait.
pub fn if_ready<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
