//! The visual language, for who works on the pages: every token and every shared component in all its states. It is
//! part of development builds only.

use crate::{
    components::{
        chart::Hue,
        confirm::{Ask, Confirm, Confirmation, Question},
        figures::{Bar, SourceTag, Sparkline},
        form::{Checks, TextField},
        icon::{Brand, Glyph, Icon},
        notice::{Failed, Refusal},
        toast::{ToastRegion, Toasts},
        trail::Frame,
        vm::StatusMark,
    },
    model::{ApiError, Source, UtcMillis, VmStatus},
};
use leptos::prelude::*;
use leptos_meta::Title;

const TOKENS: &str = include_str!("../../style/tokens.css");
const PX_PER_REM: f64 = 16.0;

/// Name and value of every token, in their order.
fn tokens() -> Vec<(&'static str, &'static str)> {
    let declaration = |part: &'static str| {
        let (name, value) = part.split_once(':')?;
        let name = &name[name.find("--")?..];
        Some((name.trim(), value.trim()))
    };
    TOKENS.split(';').filter_map(declaration).collect()
}

/// A length in CSS pixels.
fn pixels(value: &str) -> Option<f64> {
    let rem = value.strip_suffix("rem").and_then(|rem| rem.parse::<f64>().ok()).map(|rem| rem * PX_PER_REM);
    rem.or_else(|| value.strip_suffix("px")?.parse().ok())
}

#[component]
pub fn Style() -> impl IntoView {
    let toasts = Toasts::provide();
    view! {
        <Title text="Visual language"/>
        <main class="gallery">
            <header class="top"><Brand/><h1>"Visual language"</h1></header>
            <Colours/>
            <Sizes/>
            <Buttons toasts/>
            <Fields/>
            <Marks/>
            <Figures/>
            <Messages/>
            <Icons/>
        </main>
        <ToastRegion toasts/>
    }
}

/// What a token is, by its value.
fn is_colour(value: &str) -> bool {
    let colour = value.strip_prefix("light-dark(").unwrap_or_default();
    colour.starts_with('#') || colour.starts_with("rgb(") && !colour.contains("px")
}

#[component]
fn Colours() -> impl IntoView {
    let swatches = |scheme: &'static str, title: &'static str| {
        let swatch = |(name, value): (&'static str, &'static str)| {
            view! {
                <li data-token=name>
                    <svg viewBox="0 0 40 24" aria-hidden="true"><rect width="40" height="24" rx="4" fill=format!("var({name})")></rect></svg>
                    <code>{name}</code> <small class="muted">{value}</small>
                </li>
            }
        };
        view! {
            <section class=format!("panel block {scheme}")>
                <h2>"Colours, " {title}</h2>
                <ul class="tokens">{tokens().into_iter().filter(|(_, value)| is_colour(value)).map(swatch).collect_view()}</ul>
            </section>
        }
    };
    view! { <div class="charts">{swatches("light", "light")}{swatches("dark", "dark")}</div> }
}

#[component]
fn Sizes() -> impl IntoView {
    let entry = |(name, value): (&'static str, &'static str)| {
        let px = pixels(value).unwrap_or_default();
        let look = match name {
            _ if name.starts_with("--text") => {
                view! { <svg viewBox="0 0 160 32" aria-hidden="true"><text y="24" font-size=px fill="currentColor">"Twarga"</text></svg> }.into_any()
            }
            _ if name.starts_with("--space") => {
                view! { <svg viewBox="0 0 160 32" aria-hidden="true"><rect width=px height="24" y="4" fill="var(--accent)"></rect></svg> }.into_any()
            }
            _ if name.starts_with("--radius") => {
                view! { <svg viewBox="0 0 160 32" aria-hidden="true"><rect width="60" height="32" rx=px fill="var(--accent)"></rect></svg> }.into_any()
            }
            _ if name == "--font" || name == "--mono" => {
                view! { <svg viewBox="0 0 160 32" aria-hidden="true"><text y="22" font-size="14" font-family=format!("var({name})") fill="currentColor">"web-1 10.77.31.97"</text></svg> }.into_any()
            }
            _ => ().into_any(),
        };
        view! { <li data-token=name>{look}<code>{name}</code> <small class="muted">{value}</small></li> }
    };
    view! {
        <section class="panel block">
            <h2>"Text, spaces, corners, and the rest"</h2>
            <ul class="tokens">{tokens().into_iter().filter(|(_, value)| !is_colour(value)).map(entry).collect_view()}</ul>
        </section>
    }
}

