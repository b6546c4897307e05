//! Which operations a VM allows in which state. Pure.
//!
//! ```text
//!                     launch                      stop, force stop
//!     (nothing) ─────────► pending ────► running ────────► pending ────► stopped
//!                             │          ▲ │  ▲ ▲                          │ │
//!          fails or cancelled │   resume │ │  │ └──── pending ◄───────────┘ │ start
//!                             ▼          │ ▼  │ start                        │
//!       failed, not_created ─────►  suspended └── pending ◄── failed,        │
//!              │                    (suspend)                 not_created    │
//!              └──────────── destroy, from everywhere ──► pending ◄──────────┘  ──► (nothing)
//! ```
//!
//! An imported VM begins as `pending`, too: once its machine has been looked at, the VM has the machine's state. An import
//! that fails or is cancelled leaves no VM, so nothing else is begun meanwhile, not even `destroy`.
//!
//! `pending` means that an operation is open. Every change goes through it: `restart` leads from running or suspended
//! to running, the snapshots' operations lead back to where they began (`restore`: to wherever the snapshot was
//! taken). `resize` writes down what the next start gives the VM, and changes no state.
//!
//! When an operation fails or is cancelled, the VM is `unknown` (after a launch: `failed`, or `not_created` when it
//! was cancelled) until the next sample of the hypervisor shows its state. A `failed` VM does not run: one whose
//! launch failed and whose domain runs all the same becomes `running`. In `unknown` no operation that needs the
//! hypervisor is started, because its effect would be unpredictable.
//!
//! One operation of a VM runs at a time. What ends everything anyway need not wait for it: `force stop` and `destroy`
//! supersede it, which cancels it first. Every other request is rejected until then.

use crate::model::{OperationKind, VmStatus};

/// The state of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifecycle {
    pub status: VmStatus,
    /// The newest operation that is queued or under way.
    pub open: Option<OperationKind>,
    pub is_adopted: bool,
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Begin,
    /// Begin, once what is open has been cancelled.
    Supersede,
    /// The VM is in that state already.
    AlreadySo,
    /// An operation that leads there is open.
    AlreadyUnderWay,
    Rejected(Rejection),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("It is busy: \"{}\" is in progress. Wait for it to finish, or cancel it.", .0.label())]
    Busy(OperationKind),
    #[error("The hypervisor is not responding. Try again when it is back.")]
    Unknown,
    #[error("It has already been launched.")]
    LaunchedAlready,
    #[error("It is not running. Start it first.")]
    NotRunning,
    #[error("It is not suspended.")]
    NotSuspended,
    #[error("It is suspended. Resume or stop it first.")]
    Suspended,
    #[error("The hypervisor has no such machine. Start the VM to create it.")]
    NotCreated,
    #[error("Imported VMs keep their own Vagrantfile. Run vagrant in the project folder to do this.")]
    Adopted,
}

impl Lifecycle {
    pub fn decide(self, kind: OperationKind) -> Decision {
        use OperationKind::{
            Destroy, ForceStop, Import, Launch, Resize, Restart, Resume, SnapshotDelete, SnapshotRestore,
            SnapshotSave, Start, Stop, Suspend,
        };
        use VmStatus::{Failed, NotCreated, Pending, Running, Stopped, Suspended, Unknown};

        if self.is_adopted && !matches!(kind, Start | Stop | ForceStop | Restart | Destroy) {
            return Decision::Rejected(Rejection::Adopted);
        }
        if let Some(open) = self.open {
            return match (open, kind) {
                (Launch | Start | Restart | Resume, Start)
                | (Stop | ForceStop, Stop)
                | (ForceStop, ForceStop)
                | (Restart, Restart)
                | (Suspend, Suspend)
                | (Launch | Start | Resume, Resume)
                | (Destroy, Destroy) => Decision::AlreadyUnderWay,
                (Destroy | Resize | Import, _) => Decision::Rejected(Rejection::Busy(open)),
                (_, Destroy) => Decision::Supersede,
                // A snapshot that is cut off may take the disk with it.
                (Launch | Start | Stop | Restart | Suspend | Resume, ForceStop) => Decision::Supersede,
                _ => Decision::Rejected(Rejection::Busy(open)),
            };
        }
        match (kind, self.status) {
            (Launch | Import, _) => Decision::Rejected(Rejection::LaunchedAlready),
            (Resize, _) => Decision::Begin,
            // They work in any state, and are the way out where the state stays unknown.
            (Destroy | ForceStop, Unknown) => Decision::Begin,
            (_, Unknown) => Decision::Rejected(Rejection::Unknown),
            (Start | Resume, Running)
            | (Stop | ForceStop, Stopped | NotCreated | Failed)
            | (Suspend, Suspended) => Decision::AlreadySo,
            // Pending without an open operation is what a crash between two writes could leave.
            (Start, Stopped | Suspended | Failed | NotCreated | Pending)
            | (Stop | ForceStop | Restart, Running | Suspended | Pending)
            | (Suspend, Running)
            | (Resume, Suspended)
            | (Destroy, Running | Stopped | Suspended | Failed | NotCreated | Pending)
            | (SnapshotSave, Running | Stopped)
            | (SnapshotRestore | SnapshotDelete, Running | Stopped | Suspended) => Decision::Begin,
            (Restart | Suspend, _) => Decision::Rejected(Rejection::NotRunning),
            (Resume, _) => Decision::Rejected(Rejection::NotSuspended),
            (SnapshotSave, Suspended) => Decision::Rejected(Rejection::Suspended),
            (SnapshotSave | SnapshotRestore | SnapshotDelete, _) => Decision::Rejected(Rejection::NotCreated),
        }
    }

