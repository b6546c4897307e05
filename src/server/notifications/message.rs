//! What a message says: about one alert, or about all that changed in the same tick. Pure.

use crate::model::UtcMillis;
use serde_json::{Value, json};

/// Names that a sentence lists.
const LISTED_NAMES: usize = 10;
/// Alerts that a text describes.
const LISTED_ALERTS: usize = 50;

/// One alert's part in a message.
#[derive(Debug, Clone)]
pub struct MessagePart {
    /// The notification's id.
    pub id: i64,
    pub text: String,
    pub alert_id: Option<i64>,
    pub vm_id: Option<i64>,
    /// None for the host, and for a test.
    pub vm_name: Option<String>,
    pub severity: Option<String>,
}

/// Parts of one kind for one receiver, at least one.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `raised`, `repeated`, `resolved` or `test`.
    pub kind: &'a str,
    pub queued_at: UtcMillis,
    pub parts: &'a [MessagePart],
}

impl Message<'_> {
    /// The same for every attempt.
    pub fn id(&self) -> String {
        format!("msg_{}", self.parts.first().map_or(0, |part| part.id))
    }

    /// One sentence where all say the same, else one per alert below a heading.
    pub fn text(&self) -> String {
        if let [only] = self.parts {
            return only.text.clone();
        }
        let mut names: Vec<&str> = Vec::new();
        for part in self.parts {
            let name = part.vm_name.as_deref().unwrap_or("the host");
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let names = listed(&names);
        if let Some(predicate) = self.common_predicate() {
            return format!("{names}{predicate}");
        }
        let mut text = format!("{} alerts: {names}.\n", self.parts.len());
        for part in self.parts.iter().take(LISTED_ALERTS) {
            text += &format!("\n- {}", part.text);
        }
        if self.parts.len() > LISTED_ALERTS {
            text += &format!("\n- and {} more", self.parts.len() - LISTED_ALERTS);
        }
        text
    }

    /// What all texts say after their VM's name.
    fn common_predicate(&self) -> Option<&str> {
        let predicate = |part: &'_ MessagePart| -> Option<usize> {
            let name = part.vm_name.as_deref()?;
            part.text.strip_prefix(name).filter(|rest| rest.starts_with(' ')).map(|_| name.len())
        };
        let first = self.parts.first()?;
        let common = &first.text[predicate(first)?..];
        let is_common = |part: &MessagePart| predicate(part).is_some_and(|at| &part.text[at..] == common);
        self.parts.iter().all(is_common).then_some(common)
    }

    /// The page with the details.
    pub fn link(&self, public_url: Option<&str>) -> Option<String> {
        let page = match self.parts {
            _ if self.kind == "test" => "/account".to_owned(),
            [MessagePart { vm_id: Some(vm_id), .. }] => format!("/vms/{vm_id}"),
            _ => "/alerts".to_owned(),
        };
        Some(format!("{}{page}", public_url?))
    }

    /// The body of a webhook. Of several alerts the first one's fields are in `data` itself.
    pub fn json(&self, public_url: Option<&str>) -> String {
        let fields = |part: &MessagePart, text: &str| {
            json!({
                "text": text,
                "alert_id": part.alert_id,
                "vm_id": part.vm_id,
                "vm_name": part.vm_name,
                "severity": part.severity,
            })
        };
        let mut data = self.parts.first().map_or(Value::Null, |first| fields(first, &self.text()));
        if let Some(link) = self.link(public_url) {
            data["url"] = link.into();
        }
        if self.parts.len() > 1 {
            data["alerts"] = self.parts.iter().map(|part| fields(part, &part.text)).collect();
        }
        let kind = if self.kind == "test" { "test".to_owned() } else { format!("alert.{}", self.kind) };
        json!({ "type": kind, "timestamp": self.queued_at.to_rfc3339(), "data": data }).to_string()
    }
}

/// `a`, `a and b`, `a, b and 3 more`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] if names.len() <= LISTED_NAMES => format!("{} and {last}", all.join(", ")),
        _ => format!("{} and {} more", names[..LISTED_NAMES].join(", "), names.len() - LISTED_NAMES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(texts: &[(&str, String)]) -> Vec<MessagePart> {
        let part = |(id, (name, text)): (i64, &(&str, String))| MessagePart {
            id,
            text: text.clone(),
            alert_id: Some(id),
            vm_id: Some(id * 10),
            vm_name: (*name != "host").then(|| (*name).to_owned()),
            severity: Some("error".into()),
        };
        (1..).zip(texts).map(part).collect()
    }

    fn text_of(texts: &[(&str, String)]) -> String {
        Message { kind: "raised", queued_at: UtcMillis(0), parts: &parts(texts) }.text()
    }

    #[test]
    fn what_all_have_in_common_is_said_once() {
        let stopped = |name: &'static str| (name, format!("{name} stopped because the host restarted."));
        assert_eq!(text_of(&[stopped("a")]), "a stopped because the host restarted.");
        assert_eq!(text_of(&["a", "b", "c"].map(stopped)), "a, b and c stopped because the host restarted.");
        let many: Vec<String> = (0..40).map(|n| format!("vm-{n}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), format!("{name} stopped."))).collect();
        let text = text_of(&many);
        assert!(text.starts_with("vm-0, vm-1, ") && text.ends_with(" vm-9 and 30 more stopped."), "{text}");
    }

    #[test]
    fn different_alerts_are_listed_below_a_heading_within_bounds() {
        let text = text_of(&[
            ("a", "a's CPU is at 95 %.".to_owned()),
            ("a", "a's memory is at 90 %.".to_owned()),
            ("host", "The host's load is at 3.5.".to_owned()),
        ]);
        assert_eq!(
            text,
            "3 alerts: a and the host.\n\n- a's CPU is at 95 %.\n- a's memory is at 90 %.\n- The host's load is at 3.5."
        );
        let many: Vec<_> = (0..300).map(|n| ("a", format!("a's CPU is at {n} %."))).collect();
        assert!(text_of(&many).ends_with("\n- and 250 more"));
    }

    #[test]
    fn links_lead_to_the_page_with_the_details_and_need_a_public_address() {
        let (one, two) =
            (parts(&[("a", "x".into())]), parts(&[("a", "a's CPU".into()), ("b", "b's CPU".into())]));
        let link =
            |kind, parts, public_url| Message { kind, queued_at: UtcMillis(0), parts }.link(public_url);
        let site = Some("https://cloud.example.org");
        assert_eq!(link("raised", &one, site).as_deref(), Some("https://cloud.example.org/vms/10"));
        assert_eq!(link("raised", &two, site).as_deref(), Some("https://cloud.example.org/alerts"));
        assert_eq!(link("test", &one, site).as_deref(), Some("https://cloud.example.org/account"));
        assert_eq!(link("raised", &one, None), None);
    }
}
