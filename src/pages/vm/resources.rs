//! Memory, cores and disk, and what another size costs.

use super::{allows, poll_after};
use crate::{
    api::ResizeVm,
    components::{
        action::{ActionForm, ServerAction},
        banner::ErrorBanner,
        feed::Feed,
        format,
    },
    model::{OperationKind, VmSpec, VmView, parse_whole, price},
};
use leptos::prelude::*;

fn described(spec: &VmSpec) -> String {
    format!(
        "{}, {}, {} of disk",
        format::megabytes(spec.ram_mb.into()),
        format::cores(spec.cpu_cores),
        format::gigabytes(spec.disk_gb.into())
    )
}

#[component]
pub fn Resources(feed: Feed, id: i64, vm: Memo<Option<VmView>>) -> impl IntoView {
    let resize = ServerAction::<ResizeVm>::new();
    poll_after(feed, move || resize.version().get());
    let error = Signal::derive(move || resize.value().get().and_then(Result::err));
    let begin =
        vm.with_untracked(|vm| vm.as_ref().map(|vm| vm.next_spec.clone().unwrap_or_else(|| vm.spec.clone())));
    let Some(begin) = begin else { return ().into_any() };
    let number = |value: u32| RwSignal::new(value.to_string());
    let (ram_mb, cpu_cores, disk_gb) = (number(begin.ram_mb), number(begin.cpu_cores), number(begin.disk_gb));
    let cost = move || {
        let wanted = VmSpec {
            image: String::new(),
            ram_mb: parse_whole(&ram_mb.get()),
            cpu_cores: parse_whole(&cpu_cores.get()),
            disk_gb: parse_whole(&disk_gb.get()),
        };
        let now = vm.with(|vm| vm.as_ref().map_or(0, |vm| price(&vm.spec)));
        match price(&wanted).saturating_sub(now) {
            1 => "1 extra credit.".to_owned(),
            extra @ 2.. => format!("{extra} extra credits."),
            _ => "No extra credits. Shrinking refunds nothing.".to_owned(),
        }
    };
    let next = move || {
        vm.with(|vm| {
            let next = vm.as_ref().and_then(|vm| vm.next_spec.as_ref());
            next.map(|next| format!("At the next start: {}.", described(next)))
        })
    };
    let may = allows(vm, OperationKind::Resize);
    let field = |name: &'static str, label: &'static str, unit: &'static str, value: RwSignal<String>| {
        let id = format!("resize-{name}");
        view! {
            <div class="field">
                <label for=id.clone()>{label}</label>
                <span class="control">
                    <input
                        id=id name=name type="number" min="1" required value=value.get_untracked()
                        on:input=move |event| value.set(event_target_value(&event))
                    />
                    <span class="unit">{unit}</span>
                </span>
            </div>
        }
    };
    view! {
        <section class="panel block" data-testid="resources">
            <h2>"Resources"</h2>
            <ErrorBanner error/>
            <p class="hint" data-testid="next-spec">
                {move || next().unwrap_or_else(|| "Changes apply at the next start. Disks can only grow.".to_owned())}
            </p>
            <ActionForm action=resize>
                <input type="hidden" name="vm_id" value=id/>
                <div class="three">
                    {field("ram_mb", "Memory", "MB", ram_mb)}
                    {field("cpu_cores", "Cores", "", cpu_cores)}
                    {field("disk_gb", "Disk", "GB", disk_gb)}
                </div>
                <p class="hint" role="status">{cost}</p>
                <button type="submit" class="btn" disabled=move || !may.get() || resize.pending().get()>"Apply at next start"</button>
            </ActionForm>
        </section>
    }
    .into_any()
}
