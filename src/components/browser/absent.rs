use crate::components::chart_data::{ChartData, Scale};
use crate::model::UtcMillis;
use leptos::web_sys::HtmlDivElement;

pub fn now() -> UtcMillis {
    UtcMillis::default()
}

pub fn utc_offset_minutes(_at: UtcMillis) -> i32 {
    0
}

pub fn time_zone() -> String {
    String::new()
}

pub fn page_is_visible() -> bool {
    true
}

pub async fn within<T>(_millis: u32, work: impl Future<Output = T>) -> Option<T> {
    Some(work.await)
}

pub fn close_details(_selector: &str) {}

pub fn close_details_beside(_selector: &str, _event: &leptos::web_sys::Event) {}

pub fn is_open(_event: &leptos::ev::Event) -> bool {
    false
}

pub fn focus_leaves(_event: &leptos::ev::FocusEvent) -> bool {
    false
}

pub fn is_in_dialog(_event: &leptos::ev::Event) -> bool {
    false
}

pub fn show_element(_id: &str) {}

pub fn take_focus_from_within(_id: &str) {}

pub fn catch_focus(_id: &'static str) {}

pub struct Plot;

impl Plot {
    pub fn on(_element: &HtmlDivElement, _scale: Scale) -> Option<Self> {
        None
    }

    pub fn draw(&mut self, _data: &ChartData) {}
}

pub fn after_next_frame(_then: impl FnOnce() + 'static) {}

pub fn on_visibility_change(_then: impl Fn() + 'static) {}

pub fn on_network_return(_then: impl Fn() + 'static) {}

pub fn on_colour_scheme_change(_then: impl Fn() + Clone + 'static) {}

pub fn save_charts_as_png(_name: &str) {}

pub fn horizontal_extent(_element: &HtmlDivElement) -> (f64, f64) {
    (0.0, 0.0)
}

pub fn open_dialog(_id: &str) -> bool {
    false
}

pub fn close_dialog(_id: &str) -> bool {
    false
}

pub fn submit_form_to(_address: &str) {}

pub fn submit_form_of(_event: &leptos::ev::Event) {}

pub fn set_theme(_theme: crate::model::Theme) {}

pub fn theme() -> crate::model::Theme {
    crate::model::Theme::default()
}

pub fn toggle_full_screen(_element_id: &str) {}

pub fn is_typing(_event: &leptos::ev::KeyboardEvent) -> bool {
    false
}

pub fn focus_search() -> bool {
    false
}

pub fn hide_popover(_: &str) {}

pub fn form_body(_: &leptos::ev::SubmitEvent) -> Option<String> {
    None
}

/// # Errors
/// Always: the server has nobody to ask.
pub async fn post_form(_: &str, _: String) -> Result<Vec<u8>, crate::model::ApiError> {
    Err(crate::model::ApiError::internal())
}
