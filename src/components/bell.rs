//! Wakes a task before its time. Rung while nobody waits, it is heard by the next who does.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

#[derive(Clone, Default)]
pub struct Bell(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    rung: bool,
    listener: Option<Waker>,
}

impl Bell {
    pub fn ring(&self) {
        let mut state = self.state();
        state.rung = true;
        if let Some(listener) = state.listener.take() {
            drop(state);
            listener.wake();
        }
    }

    /// Returns once it has been rung since it was last heard.
    pub async fn heard(&self) {
        std::future::poll_fn(|context| {
            let mut state = self.state();
            if std::mem::take(&mut state.rung) {
                Poll::Ready(())
            } else {
                state.listener = Some(context.waker().clone());
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
    use super::Bell;
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    #[test]
    fn a_ring_is_heard_once_also_when_it_came_before_the_listener() {
        let bell = Bell::default();
        let mut context = Context::from_waker(Waker::noop());
        bell.ring();
        bell.ring();
        assert_eq!(pin!(bell.heard()).poll(&mut context), Poll::Ready(()));
        assert_eq!(pin!(bell.heard()).poll(&mut context), Poll::Pending);
    }
}
