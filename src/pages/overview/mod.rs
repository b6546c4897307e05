mod arrangement;
mod bulk_actions;
mod host_tiles;
mod host_usage_by_vm;
mod toolbar;
mod vm_actions;
mod vm_row;
mod vm_table;

use crate::{
    api::{host_ranges, metrics_since},
    components::{
        alerts::AlertBell,
        auth::Viewer,
        banner::{CollectorBanner, ConnectionStatus, ErrorBanner},
        feed::{Feed, Scope},
        icon::{Glyph, Icon},
        resource::page_view,
        vm::Power,
    },
    model::{AccessLevel, ApiError, Live},
};
use host_tiles::{HostTiles, TileSeries};
use host_usage_by_vm::HostUsageByVm;
use leptos::prelude::*;
use leptos_meta::Title;
use serde::{Deserialize, Serialize};
use vm_table::VmTable;

/// What the sparklines show.
const SCOPE: Scope = Scope { vm_id: None, window_secs: 900 };

/// Sparklines and stacked charts are redrawn this often, not with every poll: 15 minutes of a line then move by a
/// thirtieth of their width. Drawing those of 200 rows with every poll would take most of its time.
const REDRAW_SECS: i64 = 30;

/// What the page is first rendered with.
#[derive(Clone, Serialize, Deserialize)]
struct First {
    live: Live,
    series: TileSeries,
}

impl First {
    async fn load() -> Result<Self, ApiError> {
        let live = metrics_since(None, SCOPE.vm_id, Some(SCOPE.window_secs), None).await?;
        let since = live.cursor.plus_secs(-i64::from(SCOPE.window_secs));
        let names = ["host_cpu_percent", "host_memory_percent", "host_disk_percent"].map(str::to_owned);
        // The page is useful without the lines in its tiles.
        let ranges = host_ranges(names.to_vec(), Some(since), None, None).await.unwrap_or_default();
        let mut columns = ranges.into_iter().map(|range| range.at.into_iter().zip(range.mean).collect());
        let series = TileSeries::new([(); 3].map(|()| columns.next().unwrap_or_default()), &live);
        Ok(Self { live, series })
    }
}

#[component]
pub fn Overview() -> impl IntoView {
    let first = Resource::new(|| (), |()| First::load());
    let viewer = expect_context::<Viewer>();
    view! {
        <Title text="Overview"/>
        {page_view(first, || view! { <Skeleton/> }.into_any(), move |first| async move {
            let is_shared = first.live.vms.iter().any(|vm| vm.access != AccessLevel::Own);
            let with_owner = is_shared || viewer.is_admin().await;
            view! { <Body first with_owner/> }.into_any()
        })}
    }
}

/// The page's shape while it loads, so that nothing moves when the data arrives.
#[component]
fn Skeleton() -> impl IntoView {
    view! {
        <div role="status" aria-label="Loading">
            <header class="top"><h1>"Overview"</h1></header>
            <div class="tiles">{(0..4).map(|_| view! { <div class="panel tile blank"></div> }).collect_view()}</div>
            <div class="panel blank tall"></div>
        </div>
    }
}

#[component]
fn Body(first: First, with_owner: bool) -> impl IntoView {
    let First { live, series } = first;
    let feed = Feed::start(live, SCOPE);
    let power = Power::new(move || feed.poll_now());
    // Followed with `get`: `track` alone does not run a memo that has never been read.
    let redraw = Memo::new(move |_| feed.live.with(|live| live.cursor.0.div_euclid(REDRAW_SECS * 1000)));
    let any = feed.of_facts(|vms| !vms.is_empty());
    view! {
        <CollectorBanner feed/>
        <header class="top">
            <h1>"Overview"</h1>
            <ConnectionStatus feed/>
            <span class="push"></span>
            <AlertBell feed/>
            <a class="btn primary" href="/vms/new"><Glyph icon=Icon::Plus/>"Launch VM"</a>
        </header>
        <ErrorBanner error=power.error()/>
        <HostTiles feed series redraw/>
        {move || {
            if any.get() { view! { <HostUsageByVm feed redraw/><VmTable feed power with_owner redraw/> }.into_any() } else { view! { <Empty/> }.into_any() }
        }}
    }
}

#[component]
fn Empty() -> impl IntoView {
    view! {
        <section class="panel empty" data-testid="empty">
            <Glyph icon=Icon::Machine/>
            <h2>"No VMs yet"</h2>
            <p>"Choose an image and a size; the VM runs a minute or two later and its metrics appear here."</p>
            <p><a class="btn primary" href="/vms/new"><Glyph icon=Icon::Plus/>"Launch your first VM"</a></p>
        </section>
    }
}
