//! The visual language, for who works on the pages: every token and every shared component in all its states. It is
//! part of development builds only.

use crate::{
    components::{
        banner::{ErrorBanner, SectionError},
        chart::{ChartData, Hue, Mark, Scale, TimeChart, Trace},
        chart_table::{ChartTable, Column},
        confirm::{Confirm, ConfirmButton, Confirmation, Question},
        form::{Checks, TextField},
        format,
        icon::{Brand, Glyph, Icon},
        local_time::{LocalTime, TimeFormat},
        meter::Meter,
        source_badge::SourceBadge,
        sparkline::Sparkline,
        sparkline_geometry::{Path, Point, Viewport},
        toast::{ToastRegion, Toasts},
        vm::StatusMark,
    },
    model::{ApiError, Severity, Source, UtcMillis, VmStatus},
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
            <Meters/>
            <Charts/>
            <Tables/>
            <Messages/>
            <Bells/>
            <Palette/>
            <Navigation/>
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
                <button type="button" class="btn" on:click=move |_| toasts.say("web-1 started.")>"A toast"</button>
                <button type="button" class="btn" on:click=move |_| toasts.warn("web-1: start failed. The box is missing.")>"A toast of trouble"</button>
                <ConfirmButton question>"A dialog…"</ConfirmButton>
            </p>
            <Confirm question title="Destroy web-1?">
                <p>"The VM and everything on its disk are deleted. This cannot be undone."</p>
                <form method="get" action="/style"><Confirmation question label="Destroy VM"/></form>
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
    let error = || Some(ApiError::invalid_field("wrong", "Memory must be 512 to 16384 MB for this image."));
    let checks = Checks::new(|| None, Signal::derive(error));
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
    let source = |source: Source| view! { <li><SourceBadge source=Signal::stored(source)/></li> };
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
                <li><span class="link live"><i class="pulse"></i>"Live, every 5 s"</span></li>
                <li><span class="link lost"><i class="pulse"></i>"Reconnecting…"</span></li>
            </ul>
        </section>
    }
}

/// The minute that the samples show.
const MINUTE: (UtcMillis, UtcMillis) = (UtcMillis(0), UtcMillis(60_000));

/// Two waves with a gap between them, percent.
fn waves() -> Vec<Point> {
    let value = |i: i64| (!(28..33).contains(&i)).then(|| 50.0 + 35.0 * (i as f64 / 5.0).sin());
    (0..=60).map(|i| (MINUTE.0.plus_secs(i), value(i))).collect()
}

fn wave_path((width, height): (f64, f64)) -> Path {
    Viewport { from: MINUTE.0, to: MINUTE.1, top: 100.0, width, height }.path(&waves())
}

