//! The event log as a file.

use super::extract::ApiQuery;
use crate::{
    model::{ApiError, CurrentUser, Event, EventQuery},
    server::{events::Search, state::AppState},
};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

/// The newest events that the user may see, as a file, filtered as on the events page.
pub async fn export(
    State(state): State<AppState>,
    user: CurrentUser,
    ApiQuery(parameters): ApiQuery<ExportParameters>,
    ApiQuery(query): ApiQuery<EventQuery>,
) -> Result<Response, ApiError> {
    let filter = query.filter()?;
    let events = state.events.for_file(Search { user: &user, filter: &filter }).await?;
    let (content_type, name, text) = match parameters.format.as_deref().unwrap_or("csv") {
        "csv" => ("text/csv; charset=utf-8", "events.csv", events_csv(&events)),
        "json" => ("application/json", "events.json", json!(events).to_string()),
        _ => return Err(ApiError::invalid_field("format", "format is csv or json.")),
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

fn events_csv(events: &[Event]) -> String {
    let mut text = "id,time,kind,severity,vm,person,text\n".to_owned();
    for event in events {
        let columns = [
            &event.kind,
            event.severity.as_str(),
            event.vm_name.as_deref().unwrap_or_default(),
            event.user.as_deref().unwrap_or_default(),
            &event.text,
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
