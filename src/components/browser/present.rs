use crate::model::UtcMillis;
use leptos::prelude::{StoredValue, UpdateValue, document, on_cleanup, set_timeout_with_handle, window};
use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{EventTarget, VisibilityState};

/// The time by this machine's clock, which may be wrong.
pub fn now() -> UtcMillis {
    UtcMillis(js_sys::Date::now() as i64)
}

/// Minutes east of UTC that this machine's zone was, or will be, at a time.
pub fn utc_offset_minutes(at: UtcMillis) -> i32 {
    -(js_sys::Date::new(&JsValue::from_f64(at.0 as f64)).get_timezone_offset() as i32)
}

pub fn page_is_visible() -> bool {
    document().visibility_state() != VisibilityState::Hidden
}

/// What `work` comes to, or `None` when it takes longer than `millis`; it is dropped then.
pub async fn within<T>(millis: u32, work: impl Future<Output = T>) -> Option<T> {
    let over = Rc::new(Cell::new(false));
    let waiting: Rc<RefCell<Option<Waker>>> = Rc::default();
    let ring = {
        let (over, waiting) = (over.clone(), waiting.clone());
        move || {
            over.set(true);
            if let Some(waker) = waiting.borrow_mut().take() {
                waker.wake();
            }
        }
    };
    let alarm = set_timeout_with_handle(ring, Duration::from_millis(millis.into())).ok();
    let mut work = pin!(work);
    let outcome = std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if over.get() => Poll::Ready(None),
        Poll::Pending => {
            *waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        }
    })
    .await;
    if let Some(alarm) = alarm {
        alarm.clear();
    }
    outcome
}

/// Calls `then` whenever the page is hidden or seen again, until the calling owner is cleaned up.
pub fn on_visibility_change(then: impl Fn() + 'static) {
    listen(document().into(), "visibilitychange", then);
}

/// Calls `then` whenever this machine finds its network again, until the calling owner is cleaned up.
pub fn on_network_return(then: impl Fn() + 'static) {
    listen(window().into(), "online", then);
}

/// Calls `then` whenever the page changes between light and dark, until the calling owner is cleaned up.
pub fn on_colour_scheme_change(then: impl Fn() + 'static) {
    if let Ok(Some(dark)) = window().match_media("(prefers-color-scheme: dark)") {
        listen(dark.into(), "change", then);
    }
}

fn listen(target: EventTarget, event: &'static str, then: impl Fn() + 'static) {
    let listener = Closure::<dyn Fn()>::new(then);
    let _ = target.add_event_listener_with_callback(event, listener.as_ref().unchecked_ref());
    let kept = StoredValue::new_local(Some((target, listener)));
    on_cleanup(move || {
        if let Some((target, listener)) = kept.try_update_value(Option::take).flatten() {
            let _ = target.remove_event_listener_with_callback(event, listener.as_ref().unchecked_ref());
        }
    });
}
