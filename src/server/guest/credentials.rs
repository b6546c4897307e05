//! Stored credentials of the guests: the ssh configuration, and the host key pinned at first contact. The table
//! `guest`.
//!
//! A row belongs to one domain and is ignored once the VM has another one. A rejected host key is accepted if the owner
//! has started the VM here since: that is how a user confirms the change.

use crate::server::{
    database::{Database, now},
    events::NewEvent,
    provider::SshConfig,
};
use sqlx::FromRow;
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub struct GuestCredentials {
    database: Database,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedCredentials {
    pub ssh_config: SshConfig,
    /// In OpenSSH's form; `None` before the first contact.
    pub host_key: Option<String>,
}

#[derive(FromRow)]
struct Row {
    host: String,
    port: u16,
    user: String,
    /// The path of each key on a line of its own.
    identity_file: String,
    host_key: Option<String>,
}

impl GuestCredentials {
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    pub async fn find(&self, vm_id: i64, domain_uuid: &str) -> Result<Option<SavedCredentials>, sqlx::Error> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT host, port, user, identity_file,
                    CASE WHEN EXISTS (
                        SELECT 1 FROM operation
                         WHERE operation.vm_id = guest.vm_id AND kind IN ('start', 'restart')
                           AND state = 'succeeded' AND requested_at > refused_at
                    ) THEN NULL ELSE host_key END AS host_key
               FROM guest WHERE vm_id = ? AND domain_uuid = ?",
        )
        .bind(vm_id)
        .bind(domain_uuid)
        .fetch_optional(self.database.read())
        .await?;
        Ok(row.map(|row| SavedCredentials {
            ssh_config: SshConfig {
                host: row.host,
                port: row.port,
                user: row.user,
                identity_files: row.identity_file.lines().map(PathBuf::from).collect(),
            },
            host_key: row.host_key,
        }))
    }

    /// Saves the ssh configuration; the pinned key is kept while the domain is the same.
    pub async fn save_credentials(
        &self,
        vm_id: i64,
        domain_uuid: &str,
        ssh_config: &SshConfig,
    ) -> Result<(), sqlx::Error> {
        let identity_files: Vec<_> =
            ssh_config.identity_files.iter().map(|path| path.to_string_lossy()).collect();
        let mut tx = self.database.write().await?;
        sqlx::query("DELETE FROM guest WHERE vm_id = ? AND domain_uuid <> ?")
            .bind(vm_id)
            .bind(domain_uuid)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO guest (vm_id, domain_uuid, host, port, user, identity_file) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (vm_id) DO UPDATE SET host = excluded.host, port = excluded.port, user = excluded.user,
                                               identity_file = excluded.identity_file",
        )
        .bind(vm_id)
        .bind(domain_uuid)
        .bind(&ssh_config.host)
        .bind(ssh_config.port)
        .bind(&ssh_config.user)
        .bind(identity_files.join("\n"))
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// From now on the guest has to show this key.
    pub async fn pin(&self, vm_id: i64, domain_uuid: &str, host_key: &str) -> Result<(), sqlx::Error> {
        let mut tx = self.database.write().await?;
        sqlx::query(
            "UPDATE guest SET host_key = ?, refused_key = NULL, refused_at = NULL
              WHERE vm_id = ? AND domain_uuid = ?",
        )
        .bind(host_key)
        .bind(vm_id)
        .bind(domain_uuid)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Notes that the guest shows another key than the pinned one; each such key makes one event.
    pub async fn reject(
        &self,
        vm_id: i64,
        domain_uuid: &str,
        shown: &str,
        text: String,
    ) -> Result<(), sqlx::Error> {
        let mut tx = self.database.write().await?;
        let changed = sqlx::query(
            "UPDATE guest SET refused_key = ?1, refused_at = ?2
              WHERE vm_id = ?3 AND domain_uuid = ?4 AND refused_key IS NOT ?1",
        )
        .bind(shown)
        .bind(now().0)
        .bind(vm_id)
        .bind(domain_uuid)
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() > 0 {
            NewEvent::warning("guest_key_changed", Some(vm_id), text).write(&mut tx).await?;
        }
        tx.commit().await
    }
}
