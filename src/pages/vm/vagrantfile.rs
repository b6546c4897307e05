//! Every version of the VM's Vagrantfile.

use super::data::{TabData, blank, when_loaded};
use crate::{
    components::local_time::{LocalTime, TimeFormat},
    model::VagrantfileVersion,
};
use leptos::prelude::*;

#[component]
pub fn Vagrantfile(data: TabData) -> impl IntoView {
    when_loaded(data.owners, blank, |owners| list(owners.vagrantfiles))
}

fn list(versions: Vec<VagrantfileVersion>) -> AnyView {
    if versions.is_empty() {
        return view! { <p class="hint">"No Vagrantfile yet. It is written when the VM is launched."</p> }
            .into_any();
    }
    let version = |(at, version): (usize, VagrantfileVersion)| {
        view! {
            <details class="disclosure">
                <summary>
                    {if at == 0 { "Current version, since " } else { "Since " }}
                    <LocalTime at=Signal::stored(version.seen_at) form=TimeFormat::DayAndTime/>
                </summary>
                <pre class="log whole" tabindex="0">{version.text}</pre>
            </details>
        }
    };
    view! {
        <section class="panel block" data-testid="vagrantfile">
            <h2>"Vagrantfile"</h2>
            <p class="hint">
                "Every version that was applied. To extend it, put a " <span class="mono">"Vagrantfile.local"</span>
                " beside it on the host."
            </p>
            {versions.into_iter().enumerate().map(version).collect_view()}
        </section>
    }
    .into_any()
}