    /// Every operation that a request would start now.
    pub fn allowed(self) -> Vec<OperationKind> {
        let begins =
            |kind: &OperationKind| matches!(self.decide(*kind), Decision::Begin | Decision::Supersede);
        OperationKind::ALL.into_iter().filter(begins).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OperationKind::*;
    use proptest::prelude::*;

    fn at_rest(status: VmStatus) -> Lifecycle {
        Lifecycle { status, open: None, is_adopted: false }
    }

    fn busy(open: OperationKind) -> Lifecycle {
        Lifecycle { status: VmStatus::Pending, open: Some(open), is_adopted: false }
    }

    #[test]
    fn a_stop_requested_twice_is_one_operation() {
        assert_eq!(at_rest(VmStatus::Running).decide(Stop), Decision::Begin);
        assert_eq!(busy(Stop).decide(Stop), Decision::AlreadyUnderWay);
        assert_eq!(busy(Stop).decide(ForceStop), Decision::Supersede);
    }

    #[test]
    fn a_start_while_launching_is_under_way() {
        assert_eq!(busy(Launch).decide(Start), Decision::AlreadyUnderWay);
        assert_eq!(busy(Launch).decide(Destroy), Decision::Supersede);
        assert_eq!(busy(Launch).decide(Stop), Decision::Rejected(Rejection::Busy(Launch)));
    }

    #[test]
    fn a_snapshot_is_not_cut_off_to_turn_a_vm_off() {
        assert_eq!(busy(SnapshotSave).decide(ForceStop), Decision::Rejected(Rejection::Busy(SnapshotSave)));
        assert_eq!(busy(SnapshotSave).decide(Destroy), Decision::Supersede);
    }

    #[test]
    fn nothing_that_needs_the_hypervisor_is_begun_while_it_is_silent() {
        assert_eq!(at_rest(VmStatus::Unknown).allowed(), [ForceStop, Destroy, Resize]);
    }

    #[test]
    fn a_failed_vm_can_be_started_again_resized_or_destroyed() {
        assert_eq!(at_rest(VmStatus::Failed).allowed(), [Start, Destroy, Resize]);
    }

    #[test]
    fn what_does_not_run_is_neither_restarted_nor_suspended() {
        assert_eq!(at_rest(VmStatus::Stopped).decide(Restart), Decision::Rejected(Rejection::NotRunning));
        assert_eq!(at_rest(VmStatus::Suspended).decide(Suspend), Decision::AlreadySo);
        assert_eq!(at_rest(VmStatus::Suspended).decide(Resume), Decision::Begin);
        assert_eq!(at_rest(VmStatus::Stopped).decide(Resume), Decision::Rejected(Rejection::NotSuspended));
    }

    #[test]
    fn an_adopted_vm_allows_only_operations_that_keep_its_project() {
        let adopted = Lifecycle { is_adopted: true, ..at_rest(VmStatus::Running) };
        assert_eq!(adopted.allowed(), [Stop, ForceStop, Restart, Destroy]);
    }

    #[test]
    fn an_import_is_cancelled_and_never_superseded() {
        let importing = Lifecycle { is_adopted: true, ..busy(Import) };
        assert_eq!(importing.allowed(), []);
        assert_eq!(importing.decide(Destroy), Decision::Rejected(Rejection::Busy(Import)));
        assert_eq!(at_rest(VmStatus::Running).decide(Import), Decision::Rejected(Rejection::LaunchedAlready));
    }

    fn any_kind() -> impl Strategy<Value = OperationKind> {
        proptest::sample::select(OperationKind::ALL.to_vec())
    }

    fn any_status() -> impl Strategy<Value = VmStatus> {
        proptest::sample::select(VmStatus::ALL.to_vec())
    }

    /// What the world does between two requests.
    #[derive(Debug, Clone)]
    enum Step {
        Ask(OperationKind),
        /// The operation that runs comes to its end.
        End {
            succeeds: bool,
        },
        See(VmStatus),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => any_kind().prop_map(Step::Ask),
            2 => any::<bool>().prop_map(|succeeds| Step::End { succeeds }),
            1 => any_status().prop_map(Step::See),
        ]
    }

