//! Forms and how they are submitted.

use crate::model::ApiError;
use leptos::{
    prelude::document,
    server_fn::{
        ContentType,
        client::{Client, browser::BrowserClient},
        codec::JsonEncoding,
        error::FromServerFnError,
        redirect::call_redirect_hook,
        request::{ClientReq, browser::BrowserRequest},
        response::ClientRes,
    },
};
use wasm_bindgen::JsCast;

/// Submits the form that contains the event's target, as its button would.
pub fn submit_form_of(event: &web_sys::Event) {
    let form = event
        .target()
        .and_then(|target| target.dyn_into::<web_sys::Element>().ok())
        .and_then(|element| element.closest("form").ok().flatten())
        .and_then(|form| form.dyn_into::<web_sys::HtmlFormElement>().ok());
    if let Some(form) = form {
        let _ = form.request_submit();
    }
}

/// Submits the page's form with this action, as its button would.
pub fn submit_form_to(address: &str) {
    let form = document().query_selector(&format!("form[action='{address}']")).ok().flatten();
    if let Some(form) = form.and_then(|form| form.dyn_into::<web_sys::HtmlFormElement>().ok()) {
        let _ = form.request_submit();
    }
}

/// The percent-encoded values of a form that is being submitted, including its button's.
pub fn form_body(event: &web_sys::SubmitEvent) -> Option<String> {
    let form = event.target()?.dyn_into::<web_sys::HtmlFormElement>().ok()?;
    let data = web_sys::FormData::new_with_form(&form).ok()?;
    if let Some(button) = event.submitter().and_then(|it| it.dyn_into::<web_sys::HtmlButtonElement>().ok())
        && !button.name().is_empty()
    {
        data.append_with_str(&button.name(), &button.value()).ok()?;
    }
    let parameters = web_sys::UrlSearchParams::new_with_str_sequence_sequence(&data).ok()?;
    parameters.to_string().as_string()
}

/// Posts a form to a server function and follows the redirect in the response.
///
/// # Errors
/// The server's error, or `Unreachable`.
pub async fn post_form(path: &str, body: String) -> Result<Vec<u8>, ApiError> {
    let request = <BrowserRequest as ClientReq<ApiError>>::try_new_post(
        path,
        "application/x-www-form-urlencoded",
        JsonEncoding::CONTENT_TYPE,
        body,
    )?;
    let response = <BrowserClient as Client<ApiError>>::send(request).await?;
    let (status, location) =
        (ClientRes::<ApiError>::status(&response), ClientRes::<ApiError>::location(&response));
    let is_redirect = ClientRes::<ApiError>::has_redirect(&response);
    let bytes = ClientRes::<ApiError>::try_into_bytes(response).await?;
    if status >= 400 {
        return Err(ApiError::de(bytes));
    }
    if is_redirect {
        call_redirect_hook(&location);
    }
    Ok(bytes.to_vec())
}