#[component]
fn Meters() -> impl IntoView {
    let size = (300.0, 36.0);
    let path = wave_path(size);
    let hue = |(hue, name, percent): (Hue, &'static str, Option<f64>)| {
        view! {
            <div class="sample">
                <p>{name}</p>
                <Meter percent hue/>
                <Sparkline path=path.clone() size hue/>
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
            <div class="progress"><span class="line">"Launching: Booting · 14 s"</span><progress max="100" value="40" aria-label="Progress of this step"></progress></div>
            <div class="progress"><span class="line">"Queued · 2 s"</span><i class="moving" aria-hidden="true"></i></div>
        </section>
    }
}

#[component]
fn Charts() -> impl IntoView {
    let trace = |name, label, hue, factor: f64| {
        let points = waves().into_iter().map(|(at, value)| (at, value.map(|value| value * factor)));
        Trace { name, label, hue, points: points.collect(), extremes: Vec::new() }
    };
    let chart = |traces, marks| Signal::stored(ChartData { from: MINUTE.0, to: MINUTE.1, traces, marks });
    let text = |text: &str| Signal::stored(text.to_owned());
    let mark = Mark { at: MINUTE.0.plus_secs(45), text: "Snapshot saved".into(), severity: Severity::Info };
    let cpu = chart(vec![trace("cpu", "CPU", Hue::Cpu, 1.0)], vec![mark]);
    let rates = vec![trace("rx", "Received", Hue::Received, 0.1), trace("tx", "Sent", Hue::Sent, 0.04)];
    let network = chart(rates, Vec::new());
    let columns = vec![
        Column { label: "CPU", chart: cpu, trace: 0, format: format::percent },
        Column { label: "Received", chart: network, trace: 0, format: format::rate },
    ];
    let layers = [
        ("step-0", "web-1", "40 %", "M0 100V60L200 40L400 70L600 50V100Z"),
        ("step-1", "db-1", "30 %", "M0 60V30L200 15L400 40L600 20V50L400 70L200 40Z"),
        ("step-2", "3 others", "10 %", "M0 30V20L200 5L400 30L600 10V20L400 40L200 15Z"),
    ];
    let area = |(step, .., path): (&'static str, &'static str, &'static str, &'static str)| {
        view! { <path class=format!("area {step}") d=path></path> }
    };
    let entry = |(step, name, now, _): (&'static str, &'static str, &'static str, &'static str)| {
        view! { <li><i class=format!("swatch {step}") aria-hidden="true"></i>{name} " " <b><span class="now">{now}</span></b></li> }
    };
    view! {
        <section class="panel block">
            <h2>"Charts"</h2>
            <div class="charts">
                <TimeChart
                    test_id="sample-cpu" title="CPU" hue=Hue::Cpu scale=Scale::Percent source=Signal::stored(Source::Guest)
                    now_text=text("31 %") data=cpu span="a minute" foot="mean 51 % · 95th 85 % · max 85 %".to_owned()
                />
                <TimeChart
                    test_id="sample-network" title="Network" hue=Hue::Received scale=Scale::Rate
                    now_text=text("↓ 3.1 MB/s  ↑ 1.2 MB/s") data=network span="a minute" foot=None
                />
            </div>
            <div class="sample"><ChartTable columns/></div>
            <div class="sample hue-cpu">
                <p>"CPU by VM"</p>
                <svg class="stacked" viewBox="0 0 600 100" preserveAspectRatio="none" aria-hidden="true">
                    <path class="gridlines" d="M0 0H600M0 50H600M0 100H600"></path>
                    {layers.map(area).into_iter().collect_view()}
                </svg>
                <ul class="legend">{layers.map(entry).into_iter().collect_view()}</ul>
            </div>
        </section>
    }
}

#[component]
fn Tables() -> impl IntoView {
    let heading = |label: &'static str| {
        let order = (label == "CPU").then_some("descending");
        view! { <th scope="col" aria-sort=order><a href="/style">{label} {order.map(|_| " ↓")}</a></th> }
    };
    let metric = |label: &'static str, percent: Option<f64>, picture: AnyView| {
        let is_high = percent.is_some_and(|percent| percent >= 90.0);
        view! {
            <td data-label=label>
                <div class="metric"><b><span class="now" class:high=is_high>{format::percent(percent)}</span></b><div>{picture}</div></div>
            </td>
        }
    };
    let row = |(name, status, [cpu, memory, disk]): (&'static str, VmStatus, [Option<f64>; 3])| {
        let runs = status == VmStatus::Running;
        let line = |hue| {
            let size = (72.0, 22.0);
            let path = if runs { wave_path(size) } else { Path::default() };
            view! { <Sparkline path size hue/> }.into_any()
        };
        let (word, icon) = if runs { ("Stop", Icon::Stop) } else { ("Start", Icon::Play) };
        let [received, sent] = if runs { ["↓ 3.1 MB/s", "↑ 1.2 MB/s"] } else { ["↓ –", "↑ –"] };
        view! {
            <tr>
                <td class="who"><div>
                    <input type="checkbox" aria-label=format!("Select {name}")/>
                    <StatusMark status=Signal::stored(status)/>
                    <span><a href="/style">{name}</a><small>{status.label()} " · Debian 12 · 2 cores · 2 GB"</small></span>
                </div></td>
                {metric("CPU", cpu, line(Hue::Cpu))}
                {metric("Memory", memory, line(Hue::Memory))}
                {metric("Disk", disk, view! { <Meter percent=disk hue=Hue::Disk/> }.into_any())}
                <td data-label="Network" class="rates"><div><span class="now">{received}</span> " " <span class="now muted">{sent}</span></div></td>
                <td data-label="Uptime, address"><span class="now">{if runs { "3 h" } else { "–" }}</span><span class="address">{runs.then_some("10.77.31.97")}</span></td>
                <td class="actions"><div>
                    <button type="button" class="btn quiet" aria-label=format!("{word} {name}") title=word><Glyph icon/></button>
                </div></td>
            </tr>
        }
    };
    let rows = [
        ("web-1", VmStatus::Running, [Some(31.0), Some(31.0), Some(93.0)]),
        ("db-1", VmStatus::Stopped, [None; 3]),
    ];
    view! {
        <section class="panel block">
            <h2>"Table"</h2>
            <div class="wide"><table class="vms">
                <thead>
                    <tr>
                        {["VM", "CPU", "Memory", "Disk", "Network", "Uptime, address"].map(heading).into_iter().collect_view()}
                        <th scope="col"><span class="unseen">"Actions"</span></th>
                    </tr>
                </thead>
                <tbody>{rows.map(row).into_iter().collect_view()}</tbody>
            </table></div>
        </section>
    }
}

