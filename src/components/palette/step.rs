//! The question before an action on a VM, and the request for the action.

use super::places::Target;
use crate::{
    api::{destroy_vm, force_stop_vm, restart_vm, resume_vm, save_snapshot, start_vm, stop_vm, suspend_vm},
    model::{ApiError, OperationKind},
};

/// The question before an action on a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub kind: OperationKind,
    pub vm: Target,
    /// What the action does, and what is lost.
    pub text: String,
    pub label: String,
    pub button: &'static str,
}

impl Step {
    /// `None` if the action needs no answer.
    pub fn before(kind: OperationKind, vm: &Target) -> Option<Self> {
        let (name, to_confirm) = (vm.label(), format!("Type {} to confirm", vm.name));
        let (text, label, button) = match kind {
            OperationKind::SnapshotSave => (
                format!("The snapshot lets you return {name} to its current state."),
                "Snapshot name".to_owned(),
                "Save snapshot",
            ),
            OperationKind::ForceStop => (
                format!("{name} is powered off without a shutdown. Data not written to its disk is lost."),
                to_confirm,
                "Power off",
            ),
            OperationKind::Destroy => (
                format!("{name}, its disk and its snapshots are deleted. This cannot be undone."),
                to_confirm,
                "Destroy VM",
            ),
            _ => return None,
        };
        Some(Self { kind, vm: vm.clone(), text, label, button })
    }

    pub fn is_answered_by(&self, typed: &str) -> bool {
        match self.kind {
            OperationKind::SnapshotSave => !typed.trim().is_empty(),
            _ => typed.trim() == self.vm.name,
        }
    }
}

/// Requests an operation on a VM. `word` is the answer to its [`Step`].
pub async fn run(kind: OperationKind, vm_id: i64, word: String) -> Result<(), ApiError> {
    let answer = match kind {
        OperationKind::Start => start_vm(vm_id).await,
        OperationKind::Resume => resume_vm(vm_id).await,
        OperationKind::Stop => stop_vm(vm_id).await,
        OperationKind::Restart => restart_vm(vm_id).await,
        OperationKind::Suspend => suspend_vm(vm_id).await,
        OperationKind::SnapshotSave => save_snapshot(vm_id, word).await,
        OperationKind::ForceStop => force_stop_vm(vm_id).await,
        OperationKind::Destroy => destroy_vm(vm_id, word, false).await,
        OperationKind::Launch
        | OperationKind::Import
        | OperationKind::Resize
        | OperationKind::SnapshotRestore
        | OperationKind::SnapshotDelete => return Err(ApiError::internal()),
    };
    answer.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::{super::places::places_of, *};
    use crate::components::feed::tests::vm;

    #[test]
    fn an_admin_sees_the_owner_of_a_vm() {
        let places = places_of(&[vm(1)], true);
        assert_eq!(places[0].kind, format!("{}'s VM", vm(1).owner_name));
        let target = Target::of(&vm(1), true);
        let step = Step::before(OperationKind::Destroy, &target).unwrap();
        assert!(step.text.starts_with(&target.label()) && target.label().ends_with(&vm(1).owner_name));
        assert_eq!(Target::of(&vm(1), false).kind("VM"), "VM");
    }

    #[test]
    fn what_loses_something_is_done_once_the_name_is_typed() {
        let vm = Target { id: 1, name: "web-1".into(), owner: None };
        let answers = |kind, typed| Step::before(kind, &vm).map(|step| step.is_answered_by(typed));
        for kind in [OperationKind::Destroy, OperationKind::ForceStop] {
            assert_eq!([answers(kind, ""), answers(kind, "web-2")], [Some(false); 2]);
            assert_eq!(answers(kind, " web-1 "), Some(true));
        }
        assert_eq!(answers(OperationKind::SnapshotSave, "before"), Some(true));
        assert_eq!(answers(OperationKind::SnapshotSave, " "), Some(false));
        assert_eq!(answers(OperationKind::Stop, ""), None);
    }
}
