//! The event log, by page and as a file.

use super::extract::ApiQuery;
use crate::{
    model::{ApiError, CurrentUser, Event, EventOrigin, EventQuery, SeverityCounts},
    server::{
        events::{Found, Search},
        internal,
        state::AppState,
    },
};
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

/// An event with the request that caused it, as far as the user may know that.
#[derive(Serialize)]
struct EventEntry<'a> {
    #[serde(flatten)]
    event: &'a Event,
    address: Option<&'a str>,
    session_id: Option<i64>,
    request_id: Option<&'a str>,
}

impl<'a> EventEntry<'a> {
    fn new(event: &'a Event, origin: Option<&'a EventOrigin>) -> Self {
        Self {
            event,
            address: origin.and_then(|origin| origin.address.as_deref()),
            session_id: origin.and_then(|origin| origin.session_id),
            request_id: origin.map(|origin| origin.request_id.as_str()),
        }
    }

    fn of(found: &'a Found) -> Self {
        Self::new(&found.event, found.origin.as_ref())
    }
}

#[derive(Deserialize)]
pub struct ListParameters {
    before: Option<i64>,
}

#[derive(Serialize)]
struct EventList<'a> {
    events: Vec<EventEntry<'a>>,
    more: bool,
    counts: SeverityCounts,
}

/// 50 events that the user may see, newest first, filtered as on the events page.
pub async fn list(
    State(state): State<AppState>,
    user: CurrentUser,
    ApiQuery(parameters): ApiQuery<ListParameters>,
    ApiQuery(query): ApiQuery<EventQuery>,
) -> Result<Response, ApiError> {
    let filter = query.filter()?;
    let page = state.events.page(Search { user: &user, filter: &filter }, parameters.before).await?;
    let origin_of = |event: &Event| page.origins.iter().find(|origin| origin.event_id == event.id);
    let events = page.events.iter().map(|event| EventEntry::new(event, origin_of(event))).collect();
    Ok(Json(EventList { events, more: page.more, counts: page.counts }).into_response())
}

/// The newest events that the user may see, as a file, filtered as on the events page.
pub async fn export(
    State(state): State<AppState>,
    user: CurrentUser,
    ApiQuery(parameters): ApiQuery<ExportParameters>,
    ApiQuery(query): ApiQuery<EventQuery>,
) -> Result<Response, ApiError> {
    let filter = query.filter()?;
    let format = parameters.format.as_deref().unwrap_or("csv");
    if !["csv", "json"].contains(&format) {
        return Err(ApiError::invalid_field("format", "format is csv or json."));
    }
    state.events.record_export(&user, None, "events").await;
    let found = state.events.for_file(Search { user: &user, filter: &filter }).await?;
    let entries: Vec<_> = found.iter().map(EventEntry::of).collect();
    let (content_type, name, text) = if format == "csv" {
        ("text/csv; charset=utf-8", "events.csv", events_csv(&entries))
    } else {
        ("application/json", "events.json", serde_json::to_string(&entries).map_err(internal)?)
    };
    let headers = [
        (header::CONTENT_TYPE, content_type.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, text).into_response())
}

#[derive(Deserialize)]
pub struct ExportParameters {
    format: Option<String>,
}

fn events_csv(entries: &[EventEntry<'_>]) -> String {
    let mut text = "id,time,kind,severity,vm,person,text,address,session_id,request_id\n".to_owned();
    for EventEntry { event, address, session_id, request_id } in entries {
        let session = session_id.map_or_else(String::new, |id| id.to_string());
        let columns = [
            &event.kind,
            event.severity.as_str(),
            event.vm_name.as_deref().unwrap_or_default(),
            event.user.as_deref().unwrap_or_default(),
            &event.text,
            address.unwrap_or_default(),
            &session,
            request_id.unwrap_or_default(),
        ];
        let columns = columns.map(csv_field).join(",");
        text += &format!("{},{},{columns}\n", event.id, event.at.to_rfc3339());
    }
    text
}

/// Quoted if needed (RFC 4180), and escaped so that a spreadsheet does not take it for a formula.
fn csv_field(text: &str) -> String {
    let text =
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::csv_field;

    #[test]
    fn a_csv_field_is_quoted_and_never_a_formula() {
        assert_eq!(csv_field("plain"), "plain");
        assert_eq!(csv_field("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(csv_field("=1+1"), "'=1+1");
    }
}
