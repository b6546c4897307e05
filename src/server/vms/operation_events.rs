//! The events of operations: their kinds and texts.

use crate::model::{OperationKind, SnapshotName};
use std::time::Duration;

/// The kind of event that a request for an operation is.
pub fn requested_kind(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Launch => "vm_launch_requested",
        OperationKind::Start => "vm_start_requested",
        OperationKind::Stop => "vm_stop_requested",
        OperationKind::ForceStop => "vm_force_stop_requested",
        OperationKind::Restart => "vm_restart_requested",
        OperationKind::Suspend => "vm_suspend_requested",
        OperationKind::Resume => "vm_resume_requested",
        OperationKind::Destroy => "vm_destroy_requested",
        OperationKind::Resize => "vm_resize_requested",
        OperationKind::SnapshotSave => "vm_snapshot_save_requested",
        OperationKind::SnapshotRestore => "vm_snapshot_restore_requested",
        OperationKind::SnapshotDelete => "vm_snapshot_delete_requested",
        OperationKind::Import => "vm_import_requested",
    }
}

pub fn done_kind(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Launch => "vm_launched",
        OperationKind::Start => "vm_started",
        OperationKind::Stop => "vm_stopped",
        OperationKind::ForceStop => "vm_turned_off",
        OperationKind::Restart => "vm_restarted",
        OperationKind::Suspend => "vm_suspended",
        OperationKind::Resume => "vm_resumed",
        OperationKind::Destroy => "vm_destroyed",
        OperationKind::Resize => "vm_resized",
        OperationKind::SnapshotSave => "vm_snapshot_saved",
        OperationKind::SnapshotRestore => "vm_snapshot_restored",
        OperationKind::SnapshotDelete => "vm_snapshot_deleted",
        OperationKind::Import => "vm_adopted",
    }
}

/// `ada requested a stop of web-1.`
pub fn requested_text(who: &str, kind: OperationKind, name: &str, snapshot: Option<&SnapshotName>) -> String {
    let what = match kind {
        OperationKind::Launch => "a launch",
        OperationKind::Start => "a start",
        OperationKind::Stop => "a stop",
        OperationKind::ForceStop => "a forced stop",
        OperationKind::Restart => "a restart",
        OperationKind::Suspend => "a suspend",
        OperationKind::Resume => "a resume",
        OperationKind::Destroy => "the deletion",
        OperationKind::Resize => "a resize",
        OperationKind::SnapshotSave => "a new snapshot",
        OperationKind::SnapshotRestore => "the restore of a snapshot",
        OperationKind::SnapshotDelete => "the deletion of a snapshot",
        OperationKind::Import => "the import",
    };
    match snapshot {
        Some(snapshot) => format!("{who} requested {what} of {name}: {}.", snapshot.as_str()),
        None => format!("{who} requested {what} of {name}."),
    }
}

/// `web-1 launched in 32 s.`
pub fn done_text(name: &str, kind: OperationKind, took: Option<Duration>) -> String {
    let done = kind.done();
    match took {
        Some(took) if !kind.is_about_a_snapshot() && kind != OperationKind::Resize => {
            format!("{name} {done} in {}.", duration(took))
        }
        _ => format!("{name} {done}."),
    }
}

/// `32 s`, `2 min 5 s`
fn duration(took: Duration) -> String {
    match took.as_secs() {
        secs if secs < 60 => format!("{secs} s"),
        secs => format!("{} min {} s", secs / 60, secs % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_how_long_an_operation_took() {
        let text = |kind, secs: u64| done_text("web-1", kind, Some(Duration::from_millis(secs * 1000 + 900)));
        assert_eq!(text(OperationKind::Launch, 32), "web-1 launched in 32 s.");
        assert_eq!(text(OperationKind::Destroy, 125), "web-1 destroyed in 2 min 5 s.");
        assert_eq!(text(OperationKind::SnapshotSave, 3), "web-1 has a new snapshot.");
        assert_eq!(text(OperationKind::Import, 3), "web-1 imported in 3 s.");
        assert_eq!(done_text("web-1", OperationKind::Stop, None), "web-1 stopped.");
    }
}
