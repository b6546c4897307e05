//! The events of operations: their kinds and texts.

use crate::model::{OperationKind, SnapshotName};

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
    };
    match snapshot {
        Some(snapshot) => format!("{who} requested {what} of {name}: {}.", snapshot.as_str()),
        None => format!("{who} requested {what} of {name}."),
    }
}

/// `web-1 launched in 32 s.`
pub fn done_text(name: &str, kind: OperationKind, started_at: Option<i64>, now: i64) -> String {
    let done = kind.done();
    match started_at {
        Some(started_at) if !kind.is_about_a_snapshot() && kind != OperationKind::Resize => {
            format!("{name} {done} in {}.", duration(now - started_at))
        }
        _ => format!("{name} {done}."),
    }
}

/// `32 s`, `2 min 5 s`
fn duration(ms: i64) -> String {
    match ms.max(0) / 1000 {
        secs if secs < 60 => format!("{secs} s"),
        secs => format!("{} min {} s", secs / 60, secs % 60),
    }
}