#[component]
fn Buttons(toasts: Toasts) -> impl IntoView {
    let question = Question::new("example", "web-1");
    let button = |class: &'static str, label: &'static str| {
        view! {
            <button type="button" class=class>{label}</button>
            <button type="button" class=class disabled>{label} ", disabled"</button>
        }
    };
    let chips = ["All", "Running", "Stopped"].map(|label| {
        view! { <button type="button" class="chip" aria-pressed=(label == "All").to_string()>{label}</button> }
    });
    let segments = ["15 min", "1 h", "6 h"].map(|label| {
        view! { <button type="button" aria-pressed=(label == "1 h").to_string()>{label}</button> }
    });
    view! {
        <section class="panel block">
            <h2>"Buttons, toasts, dialog"</h2>
            <p class="buttons">{button("btn", "Plain")}{button("btn primary", "Primary")}</p>
            <p class="buttons">{button("btn danger", "Danger")}{button("btn danger filled", "Danger, for good")}{button("btn quiet", "Quiet")}</p>
            <p class="buttons">
                <button type="button" class="btn"><Glyph icon=Icon::Play/>"With an icon"</button>
                <button type="button" class="btn quiet" aria-label="An icon alone"><Glyph icon=Icon::Bell/></button>
                <a class="btn" href="/style">"A link"</a>
            </p>
            <p class="buttons">
                <button type="button" class="btn" on:click=move |_| toasts.say("web-1 was started.")>"A toast"</button>
                <button type="button" class="btn" on:click=move |_| toasts.warn("web-1: start failed. The box is missing.")>"A toast of trouble"</button>
                <Ask question>"A dialog…"</Ask>
            </p>
            <Confirm question title="Destroy web-1?">
                <p>"The VM and everything on its disk are deleted. This cannot be undone."</p>
                <form method="get" action="/style"><Confirmation question label="Destroy for good"/></form>
            </Confirm>
            <div class="chips">{chips.into_iter().collect_view()}</div>
            <div class="segments" role="group" aria-label="Time">{segments.into_iter().collect_view()}</div>
            <details class="ask"><summary class="btn">"More…"</summary><p>"What a button unfolds in place."</p></details>
            <p><kbd>"Ctrl"</kbd> " " <kbd>"K"</kbd></p>
        </section>
    }
}

#[component]
fn Fields() -> impl IntoView {
    let refused = || Some(ApiError::invalid_field("wrong", "Memory is 512 to 16384 MB for this image."));
    let checks = Checks::new(|| None, Signal::derive(refused));
    let text = |text: &str| RwSignal::new(text.to_owned());
    view! {
        <section class="panel block">
            <h2>"Fields"</h2>
            <div class="three">
                <TextField name="plain" label="Plain" value=text("web-1") checks/>
                <TextField name="hinted" label="With a hint and a unit" value=text("1024") checks unit="MB" hint="512 MB or more."/>
                <TextField name="wrong" label="Wrong" value=text("lots") checks/>
            </div>
            <div class="three">
                <div class="field"><label for="choice">"Choice"</label><span class="control"><select id="choice"><option>"Debian 12"</option><option>"Alpine 3.23"</option></select></span></div>
                <div class="field"><label for="disabled">"Disabled"</label><span class="control"><input id="disabled" value="cannot be changed" disabled/></span></div>
                <div class="field"><label for="slider">"Slider"</label><input id="slider" class="slider" type="range" value="40"/></div>
            </div>
            <label class="choice"><input type="checkbox" checked/> "A thing that is so or not"</label>
            <span class="search"><Glyph icon=Icon::Search/><input type="search" placeholder="Search" aria-label="Search"/></span>
        </section>
    }
}

