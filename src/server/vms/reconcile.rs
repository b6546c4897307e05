//! Compares the observed state of a VM with the recorded one. Pure.
//!
//! A problem is shown as long as it applies: not once the VM reached the status that the failed operation aimed at, nor
//! once a running VM has been well for a while.
//!
//! Only VMs without an open operation are reconciled. A status that none of our operations explains was caused outside
//! Twarga Cloud and is reported as such.

use crate::{
    model::VmStatus,
    server::{events::NewEvent, provider::DomainState},
};

/// What a sample shows of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObservedStatus {
    Is(DomainState),
    /// The sample has no such domain.
    Absent,
    /// There was no sample, twice in a row.
    Silence,
}

/// The recorded state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedStatus<'a> {
    pub vm_id: i64,
    pub name: &'a str,
    pub status: VmStatus,
    /// The problem reported before and still shown on its page.
    pub problem: Option<&'a str>,
    /// The problem stays until an operation succeeds.
    pub problem_lasts: bool,
    /// The status that the operation aimed at whose failure is the problem.
    pub aim: Option<VmStatus>,
    /// It has been running, with a guest that answers, for a while.
    pub is_well: bool,
    /// Whether the VM ever had a domain.
    pub had_domain: bool,
    pub is_adopted: bool,
    /// Its state comes from Vagrant's index, not from a hypervisor that misses a tick now and then.
    pub is_indexed: bool,
    /// The host restarted since the last sample.
    pub host_restarted: bool,
}

/// The change to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChange {
    pub status: VmStatus,
    pub problem: Option<String>,
    pub event: Option<NewEvent>,
    /// It stopped unexpectedly: no request here caused it.
    pub stopped_unexpectedly: bool,
    /// It stopped because the host restarted.
    pub by_host_restart: bool,
}

