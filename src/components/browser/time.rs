//! Time in the browser.

use crate::model::UtcMillis;
use leptos::prelude::set_timeout_with_handle;
use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};
use wasm_bindgen::JsValue;

/// The time of this machine's clock, which may be wrong.
pub fn now() -> UtcMillis {
    UtcMillis(js_sys::Date::now() as i64)
}

/// The offset of this machine's time zone from UTC at a time; positive east of UTC.
pub fn utc_offset_minutes(at: UtcMillis) -> i32 {
    -(js_sys::Date::new(&JsValue::from_f64(at.0 as f64)).get_timezone_offset() as i32)
}

/// The IANA name of the browser's time zone; empty if unknown.
pub fn time_zone() -> String {
    let format = js_sys::Intl::DateTimeFormat::new(&js_sys::Array::new(), &js_sys::Object::new());
    let zone = js_sys::Reflect::get(&format.resolved_options(), &JsValue::from_str("timeZone"));
    zone.ok().and_then(|zone| zone.as_string()).unwrap_or_default()
}

/// The output of `future`, or `None` if it takes longer than `millis`; the future is then dropped.
pub async fn timeout<T>(millis: u32, future: impl Future<Output = T>) -> Option<T> {
    let is_elapsed = Rc::new(Cell::new(false));
    let waiting: Rc<RefCell<Option<Waker>>> = Rc::default();
    let elapse = {
        let (is_elapsed, waiting) = (is_elapsed.clone(), waiting.clone());
        move || {
            is_elapsed.set(true);
            if let Some(waker) = waiting.borrow_mut().take() {
                waker.wake();
            }
        }
    };
    let timer = set_timeout_with_handle(elapse, Duration::from_millis(millis.into())).ok();
    let mut future = pin!(future);
    let output = std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if is_elapsed.get() => Poll::Ready(None),
        Poll::Pending => {
            *waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        }
    })
    .await;
    if let Some(timer) = timer {
        timer.clear();
    }
    output
}
