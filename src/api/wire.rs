//! How answers travel. Between the two halves of this crate, and to other clients that are made of it, in postcard:
//! short, quickly read, and little code for each type. To everybody else, who does not ask for that, as JSON.
//!
//! Postcard tells no names of fields, so the media type tells what the types look like (`build.rs`): a page of another
//! build gets JSON, cannot read it, and says so.

use crate::model::{ApiError, ErrorCode};
use codee::{Decoder, Encoder};
use leptos::server_fn::{
    Bytes, ContentType, Decodes, Encodes, Format, FormatType,
    codec::{JsonEncoding, Post},
    error::{FromServerFnError, ServerFnErrorErr},
};
use serde::{Serialize, de::DeserializeOwned};

/// For `output` of a server function.
pub type Wire = Post<Packed>;

/// Also the codec of what pages are rendered with.
#[derive(Debug, Clone, Copy)]
pub struct Packed;

impl ContentType for Packed {
    const CONTENT_TYPE: &'static str = concat!("application/x-postcard;types=", env!("TWARGA_TYPES"));
}

impl FormatType for Packed {
    const FORMAT_TYPE: Format = Format::Binary;
}

impl<T: Serialize> Encodes<T> for Packed {
    type Error = String;

    fn encode(output: &T) -> Result<Bytes, String> {
        #[cfg(feature = "ssr")]
        if !crate::server::web::request_context::accepts(Self::CONTENT_TYPE) {
            return serde_json::to_vec(output).map(Bytes::from).map_err(|error| error.to_string());
        }
        postcard::to_allocvec(output).map(Bytes::from).map_err(|error| error.to_string())
    }
}

impl<T: DeserializeOwned> Decodes<T> for Packed {
    type Error = postcard::Error;

    fn decode(bytes: Bytes) -> Result<T, postcard::Error> {
        postcard::from_bytes(&bytes)
    }
}

impl<T: Serialize> Encoder<T> for Packed {
    type Error = postcard::Error;
    type Encoded = Vec<u8>;

    fn encode(value: &T) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(value)
    }
}

impl<T: DeserializeOwned> Decoder<T> for Packed {
    type Error = postcard::Error;
    type Encoded = [u8];

    fn decode(bytes: &[u8]) -> Result<T, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

/// How refusals travel: as JSON to everybody, so that a page of another build can read them, too. In the browser its own
/// parser reads it.
pub struct RefusalJson;

impl ContentType for RefusalJson {
    const CONTENT_TYPE: &'static str = JsonEncoding::CONTENT_TYPE;
}

impl FormatType for RefusalJson {
    const FORMAT_TYPE: Format = JsonEncoding::FORMAT_TYPE;
}

#[cfg(not(feature = "hydrate"))]
impl Encodes<ApiError> for RefusalJson {
    type Error = serde_json::Error;

    fn encode(refusal: &ApiError) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(refusal).map(Bytes::from)
    }
}

#[cfg(not(feature = "hydrate"))]
impl Decodes<ApiError> for RefusalJson {
    type Error = serde_json::Error;

    fn decode(bytes: Bytes) -> Result<ApiError, serde_json::Error> {
        serde_json::from_slice(&bytes)
    }
}

#[cfg(feature = "hydrate")]
impl Encodes<ApiError> for RefusalJson {
    type Error = &'static str;

    fn encode(_: &ApiError) -> Result<Bytes, &'static str> {
        Err("a browser refuses nothing")
    }
}

#[cfg(feature = "hydrate")]
impl Decodes<ApiError> for RefusalJson {
    type Error = &'static str;

    fn decode(bytes: Bytes) -> Result<ApiError, &'static str> {
        refusal_in(&bytes).ok_or("this is no refusal")
    }
}