/// What follows, if anything has changed.
///
/// `Unknown` is where a failed operation of ours or a silent hypervisor leaves a VM: what is seen next is the truth
/// the actual state, not an outside change, and an already reported problem is not reported again.
pub fn reconcile(vm: RecordedStatus<'_>, observed: ObservedStatus) -> Option<StatusChange> {
    use VmStatus::{Failed, NotCreated, Running, Stopped, Suspended, Unknown};
    let name = vm.name;
    let stopped_unexpectedly = |status| vm.status == Running && matches!(status, Stopped | NotCreated);
    let found_out = |status| {
        // A VM that runs may still be far from well.
        let is_reached = vm.aim == Some(status) && !matches!(status, Running | Unknown);
        Some(StatusChange {
            status,
            problem: vm.problem.filter(|_| vm.problem_lasts || !is_reached).map(str::to_owned),
            event: None,
            stopped_unexpectedly: false,
            by_host_restart: false,
        })
    };
    let from_outside = |status, what: &str| {
        let event = NewEvent::warning(
            "vm_changed_from_outside",
            Some(vm.vm_id),
            format!("{name} was {what} outside Twarga Cloud."),
        );
        Some(StatusChange {
            status,
            problem: None,
            event: Some(event),
            stopped_unexpectedly: stopped_unexpectedly(status),
            by_host_restart: false,
        })
    };
    let with_the_host = |status| {
        let text = format!("{name} stopped because the host restarted.");
        Some(StatusChange {
            status,
            problem: None,
            event: Some(NewEvent::warning("vm_changed_from_outside", Some(vm.vm_id), text)),
            stopped_unexpectedly: stopped_unexpectedly(status),
            by_host_restart: true,
        })
    };
    let trouble = |status, kind, text: String| {
        let event = NewEvent::error(kind, Some(vm.vm_id), text.clone());
        Some(StatusChange {
            status,
            problem: Some(text),
            event: Some(event),
            stopped_unexpectedly: stopped_unexpectedly(status),
            by_host_restart: false,
        })
    };

    let is_well_again = vm.is_well && vm.problem.is_some() && !vm.problem_lasts;
    match (observed, vm.status) {
        (ObservedStatus::Is(DomainState::Unknown), status) if vm.is_indexed && status != Unknown => {
            found_out(Unknown)
        }
        (ObservedStatus::Is(DomainState::Running), Running) if is_well_again => Some(StatusChange {
            status: Running,
            problem: None,
            event: None,
            stopped_unexpectedly: false,
            by_host_restart: false,
        }),
        (ObservedStatus::Is(DomainState::Unknown), _)
        | (ObservedStatus::Is(DomainState::Running), Running)
        | (ObservedStatus::Is(DomainState::Suspended), Suspended)
        | (ObservedStatus::Is(DomainState::Stopped | DomainState::Crashed), Stopped | Failed)
        | (ObservedStatus::Absent, NotCreated | Failed)
        | (ObservedStatus::Silence, Unknown | Failed | NotCreated) => None,

        (ObservedStatus::Silence, _) => found_out(Unknown),
        (ObservedStatus::Is(DomainState::Running), Unknown | Failed) => found_out(Running),
        (ObservedStatus::Is(DomainState::Suspended), Unknown) => found_out(Suspended),
        (ObservedStatus::Is(DomainState::Stopped), Unknown) => found_out(Stopped),
        (ObservedStatus::Is(DomainState::Crashed), Unknown) if vm.problem.is_some() => found_out(Stopped),
        (ObservedStatus::Absent, Unknown) if vm.problem.is_some() => found_out(NotCreated),

        (ObservedStatus::Is(DomainState::Stopped | DomainState::Crashed), Running | Suspended)
            if vm.host_restarted =>
        {
            with_the_host(Stopped)
        }
        (ObservedStatus::Is(DomainState::Running), _) => from_outside(Running, "started"),
        (ObservedStatus::Is(DomainState::Suspended), _) => from_outside(Suspended, "suspended"),
        (ObservedStatus::Is(DomainState::Stopped), _) => from_outside(Stopped, "stopped"),
        (ObservedStatus::Is(DomainState::Crashed), _) => trouble(
            Stopped,
            "vm_crashed",
            format!(
                "{name} stopped unexpectedly: its QEMU process crashed or was killed. Its disk is intact; start it \
                 again."
            ),
        ),
        (ObservedStatus::Absent, _) if vm.had_domain && vm.is_adopted => trouble(
            NotCreated,
            "vm_domain_removed",
            format!(
                "The machine of {name} was removed outside Twarga Cloud. Start the VM to have Vagrant recreate it \
                 from its Vagrantfile, or stop managing it."
            ),
        ),
        (ObservedStatus::Absent, _) if vm.had_domain => trouble(
            NotCreated,
            "vm_domain_removed",
            format!(
                "{name} was removed from the hypervisor outside Twarga Cloud. Its disk may still exist: save what \
                 you need, then destroy this VM and launch it again."
            ),
        ),
        (ObservedStatus::Absent, _) => found_out(NotCreated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded_as(status: VmStatus) -> RecordedStatus<'static> {
        RecordedStatus {
            vm_id: 7,
            name: "web-1",
            status,
            problem: None,
            problem_lasts: false,
            aim: None,
            is_well: false,
            had_domain: true,
            is_adopted: false,
            is_indexed: false,
            host_restarted: false,
        }
    }

    fn seen(status: VmStatus, observed: ObservedStatus) -> Option<StatusChange> {
        let vm = RecordedStatus { status, ..recorded_as(VmStatus::Running) };
        reconcile(vm, observed)
    }

    #[test]
    fn a_state_that_vagrant_does_not_know_is_unknown_until_it_does() {
        let vm = |status| RecordedStatus {
            name: "shop",
            status,
            is_adopted: true,
            is_indexed: true,
            ..recorded_as(VmStatus::Running)
        };
        let lost = reconcile(vm(VmStatus::Running), ObservedStatus::Is(DomainState::Unknown)).unwrap();
        assert_eq!((lost.status, lost.event), (VmStatus::Unknown, None));
        assert_eq!(reconcile(vm(VmStatus::Unknown), ObservedStatus::Is(DomainState::Unknown)), None);
        let found = reconcile(vm(VmStatus::Unknown), ObservedStatus::Is(DomainState::Stopped)).unwrap();
        assert_eq!(found.status, VmStatus::Stopped);
        let domain = RecordedStatus { is_indexed: false, ..vm(VmStatus::Running) };
        assert_eq!(
            reconcile(domain, ObservedStatus::Is(DomainState::Unknown)),
            None,
            "libvirt missed one tick"
        );
    }

    #[test]
    fn an_observed_status_as_recorded_changes_nothing() {
        assert_eq!(seen(VmStatus::Running, ObservedStatus::Is(DomainState::Running)), None);
        assert_eq!(seen(VmStatus::Stopped, ObservedStatus::Is(DomainState::Stopped)), None);
        assert_eq!(seen(VmStatus::NotCreated, ObservedStatus::Absent), None);
    }

    #[test]
    fn a_vm_stopped_behind_our_back_is_reported_as_such() {
        let change = seen(VmStatus::Running, ObservedStatus::Is(DomainState::Stopped)).unwrap();
        assert_eq!(change.status, VmStatus::Stopped);
        assert!(change.stopped_unexpectedly && change.event.unwrap().text.contains("outside Twarga Cloud"));
        assert!(
            !seen(VmStatus::Running, ObservedStatus::Is(DomainState::Suspended))
                .unwrap()
                .stopped_unexpectedly
        );
    }

    #[test]
    fn vms_that_stop_with_the_host_stop_for_that_reason() {
        for (status, observed) in [
            (VmStatus::Running, DomainState::Stopped),
            (VmStatus::Running, DomainState::Crashed),
            (VmStatus::Suspended, DomainState::Stopped),
        ] {
            let vm = RecordedStatus { status, host_restarted: true, ..recorded_as(VmStatus::Running) };
            let change = reconcile(vm, ObservedStatus::Is(observed)).unwrap();
            assert!(change.by_host_restart);
            assert_eq!(change.stopped_unexpectedly, status == VmStatus::Running);
            assert_eq!(change.event.unwrap().text, "web-1 stopped because the host restarted.");
            assert_eq!(change.problem, None);
        }
    }

    #[test]
    fn a_dead_qemu_is_shown_as_a_problem() {
        let change = seen(VmStatus::Running, ObservedStatus::Is(DomainState::Crashed)).unwrap();
        assert_eq!(change.status, VmStatus::Stopped);
        assert!(change.problem.unwrap().contains("start it again"));
    }

    #[test]
    fn a_crash_is_reported_once() {
        assert_eq!(seen(VmStatus::Stopped, ObservedStatus::Is(DomainState::Crashed)), None);
    }

    #[test]
    fn a_problem_ends_once_the_vm_has_been_well_for_a_while() {
        let recorded = RecordedStatus {
            status: VmStatus::Running,
            problem: Some("libvirt did not answer."),
            is_well: true,
            ..recorded_as(VmStatus::Running)
        };
        let running = ObservedStatus::Is(DomainState::Running);
        let change = reconcile(recorded, running).unwrap();
        assert_eq!((change.status, change.problem, change.event), (VmStatus::Running, None, None));
        for unchanged in [
            RecordedStatus { is_well: false, ..recorded },
            RecordedStatus { problem: None, ..recorded },
            RecordedStatus { problem_lasts: true, ..recorded },
        ] {
            assert_eq!(reconcile(unchanged, running), None);
        }
    }

    #[test]
    fn a_problem_ends_with_the_status_that_the_failed_operation_aimed_at() {
        for (aim, observed, ends) in [
            (VmStatus::Stopped, ObservedStatus::Is(DomainState::Stopped), true),
            (VmStatus::Suspended, ObservedStatus::Is(DomainState::Suspended), true),
            (VmStatus::NotCreated, ObservedStatus::Absent, true),
            (VmStatus::Stopped, ObservedStatus::Is(DomainState::Running), false),
            (VmStatus::Running, ObservedStatus::Is(DomainState::Running), false),
        ] {
            let recorded = RecordedStatus {
                status: VmStatus::Unknown,
                problem: Some("It timed out."),
                aim: Some(aim),
                ..recorded_as(VmStatus::Running)
            };
            let change = reconcile(recorded, observed).unwrap();
            assert_eq!(change.problem.is_none(), ends, "{aim:?} {observed:?}");
        }
    }

    #[test]
    fn an_undefined_domain_is_not_created_and_says_what_to_do() {
        let change = seen(VmStatus::Stopped, ObservedStatus::Absent).unwrap();
        assert_eq!(change.status, VmStatus::NotCreated);
        assert!(change.problem.unwrap().contains("destroy this VM and launch it again"));
    }

    #[test]
    fn an_adopted_machine_that_is_gone_can_be_recreated() {
        let vm = RecordedStatus {
            name: "shop",
            status: VmStatus::Running,
            is_adopted: true,
            ..recorded_as(VmStatus::Running)
        };
        let change = reconcile(vm, ObservedStatus::Absent).unwrap();
        assert_eq!(change.status, VmStatus::NotCreated);
        assert!(change.problem.unwrap().contains("Start the VM to have Vagrant recreate it"));
    }

    #[test]
    fn silence_makes_unknown_and_its_end_makes_the_truth_without_an_alarm() {
        assert_eq!(seen(VmStatus::Running, ObservedStatus::Silence).unwrap().status, VmStatus::Unknown);
        let change = seen(VmStatus::Unknown, ObservedStatus::Is(DomainState::Running)).unwrap();
        assert_eq!((change.status, change.event), (VmStatus::Running, None));
    }

    #[test]
    fn a_failed_launch_stays_failed_until_its_domain_runs() {
        assert_eq!(seen(VmStatus::Failed, ObservedStatus::Absent), None);
        assert_eq!(
            seen(VmStatus::Failed, ObservedStatus::Is(DomainState::Running)).unwrap().status,
            VmStatus::Running
        );
    }

    #[test]
    fn after_a_silence_nothing_is_reported_twice() {
        let recorded = RecordedStatus {
            status: VmStatus::Stopped,
            problem: Some("It died."),
            ..recorded_as(VmStatus::Running)
        };
        let silent = reconcile(recorded, ObservedStatus::Silence).unwrap();
        assert_eq!((silent.status, silent.problem.as_deref()), (VmStatus::Unknown, Some("It died.")));
        let again = RecordedStatus { status: VmStatus::Unknown, ..recorded };
        let found = reconcile(again, ObservedStatus::Is(DomainState::Crashed)).unwrap();
        assert_eq!(
            found,
            StatusChange {
                status: VmStatus::Stopped,
                problem: Some("It died.".into()),
                event: None,
                stopped_unexpectedly: false,
                by_host_restart: false,
            }
        );
        assert_eq!(seen(VmStatus::NotCreated, ObservedStatus::Silence), None);
    }

    #[test]
    fn what_a_failed_operation_left_is_not_an_external_change() {
        let failed = RecordedStatus {
            status: VmStatus::Unknown,
            problem: Some("It did not boot in time."),
            ..recorded_as(VmStatus::Running)
        };
        let found = reconcile(failed, ObservedStatus::Is(DomainState::Running)).unwrap();
        assert_eq!((found.status, found.event), (VmStatus::Running, None));
        assert_eq!(found.problem.as_deref(), Some("It did not boot in time."));
    }
}
