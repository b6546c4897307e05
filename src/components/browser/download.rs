//! Downloads of what the page shows.

use leptos::prelude::{document, window};
use wasm_bindgen::JsCast;

/// Downloads the page's charts as one picture, `NAME.png`: two a row, each under its title.
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
