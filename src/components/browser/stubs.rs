use crate::{
    components::chart_data::{ChartData, Scale},
    model::{ApiError, Theme, UtcMillis},
};
use leptos::{
    ev::{Event, FocusEvent, KeyboardEvent, SubmitEvent},
    web_sys::HtmlDivElement,
};

/// Functions that ignore their arguments, with the value that each returns.
macro_rules! stubs {
    ($($name:ident($($argument:ty),*) $(-> $result:ty = $value:expr)?;)*) => {
        $(pub fn $name($(_: $argument),*) $(-> $result)? { $($value)? })*
    };
}

stubs! {
    after_next_frame(impl FnOnce() + 'static);
    close_details(&str);
    close_dialog(&str) -> bool = false;
    close_other_details(&str, &Event);
    focus_after_navigation(&str);
    focus_leaves(&FocusEvent) -> bool = false;
    focus_search() -> bool = false;
    form_body(&SubmitEvent) -> Option<String> = None;
    hide_popover(&str);
    horizontal_extent(&HtmlDivElement) -> (f64, f64) = (0.0, 0.0);
    is_details_open(&Event) -> bool = false;
    is_in_dialog(&Event) -> bool = false;
    is_typing(&KeyboardEvent) -> bool = false;
    load_script(&str) -> bool = false;
    now() -> UtcMillis = UtcMillis::default();
    on_colour_scheme_change(impl Fn() + Clone + 'static);
    on_network_return(impl Fn() + 'static);
    on_visibility_change(impl Fn() + 'static);
    open_dialog(&str) -> bool = false;
    page_is_visible() -> bool = true;
    recover_focus(&'static str);
    save_charts_as_png(&str);
    scroll_into_view(&str);
    set_theme(Theme);
    submit_form_of(&Event);
    submit_form_to(&str);
    theme() -> Theme = Theme::default();
    time_zone() -> String = String::new();
    toggle_full_screen(&str);
    utc_offset_minutes(UtcMillis) -> i32 = 0;
}

pub async fn timeout<T>(_millis: u32, future: impl Future<Output = T>) -> Option<T> {
    Some(future.await)
}

/// # Errors
/// Always.
pub async fn post_form(_path: &str, _body: String) -> Result<Vec<u8>, ApiError> {
    Err(ApiError::internal())
}

pub struct Plot;

impl Plot {
    pub fn on(_element: &HtmlDivElement, _scale: Scale) -> Option<Self> {
        None
    }

    pub fn draw(&mut self, _data: &ChartData) {}
}
