//! Who uses the host, at a glance: each VM's part of its CPU and memory in one bar.

use crate::{
    components::{chart::Hue, feed::Feed, format},
    model::{Live, VmFigures, VmSpec},
};
use leptos::prelude::*;

/// The largest so many have a name of their own.
const NAMED: usize = 5;

/// A part of the host.
#[derive(Debug, Clone, PartialEq)]
struct Share {
    /// None for all the others together.
    vm_id: Option<i64>,
    name: String,
    /// Of the whole host.
    percent: f64,
}

/// What a VM takes of all cores.
fn cpu_share(live: &Live, figures: &VmFigures, spec: &VmSpec) -> Option<f64> {
    let cores = f64::from(live.host.cpu_cores).max(1.0);
    figures.cpu_percent.map(|percent| percent * f64::from(spec.cpu_cores) / cores)
}

/// What a VM takes of the host's memory, as its guest sees it.
fn memory_share(live: &Live, figures: &VmFigures, _: &VmSpec) -> Option<f64> {
    let total_mb = live.host.memory_total_gb? * 1024.0;
    figures.memory_used_mb.map(|used_mb| 100.0 * used_mb / total_mb)
}

type Read = fn(&Live, &VmFigures, &VmSpec) -> Option<f64>;

/// The largest shares first, the rest as one; VMs without a figure have none.
fn shares(live: &Live, read: Read) -> Vec<Share> {
    let mut shares: Vec<_> = live
        .vms
        .iter()
        .filter_map(|vm| {
            let percent = read(live, &vm.figures, &vm.spec).filter(|percent| *percent > 0.0)?;
            Some(Share { vm_id: Some(vm.id), name: vm.name.clone(), percent })
        })
        .collect();
    shares.sort_by(|a, b| b.percent.total_cmp(&a.percent));
    if shares.len() > NAMED + 1 {
        let rest = shares.split_off(NAMED);
        let name = format!("{} others", rest.len());
        shares.push(Share { vm_id: None, name, percent: rest.iter().map(|share| share.percent).sum() });
    }
    shares
}

#[component]
pub fn Shares(feed: Feed) -> impl IntoView {
    view! {
        <section class="panel shares" aria-label="Who uses the host" data-testid="shares">
            <ShareBar feed title="CPU by VM" hue=Hue::Cpu read=cpu_share/>
            <ShareBar feed title="Memory by VM" hue=Hue::Memory read=memory_share/>
        </section>
    }
}

#[component]
fn ShareBar(feed: Feed, title: &'static str, hue: Hue, read: Read) -> impl IntoView {
    let shares = Memo::new(move |_| feed.live.with(|live| shares(live, read)));
    let places = Memo::new(move |_| {
        shares.with(|shares| {
            let mut begin = 0.0;
            let place = |share: &Share| {
                let place = (begin, share.percent.min(100.0 - begin).max(0.0));
                begin += place.1;
                place
            };
            shares.iter().map(place).collect::<Vec<_>>()
        })
    });
    let bars = move || {
        let bar = |(i, (begin, width)): (usize, (f64, f64))| {
            view! { <rect class=format!("area step-{i}") x=format!("{begin:.2}") width=format!("{width:.2}") height="10"></rect> }
        };
        places.get().into_iter().enumerate().map(bar).collect_view()
    };
    let legend = move || {
        let entry = |(i, share): (usize, Share)| {
            let name = match share.vm_id {
                Some(id) => view! { <a href=format!("/vms/{id}")>{share.name}</a> }.into_any(),
                None => share.name.into_any(),
            };
            view! { <li><i class=format!("swatch step-{i}") aria-hidden="true"></i>{name} " " <b>{format::percent(Some(share.percent))}</b></li> }
        };
        shares.get().into_iter().enumerate().map(entry).collect_view()
    };
    view! {
        <div class=hue.class()>
            <h2 class="label">{title}<span class="muted">" of the host"</span></h2>
            <svg class="bar stacked" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{bars}</svg>
            <ul class="legend">{legend}</ul>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::feed::tests::{live, vm};

    #[test]
    fn the_largest_come_first_and_the_rest_is_one_share() {
        let mut live = live(10, &[], vec![]);
        live.host.cpu_cores = 4;
        live.vms = (1..=8).map(vm).collect();
        for (i, vm) in live.vms.iter_mut().enumerate() {
            vm.figures.cpu_percent = (i > 0).then_some(10.0 * i as f64);
        }
        let shares = shares(&live, cpu_share);
        let names: Vec<_> = shares.iter().map(|share| share.name.as_str()).collect();
        assert_eq!(names, ["vm-8", "vm-7", "vm-6", "vm-5", "vm-4", "2 others"]);
        assert_eq!(shares[0].percent, 17.5);
        assert_eq!(shares[5].percent, 7.5);
    }
}
