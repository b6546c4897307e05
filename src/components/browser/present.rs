use crate::model::{ApiError, Theme, UtcMillis};
use leptos::{
    prelude::{
        StoredValue, UpdateValue, document, on_cleanup, request_animation_frame, set_timeout,
        set_timeout_with_handle, window,
    },
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
use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::{EventTarget, Node, VisibilityState};

/// The time by this machine's clock, which may be wrong.
pub fn now() -> UtcMillis {
    UtcMillis(js_sys::Date::now() as i64)
}

/// Minutes east of UTC that this machine's zone was, or will be, at a time.
pub fn utc_offset_minutes(at: UtcMillis) -> i32 {
    -(js_sys::Date::new(&JsValue::from_f64(at.0 as f64)).get_timezone_offset() as i32)
}

/// The browser's time zone by its name in the IANA database; empty where it does not say.
pub fn time_zone() -> String {
    let format = js_sys::Intl::DateTimeFormat::new(&js_sys::Array::new(), &js_sys::Object::new());
    let zone = js_sys::Reflect::get(&format.resolved_options(), &JsValue::from_str("timeZone"));
    zone.ok().and_then(|zone| zone.as_string()).unwrap_or_default()
}

pub fn page_is_visible() -> bool {
    document().visibility_state() != VisibilityState::Hidden
}

/// What `work` comes to, or `None` when it takes longer than `millis`; it is dropped then.
pub async fn within<T>(millis: u32, work: impl Future<Output = T>) -> Option<T> {
    let over = Rc::new(Cell::new(false));
    let waiting: Rc<RefCell<Option<Waker>>> = Rc::default();
    let ring = {
        let (over, waiting) = (over.clone(), waiting.clone());
        move || {
            over.set(true);
            if let Some(waker) = waiting.borrow_mut().take() {
                waker.wake();
            }
        }
    };
    let alarm = set_timeout_with_handle(ring, Duration::from_millis(millis.into())).ok();
    let mut work = pin!(work);
    let outcome = std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if over.get() => Poll::Ready(None),
        Poll::Pending => {
            *waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        }
    })
    .await;
    if let Some(alarm) = alarm {
        alarm.clear();
    }
    outcome
}

/// Calls `then` as soon as what stands in the page now has been drawn.
pub fn after_next_frame(then: impl FnOnce() + 'static) {
    request_animation_frame(move || set_timeout(then, Duration::ZERO));
}

/// Calls `then` whenever the page is hidden or seen again, until the calling owner is cleaned up.
pub fn on_visibility_change(then: impl Fn() + 'static) {
    listen(document().into(), "visibilitychange", then);
}

/// Calls `then` whenever this machine finds its network again, until the calling owner is cleaned up.
pub fn on_network_return(then: impl Fn() + 'static) {
    listen(window().into(), "online", then);
}

/// Calls `then` whenever the page changes between light and dark, until the calling owner is cleaned up.
pub fn on_colour_scheme_change(then: impl Fn() + Clone + 'static) {
    listen(window().into(), THEME_EVENT, then.clone());
    if let Ok(Some(dark)) = window().match_media("(prefers-color-scheme: dark)") {
        listen(dark.into(), "change", then);
    }
}

/// Whether the `<details>` that an event comes from is open now.
pub fn is_open(event: &web_sys::Event) -> bool {
    event
        .current_target()
        .and_then(|target| target.dyn_into::<web_sys::Element>().ok())
        .is_some_and(|details| details.has_attribute("open"))
}

/// Whether the focus goes from within the element that listens to something outside of it.
pub fn focus_leaves(event: &web_sys::FocusEvent) -> bool {
    let node = |target: EventTarget| target.dyn_into::<Node>().ok();
    let (from, to) = (event.current_target().and_then(node), event.related_target().and_then(node));
    from.zip(to).is_some_and(|(from, to)| !from.contains(Some(&to)))
}

/// Opens a dialog that is in the page, over all else. Whether it is there.
pub fn open_dialog(id: &str) -> bool {
    dialog(id).is_some_and(|dialog| dialog.open() || dialog.show_modal().is_ok())
}

/// Closes a dialog that is in the page. Whether it is there.
pub fn close_dialog(id: &str) -> bool {
    let dialog = dialog(id);
    if let Some(dialog) = &dialog {
        dialog.close();
    }
    dialog.is_some()
}

fn dialog(id: &str) -> Option<web_sys::HtmlDialogElement> {
    document().get_element_by_id(id)?.dyn_into().ok()
}

/// Sends the form that the element of an event stands in, as its button would.
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

/// Sends the page's form that goes to this address, as its button would.
pub fn submit_form_to(address: &str) {
    let form = document().query_selector(&format!("form[action='{address}']")).ok().flatten();
    if let Some(form) = form.and_then(|form| form.dyn_into::<web_sys::HtmlFormElement>().ok()) {
        let _ = form.request_submit();
    }
}

