//! Events by page: filtered, counted, and as files.

use super::{EventRow, Events};
use crate::{
    model::{
        ApiError, CurrentUser, Event, EventCategory, EventFilter, EventOrigin, EventPage, Role, Severity,
        SeverityCounts,
    },
    server::internal,
};
use sqlx::{QueryBuilder, Sqlite};

const PAGE_LENGTH: usize = 50;
/// A file holds the newest so many.
const FILE_LENGTH: i64 = 50_000;

/// A filter, and the user who searches.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    pub user: &'a CurrentUser,
    pub filter: &'a EventFilter,
}

/// An event, and where it came from, as far as the user may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub event: Event,
    pub origin: Option<EventOrigin>,
}

impl Events {
    /// A page of the events a user may see, newest first, older than the event `before` if it is named.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn page(&self, search: Search<'_>, before: Option<i64>) -> Result<EventPage, ApiError> {
        let mut found = self.newest(search, before, PAGE_LENGTH as i64 + 1).await?;
        let more = found.len() > PAGE_LENGTH;
        found.truncate(PAGE_LENGTH);
        let origins = found.iter().filter_map(|found| found.origin.clone()).collect();
        let events = found.into_iter().map(|found| found.event).collect();
        let mut query = QueryBuilder::new("SELECT event.severity, count(*) ");
        let of_any = EventFilter { severity: None, ..search.filter.clone() };
        push_from(&mut query, Search { filter: &of_any, ..search });
        query.push(" GROUP BY event.severity");
        let counts: Vec<(String, u32)> =
            query.build_query_as().fetch_all(self.database.read()).await.map_err(internal)?;
        let of = |severity: Severity| {
            counts.iter().find(|(name, _)| name == severity.as_str()).map_or(0, |(_, count)| *count)
        };
        let counts = SeverityCounts {
            info: of(Severity::Info),
            warning: of(Severity::Warning),
            error: of(Severity::Error),
        };
        Ok(EventPage { events, origins, more, counts })
    }

    /// The newest 50,000 events a user may see, newest first, for a file.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn for_file(&self, search: Search<'_>) -> Result<Vec<Found>, ApiError> {
        self.newest(search, None, FILE_LENGTH).await
    }

    async fn newest(
        &self,
        search: Search<'_>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Found>, ApiError> {
        let mut query = QueryBuilder::new(
            "SELECT event.id, event.at, event.kind, event.severity, event.vm_id, event.text,
                    vm.name AS vm_name, account.username AS user",
        );
        for column in ["address", "session_id", "request_id"] {
            if search.user.role == Role::Admin {
                query.push(format!(", event.{column}"));
            } else {
                query.push(", CASE WHEN coalesce(event.done_by, event.account_id) = ");
                query.push_bind(search.user.id).push(format!(" THEN event.{column} END AS {column}"));
            }
        }
        query.push(" ");
        push_from(&mut query, search);
        if let Some(before) = before {
            query.push(" AND event.id < ").push_bind(before);
        }
        query.push(" ORDER BY event.id DESC LIMIT ").push_bind(limit);
        let rows: Vec<EventRow> =
            query.build_query_as().fetch_all(self.database.read()).await.map_err(internal)?;
        let found = |row: EventRow| Found { origin: row.origin(), event: row.into_event() };
        Ok(rows.into_iter().map(found).collect())
    }
}

/// The tables and conditions of a search. Users see the events of their VMs, destroyed ones included, of those shared
/// with them, and of their own account.
fn push_from(query: &mut QueryBuilder<Sqlite>, Search { user, filter }: Search<'_>) {
    query.push(
        "FROM event LEFT JOIN vm ON vm.id = event.vm_id LEFT JOIN account ON account.id = event.account_id WHERE TRUE",
    );
    if user.role != Role::Admin {
        query.push(" AND (vm.owner_id = ").push_bind(user.id);
        query.push(" OR EXISTS (SELECT 1 FROM vm_share WHERE vm_id = vm.id AND account_id = ");
        query.push_bind(user.id).push(")");
        query.push(" OR event.account_id = ").push_bind(user.id).push(")");
    }
    if let Some(category) = filter.category {
        let prefix = "substr(event.kind, 1, instr(event.kind, '_') - 1)";
        match category {
            EventCategory::Vm => query.push(format!(" AND {prefix} IN ('vm', 'guest', 'terminal')")),
            EventCategory::Alert => query.push(format!(" AND {prefix} = 'alert'")),
            EventCategory::Account => query.push(format!(" AND {prefix} IN ('account', 'credits', 'ssh')")),
            EventCategory::Security => query.push(format!(" AND {prefix} = 'security'")),
            EventCategory::System => query.push(format!(
                " AND {prefix} NOT IN ('vm', 'guest', 'terminal', 'alert', 'account', 'credits', 'ssh', 'security')"
            )),
        };
    }
    if let Some(severity) = filter.severity {
        query.push(" AND event.severity = ").push_bind(severity.as_str());
    }
    if let Some(name) = &filter.vm {
        query.push(" AND vm.name = ").push_bind(name.to_ascii_lowercase());
    }
    if let Some(user) = &filter.user {
        query.push(" AND (account.username = ").push_bind(user.clone());
        query.push(" OR event.done_by IN (SELECT id FROM account WHERE username = ");
        query.push_bind(user.clone()).push("))");
    }
    if let Some(text) = &filter.text {
        let escaped: String = text
            .chars()
            .flat_map(|c| matches!(c, '%' | '_' | '\\').then_some('\\').into_iter().chain([c]))
            .collect();
        query.push(" AND event.text LIKE ").push_bind(format!("%{escaped}%")).push(" ESCAPE '\\'");
    }
    if let Some(from) = filter.from {
        query.push(" AND event.at >= ").push_bind(from.0);
    }
    if let Some(to) = filter.to {
        query.push(" AND event.at <= ").push_bind(to.0);
    }
}