    fn after(kind: OperationKind, succeeds: bool) -> VmStatus {
        match (kind, succeeds) {
            (Launch, false) => VmStatus::Failed,
            (_, false) | (SnapshotRestore, true) => VmStatus::Unknown,
            (Launch | Start | Restart | Resume | Import, true) => VmStatus::Running,
            (Stop | ForceStop, true) => VmStatus::Stopped,
            (Suspend, true) => VmStatus::Suspended,
            (Destroy, true) => VmStatus::NotCreated,
            (Resize | SnapshotSave | SnapshotDelete, true) => VmStatus::Unknown,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        /// Any sequence of requests, outcomes and observations: at most one operation runs and one waits behind it,
        /// only operations that end everything supersede, and the VM can always be destroyed.
        #[test]
        fn no_sequence_doubles_an_operation_or_traps_a_vm(
            is_adopted in any::<bool>(),
            steps in proptest::collection::vec(any_step(), 1..60)
        ) {
            let mut status = VmStatus::Pending;
            let (mut running, mut waiting) = (Some(Launch), None);
            for step in steps {
                let vm = Lifecycle { status, open: waiting.or(running), is_adopted };
                match step {
                    Step::Ask(kind) => match vm.decide(kind) {
                        Decision::Begin => {
                            prop_assert_eq!((running, waiting), (None, None));
                            prop_assert!(kind != Launch, "a VM is launched once");
                            if kind != Resize {
                                (running, status) = (Some(kind), VmStatus::Pending);
                            }
                        }
                        Decision::Supersede => {
                            prop_assert!(running.is_some() && matches!(kind, ForceStop | Destroy));
                            prop_assert!(waiting != Some(Destroy), "nothing comes after the end");
                            waiting = Some(kind);
                        }
                        Decision::AlreadyUnderWay => prop_assert!(vm.open.is_some()),
                        Decision::AlreadySo => prop_assert!(vm.open.is_none()),
                        Decision::Rejected(rejection) => {
                            prop_assert!(rejection.to_string().ends_with('.'), "it says why in a sentence");
                        }
                    },
                    Step::End { succeeds } => {
                        if let Some(kind) = running {
                            status = after(kind, succeeds && waiting.is_none());
                            running = waiting.take();
                            if running.is_some() {
                                status = VmStatus::Pending;
                            }
                        }
                    }
                    // The hypervisor's word counts while nothing is open; Pending is never seen.
                    Step::See(seen) if running.is_none() && seen != VmStatus::Pending => status = seen,
                    Step::See(_) => {}
                }
                let vm = Lifecycle { status, open: waiting.or(running), is_adopted };
                if vm.open.is_none() {
                    prop_assert_eq!(vm.decide(Destroy), Decision::Begin, "{:?} can be destroyed", vm);
                }
            }
        }

        #[test]
        fn beside_an_open_operation_nothing_begins_but_what_supersedes_it(
            status in any_status(), open in any_kind(), kind in any_kind(), is_adopted in any::<bool>()
        ) {
            let decision = Lifecycle { status, open: Some(open), is_adopted }.decide(kind);
            prop_assert_ne!(decision, Decision::Begin);
            if decision == Decision::Supersede {
                prop_assert!(matches!(kind, ForceStop | Destroy) && open != Destroy);
            }
        }

        #[test]
        fn what_is_allowed_is_what_would_begin(status in any_status(), kind in any_kind()) {
            let vm = at_rest(status);
            prop_assert_eq!(vm.allowed().contains(&kind), vm.decide(kind) == Decision::Begin);
        }
    }
}