/// Where an element begins within the window, and its width; CSS pixels.
pub fn horizontal_extent(element: &web_sys::HtmlDivElement) -> (f64, f64) {
    let area = element.get_bounding_client_rect();
    (area.left(), area.width())
}

/// Hands the page's charts to the person as one picture, `NAME.png`: two a row, each under its title.
pub fn save_charts_as_png(name: &str) {
    if let Some(address) = charts_as_png() {
        let link =
            document().create_element("a").ok().and_then(|a| a.dyn_into::<web_sys::HtmlAnchorElement>().ok());
        if let Some(link) = link {
            link.set_href(&address);
            link.set_download(&format!("{name}.png"));
            link.click();
        }
    }
}

fn charts_as_png() -> Option<String> {
    const TITLE_PX: f64 = 44.0;
    const GAP_PX: f64 = 24.0;
    let found = document().query_selector_all(".chart").ok()?;
    let charts: Vec<web_sys::Element> =
        (0..found.length()).filter_map(|i| found.item(i)?.dyn_into().ok()).collect();
    let drawn: Vec<(String, web_sys::HtmlCanvasElement)> = charts
        .iter()
        .filter_map(|chart| {
            let title = chart.query_selector("h2").ok()??.text_content()?;
            Some((title, chart.query_selector("canvas").ok()??.dyn_into().ok()?))
        })
        .collect();
    let (width, height) = drawn.iter().fold((0.0, 0.0), |(width, height): (f64, f64), (_, canvas)| {
        (width.max(canvas.width().into()), height.max(canvas.height().into()))
    });
    let sheet: web_sys::HtmlCanvasElement = document().create_element("canvas").ok()?.dyn_into().ok()?;
    let cell = (width + GAP_PX, height + TITLE_PX + GAP_PX);
    sheet.set_width((2.0 * cell.0 + GAP_PX) as u32);
    sheet.set_height((drawn.len().div_ceil(2) as f64 * cell.1 + GAP_PX) as u32);
    let pen: web_sys::CanvasRenderingContext2d = sheet.get_context("2d").ok()??.dyn_into().ok()?;
    let body = window().get_computed_style(document().body()?.as_ref()).ok()??;
    let style = |property: &str| body.get_property_value(property).unwrap_or_default();
    pen.set_fill_style_str(&style("background-color"));
    pen.fill_rect(0.0, 0.0, sheet.width().into(), sheet.height().into());
    pen.set_fill_style_str(&style("color"));
    let size_px = (20.0 * window().device_pixel_ratio()).min(TITLE_PX * 0.5);
    pen.set_font(&format!("600 {size_px}px sans-serif"));
    for (i, (title, canvas)) in drawn.iter().enumerate() {
        let (x, y) = (GAP_PX + (i % 2) as f64 * cell.0, GAP_PX + (i / 2) as f64 * cell.1);
        pen.fill_text(title, x, y + TITLE_PX * 0.6).ok()?;
        pen.draw_image_with_html_canvas_element(canvas, x, y + TITLE_PX).ok()?;
    }
    sheet.to_data_url_with_type("image/png").ok()
}

/// Has an element take the whole screen, or gives the screen back.
pub fn toggle_full_screen(element_id: &str) {
    let document = document();
    if document.fullscreen_element().is_some() {
        document.exit_fullscreen();
    } else if let Some(element) = document.get_element_by_id(element_id) {
        let _ = element.request_fullscreen();
    }
}

/// Whether a key goes into a field, or to an open dialog.
pub fn is_typing(event: &web_sys::KeyboardEvent) -> bool {
    comes_from(event, "input, textarea, select, [contenteditable], dialog[open], dialog:popover-open")
}

/// What a form that is being sent holds, percent-encoded; with the button that sends it.
pub fn form_body(event: &web_sys::SubmitEvent) -> Option<String> {
    let form = event.target()?.dyn_into::<web_sys::HtmlFormElement>().ok()?;
    let data = web_sys::FormData::new_with_form(&form).ok()?;
    if let Some(button) = event.submitter().and_then(|by| by.dyn_into::<web_sys::HtmlButtonElement>().ok())
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
    let leads_away = ClientRes::<ApiError>::has_redirect(&response);
    let bytes = ClientRes::<ApiError>::try_into_bytes(response).await?;
    if status >= 400 {
        return Err(ApiError::de(bytes));
    }
    if leads_away {
        call_redirect_hook(&location);
    }
    Ok(bytes.to_vec())
}

#[wasm_bindgen(module = "/assets/scroll.js")]
extern "C" {
    /// Has each page that one comes back to stand where it was left, from now on.
    #[wasm_bindgen(js_name = keepScroll)]
    pub fn keep_scroll();
}