#[component]
fn Messages() -> impl IntoView {
    let error = || ApiError::new(crate::model::ErrorCode::Unavailable, "The server is not responding.");
    view! {
        <section class="panel block">
            <h2>"Messages, and what stands where nothing is"</h2>
            <ErrorBanner error=Signal::derive(move || Some(error()))/>
            <p class="banner warn"><Glyph icon=Icon::Warning/><span>"No current metrics: the hypervisor is not responding."</span></p>
            <p class="banner simulated"><Glyph icon=Icon::Warning/><span>"Simulated fleet: these VMs and their metrics are made up."</span></p>
            <SectionError error=error() retry=|| ()/>
            <div class="panel empty"><Glyph icon=Icon::Machine/><h2>"No VMs yet"</h2><p>"Choose an image and a size."</p><p><a class="btn primary" href="/style">"Launch your first VM"</a></p></div>
            <p class="none">"Nothing has happened yet."</p>
            <div class="panel blank" role="status" aria-label="Loading"></div>
        </section>
    }
}

/// The bell and what it opens, written out: the real one polls.
#[component]
fn Bells() -> impl IntoView {
    let bell = |severity: &'static str, label: &'static str, count: Option<&'static str>| {
        view! {
            <p>
                <button type="button" class="btn quiet bell" data-severity=severity aria-label=label title=label>
                    <Glyph icon=Icon::Bell/>
                    {count.map(|count| view! { <span class="count" aria-hidden="true">{count}</span> })}
                </button>
            </p>
        }
    };
    let all = || view! { <p><a class="underlined" href="/style">"All alerts"</a></p> };
    let raised = || view! { "opened at " <LocalTime at=MINUTE.0 form=TimeFormat::DayAndTime/> };
    view! {
        <section class="panel block">
            <h2>"Bell"</h2>
            <div class="charts">
                <div class="sample">
                    {bell("error", "2 open alerts", Some("2"))}
                    <div class="alerts">
                        <h2>"2 open alerts"</h2>
                        <ul>
                            <li><i class="mark error" title="error"></i><span><a href="/style">"web-1"</a> ": CPU at 90 % or more " <small>"93 % when " {raised()}</small></span></li>
                            <li><i class="mark warning" title="warning"></i><span><b>"Host"</b> ": Memory at 80 % or more " <small>"84 % when " {raised()} " · acknowledged by ada"</small></span></li>
                        </ul>
                        {all()}
                    </div>
                </div>
                <div class="sample">
                    {bell("none", "No open alerts", None)}
                    <div class="alerts"><h2>"No open alerts"</h2><ul></ul><p class="muted">"Nothing needs your attention."</p>{all()}</div>
                </div>
            </div>
        </section>
    }
}

/// Static and not modal: the real palette covers the page and calls the server.
#[component]
fn Palette() -> impl IntoView {
    let place = |(i, (name, kind)): (usize, (&'static str, &'static str))| {
        view! {
            <li role="option" id=format!("sample-place-{i}") aria-selected=(i == 0).to_string()>
                <span>{name}</span><small class="muted">{kind}</small>
            </li>
        }
    };
    let places = [("web-1", "VM"), ("Stop web-1", "action"), ("Restart web-1", "action")];
    view! {
        <section class="panel block">
            <h2>"Palette"</h2>
            <dialog class="palette" open aria-label="Sample of the palette">
                <label class="search">
                    <Glyph icon=Icon::Search/>
                    <input
                        type="text" value="web" placeholder="Go to a page, VM or action" autocomplete="off" spellcheck="false"
                        role="combobox" aria-label="Go to a page, VM or action" aria-expanded="true"
                        aria-controls="sample-places" aria-activedescendant="sample-place-0"
                    />
                </label>
                <ul id="sample-places" role="listbox" aria-label="Places">{places.into_iter().enumerate().map(place).collect_view()}</ul>
            </dialog>
        </section>
    }
}

#[component]
fn Navigation() -> impl IntoView {
    let entry = |(icon, label): (Icon, &'static str)| {
        view! { <a class="entry" href="/style" aria-current=(label == "Overview").then_some("page")><Glyph icon/><span>{label}</span></a> }
    };
    let entries = [(Icon::Grid, "Overview"), (Icon::Plus, "Launch"), (Icon::Pulse, "Monitor")];
    view! {
        <section class="panel block">
            <h2>"Navigation"</h2>
            <nav class="rail" aria-label="Sample">{entries.map(entry).into_iter().collect_view()}</nav>
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
    fn lengths_are_shown_in_pixels() {
        assert_eq!([".75rem", "6px", "140ms"].map(pixels), [Some(12.0), Some(6.0), None]);
    }
}
