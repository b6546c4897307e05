//! The versions of each VM's Vagrantfile, whether we or a user edited it.

use super::{Own, VmAccess, Vms, stamp};
use crate::{
    model::{ApiError, UtcMillis, VagrantfileVersion},
    server::{internal, provider::Machine},
};

/// A larger one is not kept; ours have 2 KB.
const MAX_VAGRANTFILE_BYTES: u64 = 64 * 1024;
const KEPT_VAGRANTFILES: u32 = 50;

impl Vms {
    /// The versions of the VM's Vagrantfile, newest first.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn vagrantfiles(&self, access: &VmAccess<Own>) -> Result<Vec<VagrantfileVersion>, ApiError> {
        let rows: Vec<(i64, i64, String)> =
            sqlx::query_as("SELECT id, seen_at, text FROM vagrantfile WHERE vm_id = ? ORDER BY id DESC")
                .bind(access.vm().id)
                .fetch_all(self.0.database.read())
                .await
                .map_err(internal)?;
        let version = |(id, seen_at, text)| VagrantfileVersion { id, seen_at: UtcMillis(seen_at), text };
        Ok(rows.into_iter().map(version).collect())
    }

    /// Saves a version of a VM's Vagrantfile if it changed, whether we or a user edited it.
    pub(super) async fn keep_vagrantfile(&self, vm_id: i64, machine: &Machine) {
        let file = machine.directory.join("Vagrantfile");
        let read = async {
            let size = tokio::fs::metadata(&file).await.ok()?.len();
            if size > MAX_VAGRANTFILE_BYTES {
                return None;
            }
            tokio::fs::read_to_string(&file).await.ok()
        };
        let Some(text) = read.await else { return };
        let kept = async {
            let mut tx = self.0.database.write().await?;
            sqlx::query(
                "INSERT INTO vagrantfile (vm_id, seen_at, text)
                 SELECT ?1, ?2, ?3 WHERE ?3 IS NOT
                     (SELECT text FROM vagrantfile WHERE vm_id = ?1 ORDER BY id DESC LIMIT 1)",
            )
            .bind(vm_id)
            .bind(stamp())
            .bind(&text)
            .execute(&mut *tx)
            .await?;
            sqlx::query(
                "DELETE FROM vagrantfile WHERE vm_id = ?1 AND id <=
                     (SELECT id FROM vagrantfile WHERE vm_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            )
            .bind(vm_id)
            .bind(KEPT_VAGRANTFILES)
            .execute(&mut *tx)
            .await?;
            tx.commit().await
        };
        if let Err(error) = kept.await {
            tracing::warn!(vm_id, %error, "the Vagrantfile could not be kept");
        }
    }
}