/// Puts the focus into the page's search field, if it has one.
pub fn focus_search() -> bool {
    let field = document().query_selector("main input[type=search]").ok().flatten();
    field
        .and_then(|field| field.dyn_into::<web_sys::HtmlElement>().ok())
        .is_some_and(|field| field.focus().is_ok())
}

/// Closes what is open of these, empties its form, and gives its summary the focus.
pub fn close_details(selector: &str) {
    for details in open_details(selector) {
        let _ = details.remove_attribute("open");
        let part = |selector| details.query_selector(selector).ok().flatten();
        if let Some(form) = part("form").and_then(|form| form.dyn_into::<web_sys::HtmlFormElement>().ok()) {
            form.reset();
        }
        if let Some(summary) = part("summary").and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok()) {
            let _ = summary.focus();
        }
    }
}

/// Closes what is open of these, but for what an event comes from.
pub fn close_details_beside(selector: &str, event: &web_sys::Event) {
    let target = event.target().and_then(|target| target.dyn_into::<Node>().ok());
    for details in open_details(selector).filter(|details| !details.contains(target.as_ref())) {
        let _ = details.remove_attribute("open");
    }
}

/// Closes a popover, which gives the focus back to the button that opened it.
pub fn hide_popover(id: &str) {
    let popover = document().get_element_by_id(id).and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok());
    if let Some(popover) = popover {
        let _ = popover.hide_popover();
    }
}

/// Whether an event comes from within a dialog.
pub fn is_in_dialog(event: &web_sys::Event) -> bool {
    comes_from(event, "dialog")
}

fn comes_from(event: &web_sys::Event, selector: &str) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
    target.is_some_and(|element| element.closest(selector).ok().flatten().is_some())
}

fn open_details(selector: &str) -> impl Iterator<Item = web_sys::Element> {
    let open = document().query_selector_all(&format!("{selector}[open]")).ok();
    let all = open.into_iter().flat_map(|open| (0..open.length()).filter_map(move |i| open.item(i)));
    all.filter_map(|details| details.dyn_into().ok())
}

/// Where a page takes the place of another: what has the focus goes with the old one, and the element gets it.
pub fn take_focus_from_within(id: &str) {
    let document = document();
    let element = document.get_element_by_id(id).and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok());
    if let Some(element) = element.filter(|element| {
        document
            .active_element()
            .is_none_or(|active| active.tag_name() == "BODY" || element.contains(Some(&active)))
    }) {
        focus_where_it_is(&element);
    }
}

fn focus_where_it_is(element: &web_sys::HtmlElement) {
    let options = web_sys::FocusOptions::new();
    options.set_prevent_scroll(true);
    let _ = element.focus_with_options(&options);
}

/// Scrolls what an element stands in until it can be seen.
pub fn show_element(id: &str) {
    if let Some(element) = document().get_element_by_id(id) {
        let options = web_sys::ScrollIntoViewOptions::new();
        options.set_block(web_sys::ScrollLogicalPosition::Nearest);
        element.scroll_into_view_with_scroll_into_view_options(&options);
    }
}

/// Gives an element the focus where it was lost with what had it.
pub fn catch_focus(id: &'static str) {
    after_next_frame(move || {
        let document = document();
        let is_lost = document.active_element().is_none_or(|active| active.tag_name() == "BODY");
        let element = document.get_element_by_id(id).filter(|_| is_lost);
        if let Some(element) = element.and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok()) {
            focus_where_it_is(&element);
        }
    });
}

/// The theme that the document has now.
pub fn theme() -> Theme {
    let chosen = document().document_element().and_then(|root| root.get_attribute("data-theme"));
    chosen.and_then(|name| Theme::parse(&name)).unwrap_or_default()
}

/// Has the document look so from now on.
pub fn set_theme(theme: Theme) {
    if let Some(root) = document().document_element() {
        let _ = match theme.attribute() {
            Some(name) => root.set_attribute("data-theme", name),
            None => root.remove_attribute("data-theme"),
        };
    }
    if let Ok(event) = web_sys::Event::new(THEME_EVENT) {
        let _ = window().dispatch_event(&event);
    }
}

const THEME_EVENT: &str = "twarga-theme";

fn listen(target: EventTarget, event: &'static str, then: impl Fn() + 'static) {
    let listener = Closure::<dyn Fn()>::new(then);
    let _ = target.add_event_listener_with_callback(event, listener.as_ref().unchecked_ref());
    let kept = StoredValue::new_local(Some((target, listener)));
    on_cleanup(move || {
        if let Some((target, listener)) = kept.try_update_value(Option::take).flatten() {
            let _ = target.remove_event_listener_with_callback(event, listener.as_ref().unchecked_ref());
        }
    });
}