#[cfg(feature = "hydrate")]
fn refusal_in(json: &[u8]) -> Option<ApiError> {
    use crate::model::FieldError;
    use js_sys::{Array, JSON, Reflect};
    use serde::{
        Deserialize,
        de::{IntoDeserializer, value::Error},
    };
    use wasm_bindgen::{JsCast, JsValue};

    let text_of = |object: &JsValue, key: &str| Reflect::get(object, &key.into()).ok()?.as_string();
    let refusal = JSON::parse(std::str::from_utf8(json).ok()?).ok()?;
    let code = text_of(&refusal, "code")?;
    let fields = Reflect::get(&refusal, &"fields".into()).ok()?.dyn_into::<Array>();
    let field =
        |one: JsValue| Some(FieldError { field: text_of(&one, "field")?, text: text_of(&one, "text")? });
    Some(ApiError {
        code: ErrorCode::deserialize(IntoDeserializer::<Error>::into_deserializer(code.as_str())).ok()?,
        text: text_of(&refusal, "text")?,
        fields: fields.map(|fields| fields.iter().filter_map(field).collect()).unwrap_or_default(),
    })
}

impl FromServerFnError for ApiError {
    type Encoder = RefusalJson;

    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        match error {
            ServerFnErrorErr::Deserialization(_) if cfg!(feature = "hydrate") => Self::new(
                ErrorCode::Unreachable,
                "The server's answer could not be read; it may have been updated. Please load this page again.",
            ),
            ServerFnErrorErr::Args(text) | ServerFnErrorErr::Deserialization(text) => {
                Self::new(ErrorCode::Invalid, format!("The request could not be read: {text}"))
            }
            ServerFnErrorErr::MissingArg(field) => {
                Self::invalid_field(&field, format!("{field} is missing."))
            }
            ServerFnErrorErr::Request(_) | ServerFnErrorErr::Response(_) => {
                Self::new(ErrorCode::Unreachable, "The server does not answer.")
            }
            _ => Self::internal(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ApiError, Charts, ErrorCode, Event, Live, MetricRange, Severity, UtcMillis};

    fn travelled<T: Serialize + DeserializeOwned>(value: &T) -> T {
        <Packed as Decoder<T>>::decode(&<Packed as Encoder<T>>::encode(value).unwrap()).unwrap()
    }

    #[test]
    fn a_poll_arrives_as_it_was_sent() {
        let mut live: Live = crate::components::feed::tests::live(900, &[1, 2], vec![]);
        live.vms[0].figures.cpu_percent = Some(34.56);
        live.vms[0].figures.network_rx_mb = Some(1_234_567.89);
        live.vms[0].figures.network_rx_mb_per_s = Some(0.0103);
        live.vms[1].fell_at = Some(UtcMillis(5));
        assert_eq!(travelled(&live), live);
        let beside = live.clone().beside(Some(""));
        assert_eq!(travelled(&beside), beside);
    }

    #[test]
    fn a_refusal_and_what_charts_show_arrive_as_they_were_sent() {
        let refusal: Result<(), ApiError> = Err(ApiError::new(ErrorCode::Conflict, "It runs already."));
        assert_eq!(travelled(&refusal), refusal);
        let range = MetricRange {
            vm_id: Some(1),
            metric_name: "vm_cpu_percent".into(),
            unit: "%".into(),
            at: vec![UtcMillis(1_795_414_554_120), UtcMillis(1_795_414_559_120)],
            min: vec![Some(0.01), None],
            mean: vec![Some(34.5678), None],
            max: vec![Some(100.0), None],
        };
        let event = Event {
            id: 1,
            at: UtcMillis(-5),
            kind: "vm_launched".into(),
            severity: Severity::Warning,
            vm_id: None,
            vm_name: None,
            person: Some("ada".into()),
            text: "…".into(),
        };
        let charts = Charts {
            from: UtcMillis(0),
            to: UtcMillis(1),
            ranges: vec![range],
            statistics: vec![None],
            events: vec![event],
        };
        assert_eq!(travelled(&charts), charts);
    }
}
