//! Completes what a client has asked for, even if it hangs up meanwhile.
//!
//! A page is rendered by several tasks that share reactive values. If the response of a client that hangs up were dropped,
//! its values would be disposed of while the other tasks still use them, and those would panic. So requests run in a task of
//! their own, and the body of a page is rendered to its end. The place of the connection is taken until then.

use super::serve::Place;
use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::stream;
use http_body_util::BodyExt;
use std::io;
use tokio::sync::mpsc;
use tracing::Instrument;

/// Runs a request to its end.
pub async fn complete(mut request: Request, next: Next) -> Response {
    // Not with the request's parts, which a page keeps as long as any of its values.
    let place = request.extensions_mut().remove::<Place>();
    let run = async move {
        let response = next.run(request).await;
        if is_page(response.headers()) { response.map(|body| to_its_end(body, place)) } else { response }
    };
    // What has panicked is in the log.
    tokio::spawn(run.in_current_span())
        .await
        .unwrap_or_else(|error| super::super::internal(error).into_response())
}

fn is_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/html"))
}

/// The same body, read to its end whether it is asked for or not.
fn to_its_end(mut body: Body, place: Option<Place>) -> Body {
    let (sender, receiver) = mpsc::channel::<Option<Result<Bytes, axum::Error>>>(1);
    tokio::spawn(async move {
        let _place = place;
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame.map(|frame| frame.into_data().ok()).transpose() {
                // Fails when nobody asks for it any more.
                let _ = sender.send(Some(data)).await;
            }
        }
        let _ = sender.send(None).await;
    });
    Body::from_stream(stream::unfold(Some(receiver), async |receiver| {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Some(data)) => Some((data.map_err(io::Error::other), Some(receiver))),
            Some(None) => None,
            // It panicked: the client must not take the page for a whole one.
            None => Some((Err(io::Error::other("the page was not completed")), None)),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        Router,
        middleware::from_fn,
        routing::{get, post},
    };
    use std::{
        convert::Infallible,
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };
    use tokio::{
        sync::Notify,
        time::{sleep, timeout},
    };
    use tower::ServiceExt;

    fn page(parts: impl futures::Stream<Item = &'static str> + Send + 'static) -> Response {
        let body = Body::from_stream(futures::StreamExt::map(parts, Ok::<_, Infallible>));
        ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response()
    }

    async fn early() -> Response {
        panic!("on purpose")
    }

    fn request() -> Request {
        Request::get("/").body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn a_page_whose_client_hangs_up_is_rendered_to_its_end() {
        let (rendered, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let parts = {
            let (rendered, done) = (rendered.clone(), done.clone());
            move || {
                let (rendered, done) = (rendered.clone(), done.clone());
                async move {
                    page(futures::StreamExt::map(stream::iter(0..10), move |n| {
                        rendered.fetch_add(1, Ordering::Relaxed);
                        if n == 9 {
                            done.notify_one();
                        }
                        "part"
                    }))
                }
            }
        };
        let router = Router::new().route("/", get(parts)).layer(from_fn(complete));
        let response = router.oneshot(request()).await.unwrap();
        drop(response);
        done.notified().await;
        assert_eq!(rendered.load(Ordering::Relaxed), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_post_runs_once_for_a_client_that_waits_hangs_up_or_tries_again() {
        let begun = Arc::new(AtomicUsize::new(0));
        let (ended, body_of_last) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
        let slow = {
            let (begun, ended, last) = (begun.clone(), ended.clone(), body_of_last.clone());
            move |body: String| async move {
                begun.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_secs(60)).await;
                *last.lock().unwrap() = body;
                ended.fetch_add(1, Ordering::Relaxed);
                page(stream::iter(["done"]))
            }
        };
        let router = Router::new().route("/", post(slow)).layer(from_fn(complete));
        let send =
            |body: &'static str| router.clone().oneshot(Request::post("/").body(Body::from(body)).unwrap());
        let counts = || (begun.load(Ordering::Relaxed), ended.load(Ordering::Relaxed));

        assert_eq!(send("waits").await.unwrap().status(), 200);
        assert_eq!(counts(), (1, 1));

        assert!(timeout(Duration::from_secs(20), send("hangs up")).await.is_err());
        assert_eq!(counts(), (2, 1));
        sleep(Duration::from_secs(60)).await;
        assert_eq!((counts(), body_of_last.lock().unwrap().as_str()), ((2, 2), "hangs up"));

        // Whoever tries again has asked twice.
        assert!(timeout(Duration::from_secs(20), send("first")).await.is_err());
        assert_eq!(send("second").await.unwrap().status(), 200);
        sleep(Duration::from_secs(600)).await;
        assert_eq!(counts(), (4, 4));
    }

    #[tokio::test]
    async fn a_page_that_panics_is_an_error_and_does_not_pass_for_a_whole_one() {
        let whole = || async { page(stream::iter(["<html>", "</html>"])) };
        let broken = || async {
            page(stream::unfold(0, async |n| {
                assert!(n < 1, "on purpose");
                Some(("<html>", n + 1))
            }))
        };
        let router = Router::new()
            .route("/", get(whole))
            .route("/broken", get(broken))
            .route("/early", get(early))
            .layer(from_fn(complete));
        let read = async |path: &str| {
            let response =
                router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
            let status = response.status().as_u16();
            (status, response.into_body().collect().await.ok().map(http_body_util::Collected::to_bytes))
        };
        assert_eq!(read("/").await, (200, Some("<html></html>".into())));
        assert_eq!(read("/broken").await, (200, None));
        assert_eq!(read("/early").await.0, 500);
    }
}