#[component]
fn Marks() -> impl IntoView {
    let status = |status: VmStatus| {
        view! { <li><StatusMark status=Signal::stored(status)/> {status.label()}</li> }
    };
    let severity = |severity: &'static str| view! { <li><i class=format!("mark {severity}") aria-hidden="true"></i> {severity}</li> };
    let source = |source: Source| view! { <li><SourceTag source=Signal::stored(source)/></li> };
    let sources = [Source::Guest, Source::Hypervisor, Source::Simulated, Source::Stale, Source::Unknown];
    view! {
        <section class="panel block">
            <h2>"Marks"</h2>
            <ul class="samples">{VmStatus::ALL.map(status).into_iter().collect_view()}</ul>
            <ul class="samples">{["info", "warning", "error"].map(severity).into_iter().collect_view()}</ul>
            <ul class="samples">{sources.map(source).into_iter().collect_view()}</ul>
            <ul class="samples">
                <li><span class="badge">"admin"</span></li>
                <li><span class="badge off">"deactivated"</span></li>
                <li><span class="link live"><i class="pulse"></i>"live, every 5 s"</span></li>
                <li><span class="link lost"><i class="pulse"></i>"reconnecting…"</span></li>
            </ul>
        </section>
    }
}

#[component]
fn Figures() -> impl IntoView {
    let (from, to) = (UtcMillis(0), UtcMillis(60_000));
    let size = (300.0, 36.0);
    let frame = Frame { from, to, top: 100.0, width: size.0, height: size.1 };
    // Two waves with a gap between them.
    let points: Vec<_> = (0..=60)
        .map(|i| {
            (UtcMillis(i * 1000), (!(28..33).contains(&i)).then(|| 50.0 + 35.0 * (i as f64 / 5.0).sin()))
        })
        .collect();
    let shapes = frame.shapes(&points);
    let hue = |(hue, name, percent): (Hue, &'static str, Option<f64>)| {
        view! {
            <div class="sample">
                <p>{name}</p>
                <Bar percent hue/>
                <Sparkline shapes=shapes.clone() size hue/>
            </div>
        }
    };
    let hues = [
        (Hue::Cpu, "CPU, 34 %", Some(34.0)),
        (Hue::Memory, "Memory, 71 %", Some(71.0)),
        (Hue::Disk, "Disk, full", Some(100.0)),
        (Hue::Received, "Received, nothing", Some(0.0)),
        (Hue::Sent, "Sent, not known", None),
    ];
    view! {
        <section class="panel block">
            <h2>"Figures"</h2>
            <div class="three">{hues.into_iter().map(hue).collect_view()}</div>
            <div class="progress"><span class="line">"Launching: Booting · 14 s"</span><progress max="100" value="40" aria-label="Done of this step"></progress></div>
            <div class="progress"><span class="line">"Waiting for its turn · 2 s"</span><i class="moving" aria-hidden="true"></i></div>
        </section>
    }
}

#[component]
fn Messages() -> impl IntoView {
    let error = || ApiError::new(crate::model::ErrorCode::Unavailable, "The server does not answer.");
    view! {
        <section class="panel block">
            <h2>"Messages, and what stands where nothing is"</h2>
            <Refusal error=Signal::derive(move || Some(error()))/>
            <p class="banner warn"><Glyph icon=Icon::Warning/><span>"Figures are late: the hypervisor does not answer."</span></p>
            <p class="banner simulated"><Glyph icon=Icon::Warning/><span>"Simulated fleet: these VMs and figures are made up for trying out."</span></p>
            <Failed error=error() retry=|| ()/>
            <div class="panel empty"><Glyph icon=Icon::Machine/><h2>"No VMs yet"</h2><p>"Choose an image and a size."</p><p><a class="btn primary" href="/style">"Launch your first VM"</a></p></div>
            <p class="none">"Nothing has happened yet."</p>
            <div class="panel blank" role="status" aria-label="Loading"></div>
        </section>
    }
}

#[component]
fn Icons() -> impl IntoView {
    let icon = |icon: Icon| view! { <li><Glyph icon/> {format!("{icon:?}")}</li> };
    view! {
        <section class="panel block">
            <h2>"Icons"</h2>
            <ul class="samples">{Icon::ALL.map(icon).into_iter().collect_view()}</ul>
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_found_once() {
        let tokens = tokens();
        let declared = TOKENS.matches("--").count() - TOKENS.matches("var(--").count();
        assert_eq!(tokens.len(), declared);
        assert_eq!(tokens[0].0, "--font");
        assert!(tokens.contains(&("--cpu", "light-dark(#2f5bea, #7d9bff)")), "{tokens:?}");
    }

    #[test]
    fn lengths_are_told_in_pixels() {
        assert_eq!([".75rem", "6px", "140ms"].map(pixels), [Some(12.0), Some(6.0), None]);
    }
}
