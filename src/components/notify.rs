//! `tokio::sync::Notify` for one waiting task, as the browser's half does without tokio.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

#[derive(Clone, Default)]
pub struct Notify(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    has_permit: bool,
    waiter: Option<Waker>,
}

impl Notify {
    /// Wakes the waiting task. If none waits, the next call of [`Notify::notified`] returns at once.
    pub fn notify_one(&self) {
        let mut state = self.state();
        state.has_permit = true;
        if let Some(waiter) = state.waiter.take() {
            drop(state);
            waiter.wake();
        }
    }

    /// Waits for [`Notify::notify_one`].
    pub async fn notified(&self) {
        std::future::poll_fn(|context| {
            let mut state = self.state();
            if std::mem::take(&mut state.has_permit) {
                Poll::Ready(())
            } else {
                state.waiter = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Notify;
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    #[test]
    fn notifications_before_the_wait_wake_it_once() {
        let notify = Notify::default();
        let mut context = Context::from_waker(Waker::noop());
        notify.notify_one();
        notify.notify_one();
        assert_eq!(pin!(notify.notified()).poll(&mut context), Poll::Ready(()));
        assert_eq!(pin!(notify.notified()).poll(&mut context), Poll::Pending);
    }
}
