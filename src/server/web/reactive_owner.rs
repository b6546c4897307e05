//! Keeps the reactive owners of requests apart.
//!
//! `leptos_integration_utils` 0.8.9 makes a root owner for each page with `Owner::new_root`, which also makes it the current
//! owner of the thread, and leaves it so. Whatever runs on that thread later without an owner of its own, such as the parts of
//! another page that are rendered while its body is streamed, would belong to that page: be disposed of with it, and find its
//! contexts, among them the cookies of another user. So each poll of a request, and of its response's body, runs with the owner
//! of this request, and puts back the previous one.

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use leptos::prelude::{Owner, use_context};
use std::{
    pin::Pin,
    sync::{Arc, OnceLock, Weak},
    task::{Context, Poll},
};

/// The owners of one request.
struct Owners {
    /// For what runs before the page has its own, and for requests that are no pages.
    base: Owner,
    page: OnceLock<Owner>,
}

impl Owners {
    fn with<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.page.get().unwrap_or(&self.base).with(poll)
    }
}

/// In the request's extensions. Weak, because the page's owner holds the request's parts.
#[derive(Clone)]
struct OwnersOfRequest(Weak<Owners>);

/// Runs the request with owners of its own.
pub async fn keep_apart(mut request: Request, next: Next) -> Response {
    let owners = Arc::new(Owners { base: Owner::new(), page: OnceLock::new() });
    request.extensions_mut().insert(OwnersOfRequest(Arc::downgrade(&owners)));
    let response = Owned { owners: owners.clone(), inner: Box::pin(next.run(request)) }.await;
    response.map(|body| Body::new(Owned { owners, inner: body }))
}

/// Makes the current owner, the root of a page, that of the request whose parts are its context.
pub fn keep_root() {
    let owners = use_context::<axum::http::request::Parts>()
        .and_then(|parts| parts.extensions.get::<OwnersOfRequest>()?.0.upgrade());
    if let (Some(owners), Some(root)) = (owners, Owner::current()) {
        let _ = owners.page.set(root);
    }
}

struct Owned<T> {
    owners: Arc<Owners>,
    inner: T,
}

impl<F: Future + Unpin> Future for Owned<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        this.owners.with(|| Pin::new(&mut this.inner).poll(context))
    }
}

impl HttpBody for Owned<Body> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        this.owners.with(|| Pin::new(&mut this.inner).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
