//! Whether the VM starts with the server, and when it shuts down.

use super::{may, poll_after};
use crate::{
    api::{SetAutoStart, StopAfter, StopAt},
    components::{
        action::{ActionForm, ServerAction},
        banner::ErrorBanner,
        datetime_field::DateTimeField,
        feed::Feed,
        local_time::{LocalTime, TimeFormat},
        toast,
    },
    model::{AccessLevel, ApiError, UtcMillis, VmView},
};
use leptos::prelude::*;

const SAVED: &str = "Schedule saved.";

#[component]
pub fn Schedule(feed: Feed, id: i64, vm: Memo<Option<VmView>>) -> impl IntoView {
    let auto_start = ServerAction::<SetAutoStart>::new();
    let stop_after = ServerAction::<StopAfter>::new();
    let stop_at_time = ServerAction::<StopAt>::new();
    toast::when_done(auto_start, SAVED);
    toast::when_done(stop_after, SAVED);
    toast::when_done(stop_at_time, SAVED);
    poll_after(feed, move || {
        auto_start.version().get() + stop_after.version().get() + stop_at_time.version().get()
    });
    let error = Signal::derive(move || {
        let error = |answer: Option<Result<(), ApiError>>| answer.and_then(Result::err);
        error(stop_after.value().get())
            .or_else(|| error(stop_at_time.value().get()))
            .or_else(|| error(auto_start.value().get()))
    });
    let owns = may(vm, AccessLevel::Own);
    let starts = Memo::new(move |_| vm.with(|vm| vm.as_ref().is_some_and(|vm| vm.auto_start)));
    let stop_at = Memo::new(move |_| vm.with(|vm| vm.as_ref().and_then(|vm| vm.stop_at)));
    let shutdown = move |at: UtcMillis| {
        view! {
            <p class="hint">"Shuts down at " <LocalTime at=Signal::stored(at) form=TimeFormat::DayAndTime/> "."</p>
            <ActionForm action=stop_after>
                <input type="hidden" name="vm_id" value=id/>
                <input type="hidden" name="hours" value="0"/>
                <button type="submit" class="btn">"Cancel shutdown"</button>
            </ActionForm>
        }
    };
    view! {
        <section class="panel block" data-testid="schedule">
            <h2>"Schedule"</h2>
            <ErrorBanner error/>
            {move || owns.get().then(|| view! {
                <ActionForm action=auto_start>
                    <input type="hidden" name="vm_id" value=id/>
                    <input type="hidden" name="auto_start" value=move || (!starts.get()).to_string()/>
                    <button type="submit" class="switch" role="switch" aria-checked=move || starts.get().to_string()>
                        "Start with the server"
                    </button>
                </ActionForm>
            })}
            <ActionForm action=stop_after class="line-form">
                <input type="hidden" name="vm_id" value=id/>
                <div class="field">
                    <label for="stop-hours">"Shut down in"</label>
                    <span class="control">
                        <input id="stop-hours" name="hours" type="number" min="0" max="8784" step="any" value="8" required/>
                        <span class="unit">"hours"</span>
                    </span>
                </div>
                <button type="submit" class="btn">"Schedule"</button>
            </ActionForm>
            <ActionForm action=stop_at_time class="line-form">
                <input type="hidden" name="vm_id" value=id/>
                <div class="field">
                    <DateTimeField name="at" id="stop-time" label="Shut down at" at=None offset_name="offset_minutes" required=true/>
                </div>
                <button type="submit" class="btn">"Schedule"</button>
            </ActionForm>
            <div class="scheduled" role="status" data-testid="stop-at">
                {move || match stop_at.get() {
                    Some(at) => shutdown(at).into_any(),
                    None => view! { <p class="hint">"No shutdown scheduled."</p> }.into_any(),
                }}
            </div>
        </section>
    }
}
