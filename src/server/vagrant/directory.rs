//! A machine's folder and the Vagrantfile in it.

use super::{
    driver::Vagrant,
    task::{Task, say, unwritable},
    vagrantfile::{
        self, CLOUD_INIT, CLOUD_INIT_FILE, GROW_ROOT, GROW_ROOT_FILE, PROVISION_FILE, USER_DATA_FILE,
        VAGRANTFILE,
    },
};
use crate::server::provider::{Machine, MachineDriver, MachineError, MachineErrorKind, Project};
use std::{io, path::Path};
use tokio::{io::AsyncWriteExt, sync::mpsc::UnboundedSender};

impl Vagrant {
    /// Creates the machine's folder and updates its Vagrantfile. An edited one is kept, unless the machine is resized: then
    /// it is renamed.
    pub(super) async fn prepare(
        &self,
        machine: &Machine,
        lines: &UnboundedSender<String>,
    ) -> Result<(), MachineError> {
        if let Some(project) = &machine.project {
            return has_vagrantfile(project).await;
        }
        let text = self.vagrantfile(machine);
        let written = prepare_directory(machine, &text).await;
        match written.map_err(|error| unwritable(&machine.directory, &error))? {
            Prepared::AsItWas | Prepared::Written => {}
            Prepared::KeptEdited => {
                say(
                    lines,
                    "The Vagrantfile was edited by hand and is kept. Rename it to have a new one written.",
                );
            }
            Prepared::SetAside => {
                say(
                    lines,
                    "The Vagrantfile was edited by hand; it was kept as Vagrantfile.edited and regenerated.",
                );
            }
        }
        Ok(())
    }

    /// Makes only what is missing. Without a Vagrantfile of its own in the folder, vagrant would take one from a
    /// folder above.
    pub(super) async fn prepare_as_it_is(&self, task: &Task<'_>) -> Result<(), MachineError> {
        let is_there = tokio::fs::try_exists(task.machine.directory.join(VAGRANTFILE)).await.unwrap_or(false);
        if task.machine.project.is_none() && is_there {
            return Ok(());
        }
        self.prepare(task.machine, task.lines).await
    }
}

/// Without the project's own Vagrantfile, vagrant would take one from a folder above.
pub(super) async fn has_vagrantfile(project: &Project) -> Result<(), MachineError> {
    let names = project.vagrantfile.as_deref().map_or(vec![VAGRANTFILE, "vagrantfile"], |name| vec![name]);
    for name in &names {
        if tokio::fs::try_exists(project.directory.join(name)).await.unwrap_or(false) {
            return Ok(());
        }
    }
    let shown = project.directory.display();
    Err(MachineError {
        kind: MachineErrorKind::VagrantfileBroken,
        text: format!("The project {shown} no longer has a Vagrantfile. Restore it, then try again."),
        detail: format!("none of {names:?} in {shown}"),
    })
}

/// What became of a machine's Vagrantfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    AsItWas,
    Written,
    /// It was edited and is kept.
    KeptEdited,
    /// It was edited and is kept beside the new one.
    SetAside,
}

/// Creates a machine's folder, for its owner only, with the files for its guest and the Vagrantfile. An edited one is
/// kept, unless the machine is resized.
///
/// # Errors
/// When the folder or a file cannot be written.
pub async fn prepare_directory(machine: &Machine, vagrantfile: &str) -> io::Result<Prepared> {
    let directory = &machine.directory;
    tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).await?;
    let setup = &machine.setup;
    let files = [
        (GROW_ROOT_FILE, Some(GROW_ROOT)),
        (CLOUD_INIT_FILE, setup.user_data.as_ref().map(|_| CLOUD_INIT)),
        (USER_DATA_FILE, setup.user_data.as_deref()),
        (PROVISION_FILE, setup.provision_script.as_deref()),
    ];
    for (name, text) in files {
        if let Some(text) = text
            && !is_file_with(&directory.join(name), text).await
        {
            put(directory, name, text).await?;
        }
    }
    let file = directory.join(VAGRANTFILE);
    let mut prepared = Prepared::Written;
    match tokio::fs::read_to_string(&file).await {
        Ok(there) if there == vagrantfile => return Ok(Prepared::AsItWas),
        Ok(there) if vagrantfile::is_unedited(&there) => {}
        Ok(_) if machine.is_resized => {
            tokio::fs::rename(&file, file.with_extension("edited")).await?;
            prepared = Prepared::SetAside;
        }
        Ok(_) => return Ok(Prepared::KeptEdited),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // Not text, but a user put it there.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Prepared::KeptEdited),
        Err(error) => return Err(error),
    }
    put(directory, VAGRANTFILE, vagrantfile).await?;
    Ok(prepared)
}

async fn is_file_with(file: &Path, text: &str) -> bool {
    tokio::fs::read_to_string(file).await.is_ok_and(|there| there == text)
}

/// Renamed into place: a file that is cut off half-way is never seen.
async fn put(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let draft = directory.join(format!(".{name}.new"));
    let _ = tokio::fs::remove_file(&draft).await;
    let mut file =
        tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).await?;
    file.write_all(text.as_bytes()).await?;
    file.flush().await?;
    tokio::fs::rename(&draft, directory.join(name)).await
}
