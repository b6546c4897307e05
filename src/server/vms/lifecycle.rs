//! What may be asked of a VM, and when. Pure.
//!
//! ```text
//!                  launch                 stop
//!  (nothing) ────► pending ───► running ───────► pending ───► stopped
//!                     │            ▲                             │
//!                     │ fails      └────────── pending ◄─────────┤ start
//!                     ▼                                          │
//!                  failed ──── start ──► pending                 │
//!                     │                                          │
//!                     └──────── destroy ──► pending ◄────────────┘  ──► (nothing)
//! ```
//!
//! A `failed` VM does not run: one whose launch failed and whose domain runs all the same is seen and becomes
//! `running`.
//!
//! `pending` means that an operation is open; there is one at most. When it fails, the VM is `unknown` (after a
//! launch: `failed`) until the next reading of the hypervisor says what is true.
//! `suspended`, `not_created` and `unknown` are seen, never asked for: from the first two a start leads back to
//! `running`; in `unknown` nothing is begun, because nobody could tell what it would do.

use crate::model::{OperationKind, VmStatus};

/// Where a VM stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifecycle {
    pub status: VmStatus,
    pub open: Option<OperationKind>,
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Begin,
    /// It is as asked already.
    AlreadySo,
    /// An operation that leads there is open.
    AlreadyUnderWay,
    Refused(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("It is busy: {} is under way. Try again when that is done.", .0.as_str())]
    Busy(OperationKind),
    #[error("The hypervisor does not say how it stands. Try again when it answers.")]
    Unknown,
    #[error("It was launched already.")]
    LaunchedAlready,
}

impl Lifecycle {
    pub fn decide(self, asked: OperationKind) -> Decision {
        use OperationKind::{Destroy, Launch, Start, Stop};
        use VmStatus::{Failed, NotCreated, Pending, Running, Stopped, Suspended, Unknown};

        if let Some(open) = self.open {
            return match (open, asked) {
                (Launch | Start, Start) | (Stop, Stop) | (Destroy, Destroy) => Decision::AlreadyUnderWay,
                _ => Decision::Refused(Refusal::Busy(open)),
            };
        }
        match (asked, self.status) {
            (Launch, _) => Decision::Refused(Refusal::LaunchedAlready),
            (_, Unknown) => Decision::Refused(Refusal::Unknown),
            (Start, Running) | (Stop, Stopped | NotCreated | Failed) => Decision::AlreadySo,
            // Pending without an open operation is what a crash between two writes could leave.
            (Start, Stopped | Suspended | Failed | NotCreated | Pending)
            | (Stop, Running | Suspended | Pending)
            | (Destroy, Running | Stopped | Suspended | Failed | NotCreated | Pending) => Decision::Begin,
        }
    }

    /// Everything that would be begun if it were asked now.
    pub fn allowed(self) -> Vec<OperationKind> {
        OperationKind::ALL.into_iter().filter(|kind| self.decide(*kind) == Decision::Begin).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OperationKind::*;
    use proptest::prelude::*;

    fn at_rest(status: VmStatus) -> Lifecycle {
        Lifecycle { status, open: None }
    }

    #[test]
    fn a_stop_asked_twice_is_one_operation() {
        assert_eq!(at_rest(VmStatus::Running).decide(Stop), Decision::Begin);
        let stopping = Lifecycle { status: VmStatus::Pending, open: Some(Stop) };
        assert_eq!(stopping.decide(Stop), Decision::AlreadyUnderWay);
    }

    #[test]
    fn a_start_while_launching_is_under_way() {
        let launching = Lifecycle { status: VmStatus::Pending, open: Some(Launch) };
        assert_eq!(launching.decide(Start), Decision::AlreadyUnderWay);
        assert_eq!(launching.decide(Destroy), Decision::Refused(Refusal::Busy(Launch)));
    }

    #[test]
    fn nothing_is_begun_while_the_hypervisor_is_silent() {
        assert_eq!(at_rest(VmStatus::Unknown).allowed(), []);
    }

    #[test]
    fn a_failed_vm_can_be_started_again_or_destroyed() {
        assert_eq!(at_rest(VmStatus::Failed).allowed(), [Start, Destroy]);
    }

    proptest! {
        #[test]
        fn a_second_operation_is_never_begun_beside_an_open_one(
            status in 0..VmStatus::ALL.len(), open in 0..4usize, asked in 0..4usize
        ) {
            let busy = Lifecycle {
                status: VmStatus::ALL[status],
                open: Some(OperationKind::ALL[open]),
            };
            prop_assert_ne!(busy.decide(OperationKind::ALL[asked]), Decision::Begin);
        }

        #[test]
        fn what_is_allowed_is_what_would_begin(status in 0..VmStatus::ALL.len(), asked in 0..4usize) {
            let vm = at_rest(VmStatus::ALL[status]);
            let asked = OperationKind::ALL[asked];
            prop_assert_eq!(vm.allowed().contains(&asked), vm.decide(asked) == Decision::Begin);
        }
    }
}
