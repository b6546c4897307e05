//! What the hypervisor shows against what we believed. Pure.
//!
//! Only VMs without an open operation come here; a status that follows from nothing we asked for is one that
//! somebody else brought about, and is told as such.

use crate::{
    model::VmStatus,
    server::{events::NewEvent, provider::DomainState},
};

/// What a reading says of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    Is(DomainState),
    /// The reading has no such domain.
    Absent,
    /// There was no reading, twice in a row.
    Silence,
}

/// What we believe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Believed<'a> {
    pub vm_id: i64,
    pub name: &'a str,
    pub status: VmStatus,
    /// What was told of it before, and still stands on its page.
    pub problem: Option<&'a str>,
    /// Whether the VM ever had a domain.
    pub had_domain: bool,
    pub is_adopted: bool,
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub status: VmStatus,
    pub problem: Option<String>,
    pub event: Option<NewEvent>,
    /// It ran, and does not any more, though nobody asked for that here.
    pub fell: bool,
}

/// What follows, if anything has changed.
///
/// `Unknown` is where a failed operation of ours or a silent hypervisor leaves a VM: what is seen next is the truth
/// found out, not somebody's doing, and what was told before is not told again.
pub fn reconcile(vm: Believed<'_>, observed: Observed) -> Option<Change> {
    use VmStatus::{Failed, NotCreated, Running, Stopped, Suspended, Unknown};
    let name = vm.name;
    let fell = |status| vm.status == Running && matches!(status, Stopped | NotCreated);
    let found_out =
        |status| Some(Change { status, problem: vm.problem.map(str::to_owned), event: None, fell: false });
    let from_outside = |status, what: &str| {
        let event = NewEvent::warning(
            "vm_changed_from_outside",
            Some(vm.vm_id),
            format!("{name} was {what} from outside Twarga Cloud."),
        );
        Some(Change { status, problem: None, event: Some(event), fell: fell(status) })
    };
    let trouble = |status, kind, text: String| {
        let event = NewEvent::error(kind, Some(vm.vm_id), text.clone());
        Some(Change { status, problem: Some(text), event: Some(event), fell: fell(status) })
    };

    match (observed, vm.status) {
        (Observed::Is(DomainState::Unknown), _)
        | (Observed::Is(DomainState::Running), Running)
        | (Observed::Is(DomainState::Suspended), Suspended)
        | (Observed::Is(DomainState::Stopped | DomainState::Crashed), Stopped | Failed)
        | (Observed::Absent, NotCreated | Failed)
        | (Observed::Silence, Unknown | Failed | NotCreated) => None,

        (Observed::Silence, _) => found_out(Unknown),
        (Observed::Is(DomainState::Running), Unknown | Failed) => found_out(Running),
        (Observed::Is(DomainState::Suspended), Unknown) => found_out(Suspended),
        (Observed::Is(DomainState::Stopped), Unknown) => found_out(Stopped),
        (Observed::Is(DomainState::Crashed), Unknown) if vm.problem.is_some() => found_out(Stopped),
        (Observed::Absent, Unknown) if vm.problem.is_some() => found_out(NotCreated),

        (Observed::Is(DomainState::Running), _) => from_outside(Running, "started"),
        (Observed::Is(DomainState::Suspended), _) => from_outside(Suspended, "suspended"),
        (Observed::Is(DomainState::Stopped), _) => from_outside(Stopped, "stopped"),
        (Observed::Is(DomainState::Crashed), _) => trouble(
            Stopped,
            "vm_crashed",
            format!(
                "{name} died: its QEMU process was ended from outside Twarga Cloud, or crashed. Its disk is still there; start \
                 it again."
            ),
        ),
        (Observed::Absent, _) if vm.had_domain && vm.is_adopted => trouble(
            NotCreated,
            "vm_domain_removed",
            format!(
                "The machine of {name} was removed, from outside Twarga Cloud. Start it to have Vagrant make it anew \
                 from its Vagrantfile, or take it off the list."
            ),
        ),
        (Observed::Absent, _) if vm.had_domain => trouble(
            NotCreated,
            "vm_domain_removed",
            format!(
                "{name} was removed from the hypervisor, from outside Twarga Cloud. Its disk may still be there: \
                 save what you need of it, then destroy this VM here and launch it anew."
            ),
        ),
        (Observed::Absent, _) => found_out(NotCreated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: VmStatus, observed: Observed) -> Option<Change> {
        let vm =
            Believed { vm_id: 7, name: "web-1", status, problem: None, had_domain: true, is_adopted: false };
        reconcile(vm, observed)
    }

    #[test]
    fn what_is_as_believed_changes_nothing() {
        assert_eq!(seen(VmStatus::Running, Observed::Is(DomainState::Running)), None);
        assert_eq!(seen(VmStatus::Stopped, Observed::Is(DomainState::Stopped)), None);
        assert_eq!(seen(VmStatus::NotCreated, Observed::Absent), None);
    }

    #[test]
    fn a_vm_stopped_behind_our_back_is_told_as_such() {
        let change = seen(VmStatus::Running, Observed::Is(DomainState::Stopped)).unwrap();
        assert_eq!(change.status, VmStatus::Stopped);
        assert!(change.fell && change.event.unwrap().text.contains("from outside"));
        assert!(!seen(VmStatus::Running, Observed::Is(DomainState::Suspended)).unwrap().fell);
    }

    #[test]
    fn a_dead_qemu_is_a_problem_a_person_reads() {
        let change = seen(VmStatus::Running, Observed::Is(DomainState::Crashed)).unwrap();
        assert_eq!(change.status, VmStatus::Stopped);
        assert!(change.problem.unwrap().contains("start it again"));
    }

    #[test]
    fn a_crash_is_told_once() {
        assert_eq!(seen(VmStatus::Stopped, Observed::Is(DomainState::Crashed)), None);
    }

    #[test]
    fn an_undefined_domain_is_not_created_and_says_what_to_do() {
        let change = seen(VmStatus::Stopped, Observed::Absent).unwrap();
        assert_eq!(change.status, VmStatus::NotCreated);
        assert!(change.problem.unwrap().contains("destroy this VM here"));
    }

    #[test]
    fn an_adopted_machine_that_is_gone_can_be_made_anew() {
        let vm = Believed {
            vm_id: 7,
            name: "shop",
            status: VmStatus::Running,
            problem: None,
            had_domain: true,
            is_adopted: true,
        };
        let change = reconcile(vm, Observed::Absent).unwrap();
        assert_eq!(change.status, VmStatus::NotCreated);
        assert!(change.problem.unwrap().contains("Start it to have Vagrant make it anew"));
    }

    #[test]
    fn silence_makes_unknown_and_its_end_makes_the_truth_without_an_alarm() {
        assert_eq!(seen(VmStatus::Running, Observed::Silence).unwrap().status, VmStatus::Unknown);
        let change = seen(VmStatus::Unknown, Observed::Is(DomainState::Running)).unwrap();
        assert_eq!((change.status, change.event), (VmStatus::Running, None));
    }

    #[test]
    fn a_failed_launch_stays_failed_until_its_domain_runs() {
        assert_eq!(seen(VmStatus::Failed, Observed::Absent), None);
        assert_eq!(
            seen(VmStatus::Failed, Observed::Is(DomainState::Running)).unwrap().status,
            VmStatus::Running
        );
    }

    #[test]
    fn after_a_silence_nothing_is_told_twice() {
        let told = Believed {
            vm_id: 7,
            name: "web-1",
            status: VmStatus::Stopped,
            problem: Some("It died."),
            had_domain: true,
            is_adopted: false,
        };
        let silent = reconcile(told, Observed::Silence).unwrap();
        assert_eq!((silent.status, silent.problem.as_deref()), (VmStatus::Unknown, Some("It died.")));
        let again = Believed { status: VmStatus::Unknown, ..told };
        let found = reconcile(again, Observed::Is(DomainState::Crashed)).unwrap();
        assert_eq!(
            found,
            Change { status: VmStatus::Stopped, problem: Some("It died.".into()), event: None, fell: false }
        );
        assert_eq!(seen(VmStatus::NotCreated, Observed::Silence), None);
    }

    #[test]
    fn what_our_own_failed_operation_left_is_not_somebody_elses_doing() {
        let failed = Believed {
            vm_id: 7,
            name: "web-1",
            status: VmStatus::Unknown,
            problem: Some("It did not boot in time."),
            had_domain: true,
            is_adopted: false,
        };
        let found = reconcile(failed, Observed::Is(DomainState::Running)).unwrap();
        assert_eq!((found.status, found.event), (VmStatus::Running, None));
        assert_eq!(found.problem.as_deref(), Some("It did not boot in time."));
    }
}
