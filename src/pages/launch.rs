use crate::{
    api::{LaunchVm, images, launch_limits, my_quota, preview_vagrantfile},
    components::{
        action::{ActionForm, ServerAction},
        auth::Viewer,
        banner::{ErrorBanner, Loading},
        browser,
        form::{Checks, TextField, entered},
        format,
        hydration::is_hydrated,
        icon::{Glyph, Icon},
        resource::page_view,
    },
    model::{self, ApiError, GUEST_FILE_MAX_BYTES, Image, Limits, Quota, check_launch, price},
};
use leptos::{html, prelude::*, task::spawn_local};
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;
use serde::{Deserialize, Serialize};

/// A preset size; `key` is its name in the page's address.
struct Preset {
    key: &'static str,
    label: &'static str,
    ram_mb: u32,
    cpu_cores: u32,
    disk_gb: u32,
}

const PRESETS: [Preset; 3] = [
    Preset { key: "small", label: "Small", ram_mb: 512, cpu_cores: 1, disk_gb: 10 },
    Preset { key: "medium", label: "Medium", ram_mb: 2048, cpu_cores: 2, disk_gb: 20 },
    Preset { key: "large", label: "Large", ram_mb: 4096, cpu_cores: 4, disk_gb: 40 },
];

/// What the user can launch.
#[derive(Clone, Serialize, Deserialize)]
struct Offer {
    images: Vec<Image>,
    limits: Limits,
    quota: Quota,
}

impl Offer {
    async fn load() -> Result<Self, ApiError> {
        Ok(Self { images: images().await?, limits: launch_limits().await?, quota: my_quota().await? })
    }
}

#[component]
pub fn Launch() -> impl IntoView {
    let offer = Resource::new(|| (), |()| Offer::load());
    let viewer = expect_context::<Viewer>();
    view! {
        <Title text="Launch a VM"/>
        <header class="top"><h1>"Launch a VM"</h1></header>
        {page_view(offer, || view! { <Loading class="panel blank sheet"/> }.into_any(), |offer| async move {
            if offer.images.is_empty() { view! { <NoImages/> }.into_any() } else { view! { <Form offer/> }.into_any() }
        })}
        <Suspense>
            {move || Suspend::new(async move { viewer.is_admin().await.then(|| view! { <AdoptInstead/> }) })}
        </Suspense>
    }
}

#[component]
fn AdoptInstead() -> impl IntoView {
    view! {
        <p class="aside">
            "Already have a Vagrant machine on this host? "
            <a href="/vms/adopt" data-testid="adopt-instead">"Import it"</a>
            "."
        </p>
    }
}

#[component]
fn NoImages() -> impl IntoView {
    view! {
        <section class="panel empty">
            <h2>"No images"</h2>
            <p>"The image catalogue is empty. An admin can add images to the file given by --images and restart the server."</p>
        </section>
    }
}

#[component]
fn Form(offer: Offer) -> impl IntoView {
    let Offer { images, limits, quota } = offer;
    let asked = use_query_map().with_untracked(|query| query.get("size"));
    let begin = PRESETS.iter().find(|preset| Some(preset.key) == asked.as_deref()).unwrap_or(&PRESETS[0]);
    let launch = ServerAction::<LaunchVm>::new();
    let error = Signal::derive(move || launch.value().get().and_then(Result::err));
    let images = StoredValue::new(images);
    let first_image = images.with_value(|images| {
        let known = entered("image").filter(|key| images.iter().any(|image| image.key == *key));
        known.unwrap_or_else(|| images[0].key.clone())
    });

    let name = RwSignal::new(entered("name").unwrap_or_default());
    let image = RwSignal::new(first_image);
    let number = |field: &str, value: u32| RwSignal::new(entered(field).unwrap_or_else(|| value.to_string()));
    let ram_mb = number("ram_mb", begin.ram_mb);
    let cpu_cores = number("cpu_cores", begin.cpu_cores);
    let disk_gb = number("disk_gb", begin.disk_gb);

    let (provision_script, user_data) = (RwSignal::new(String::new()), RwSignal::new(String::new()));

    let asked = move || {
        let (ram_mb, cpu_cores, disk_gb) = (ram_mb.get(), cpu_cores.get(), disk_gb.get());
        model::Launch {
            provision_script: Some(provision_script.get()),
            user_data: Some(user_data.get()),
            ..model::Launch::from_form(name.get(), image.get(), &ram_mb, &cpu_cores, &disk_gb)
        }
    };
    let wrong = move || images.with_value(|images| check_launch(&asked(), images, limits)).err();
    let cost = Memo::new(move |_| price(&asked().spec()));
    let checks = Checks::new(wrong, error);
    let of_image = move |what: fn(&Image) -> u32| {
        images.with_value(|images| images.iter().find(|i| i.key == image.get()).map(what))
    };
    let is_hydrated = is_hydrated();

    view! {
        <ActionForm
            action=launch
            guard=Callback::new(move |event: leptos::ev::SubmitEvent| checks.guard(&event))
            novalidate=is_hydrated
            class="panel sheet"
        >
            <ErrorBanner error/>
            <TextField
                name="name"
                label="Name"
                value=name
                checks
                autocomplete="off"
                autofocus=true
                hint="1 to 63 letters, digits and hyphens. Also used as the host name."
            />
            <ImageSelect images image/>
            <Presets ram_mb cpu_cores disk_gb/>
            <div class="three">
                <div>
                    <TextField
                        name="ram_mb" label="Memory" kind="number" unit="MB" value=ram_mb checks
                        min=Signal::derive(move || of_image(|i| i.min_ram_mb)) max=Some(limits.max_ram_mb)
                    />
                    <Slider label="Memory" value=ram_mb step=128 min=Signal::derive(move || of_image(|i| i.min_ram_mb).unwrap_or(128)) max=limits.max_ram_mb/>
                </div>
                <div>
                    <TextField
                        name="cpu_cores" label="Cores" kind="number" value=cpu_cores checks
                        min=Some(1) max=Some(limits.max_cpu_cores)
                    />
                    <Slider label="Cores" value=cpu_cores step=1 min=Signal::stored(1) max=limits.max_cpu_cores/>
                </div>
                <div>
                    <TextField
                        name="disk_gb" label="Disk" kind="number" unit="GB" value=disk_gb checks
                        min=Signal::derive(move || of_image(|i| i.min_disk_gb)) max=Some(limits.max_disk_gb)
                    />
                    <Slider label="Disk" value=disk_gb step=1 min=Signal::derive(move || of_image(|i| i.min_disk_gb).unwrap_or(1)) max=limits.max_disk_gb/>
                </div>
            </div>
            <GuestSetup checks provision_script user_data/>
            <Preview asked=Signal::derive(asked)/>
            <Price cost quota/>
            <footer class="buttons">
                <button type="submit" class="btn primary" disabled=launch.pending()>
                    {move || if launch.pending().get() { "Launching…" } else { "Launch VM" }}
                </button>
                <a class="btn" href="/">"Cancel"</a>
            </footer>
        </ActionForm>
    }
}

/// Sets the field above it. It has no name, so only the field is submitted.
#[component]
fn Slider(
    label: &'static str,
    value: RwSignal<String>,
    step: u32,
    min: Signal<u32>,
    max: u32,
) -> impl IntoView {
    let is_hydrated = is_hydrated();
    move || {
        is_hydrated.get().then(|| {
            view! {
                <input
                    type="range" class="slider" aria-label=format!("{label}, by slider") min=move || min.get() max=max step=step
                    prop:value=move || value.get()
                    on:input=move |event| value.set(event_target_value(&event))
                />
            }
        })
    }
}

/// The Vagrantfile of the VM, loaded while the section is open.
#[component]
fn Preview(asked: Signal<model::Launch>) -> impl IntoView {
    let is_hydrated = is_hydrated();
    let open = RwSignal::new(false);
    let text = RwSignal::new(String::new());
    let ask = move || {
        let launch = asked.get_untracked();
        spawn_local(async move {
            let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
            let (with_script, with_user_data) = (has(&launch.provision_script), has(&launch.user_data));
            // The preview does not require a name yet.
            let name = if launch.name.trim().is_empty() { "my-vm".to_owned() } else { launch.name.clone() };
            let [ram_mb, cpu_cores, disk_gb] =
                [launch.ram_mb, launch.cpu_cores, launch.disk_gb].map(|number| number.to_string());
            let image = launch.image.clone();
            let answer =
                preview_vagrantfile(name, image, ram_mb, cpu_cores, disk_gb, with_script, with_user_data)
                    .await;
            if asked.try_get_untracked().as_ref() == Some(&launch) {
                text.try_set(answer.unwrap_or_else(|error| error.text));
            }
        });
    };
    Effect::new(move || {
        asked.track();
        if open.get() {
            ask();
        }
    });
    move || {
        is_hydrated.get().then(|| {
            view! {
                <details class="disclosure" data-testid="preview" on:toggle=move |event| open.set(browser::is_details_open(&event))>
                    <summary>"Vagrantfile"</summary>
                    <pre class="log whole" tabindex="0">{text}</pre>
                </details>
            }
        })
    }
}

/// The price, the remaining credits, and why the launch is not possible.
#[component]
fn Price(cost: Memo<u32>, quota: Quota) -> impl IntoView {
    let left = move || quota.credits_available - i64::from(cost.get());
    let reason = move || {
        if quota.vms >= quota.max_vms {
            Some("You have reached the maximum number of VMs. Destroy one first.")
        } else {
            (left() < 0).then_some("Not enough credits. Choose a smaller size.")
        }
    };
    view! {
        <div class="price" data-testid="price" role="status">
            <p>
                <b>{move || cost.get()} " credits"</b>
                <span class="muted">
                    " of " {quota.credits_available} ", " {move || left().max(0)} " remain · "
                    {quota.vms} " of " {quota.max_vms} " VMs"
                </span>
            </p>
            {move || reason().map(|reason| view! { <p class="banner bad"><Glyph icon=Icon::Warning/><span>{reason}</span></p> })}
        </div>
    }
}

#[component]
fn GuestSetup(
    checks: Checks,
    provision_script: RwSignal<String>,
    user_data: RwSignal<String>,
) -> impl IntoView {
    let text = |name: &'static str, label: &'static str, hint: &'static str, value: RwSignal<String>| {
        let (id, note_id) = (format!("field-{name}"), format!("field-{name}-note"));
        let error = Memo::new(move |_| checks.of(name));
        view! {
            <div class="field" class:wrong=move || error.with(Option::is_some)>
                <label for=id.clone()>{label}</label>
                <span class="control">
                    <textarea
                        id=id name=name rows="5" maxlength=GUEST_FILE_MAX_BYTES spellcheck="false" class="mono"
                        aria-describedby=note_id.clone()
                        aria-invalid=move || error.with(Option::is_some).then_some("true")
                        on:input=move |event| value.set(event_target_value(&event))
                    ></textarea>
                </span>
                <p class="note" id=note_id>{move || error.get().unwrap_or_else(|| hint.to_owned())}</p>
            </div>
        }
    };
    view! {
        <details class="disclosure">
            <summary>"Guest setup"</summary>
            {text("provision_script", "Script", "Runs once in the guest, as root. At most 16 KB.", provision_script)}
            {text("user_data", "cloud-init user data", "For images with cloud-init. At most 16 KB.", user_data)}
        </details>
    }
}

#[component]
fn ImageSelect(images: StoredValue<Vec<Image>>, image: RwSignal<String>) -> impl IntoView {
    let select = NodeRef::<html::Select>::new();
    Effect::new(move || {
        if let Some(select) = select.get() {
            image.set(select.value());
        }
    });
    let needs = move || {
        images.with_value(|images| {
            images.iter().find(|i| i.key == image.get()).map(|i| {
                format!(
                    "Needs at least {} of memory and {} of disk space.",
                    format::megabytes(i.min_ram_mb.into()),
                    format::gigabytes(i.min_disk_gb.into())
                )
            })
        })
    };
    let options = images.with_value(|images| {
        images
            .iter()
            .map(|entry| {
                let is_chosen = image.with_untracked(|chosen| *chosen == entry.key);
                view! { <option value=entry.key.clone() selected=is_chosen>{entry.label.clone()}</option> }
            })
            .collect_view()
    });
    view! {
        <div class="field">
            <label for="field-image">"Image"</label>
            <span class="control">
                <select
                    id="field-image"
                    name="image"
                    node_ref=select
                    aria-describedby="field-image-note"
                    on:change=move |event| image.set(event_target_value(&event))
                >
                    {options}
                </select>
            </span>
            <p class="note" id="field-image-note">{needs}</p>
        </div>
    }
}

/// Links, so that they work without JavaScript; with it they fill in the fields and stay on the
/// page.
#[component]
fn Presets(
    ram_mb: RwSignal<String>,
    cpu_cores: RwSignal<String>,
    disk_gb: RwSignal<String>,
) -> impl IntoView {
    let preset = |preset: &'static Preset| {
        let values = [preset.ram_mb, preset.cpu_cores, preset.disk_gb].map(|value| value.to_string());
        let of_preset = values.clone();
        let chosen = move || [ram_mb.get(), cpu_cores.get(), disk_gb.get()] == of_preset;
        let fill = move |event: leptos::ev::MouseEvent| {
            event.prevent_default();
            let [ram, cores, disk] = values.clone();
            ram_mb.set(ram);
            cpu_cores.set(cores);
            disk_gb.set(disk);
        };
        view! {
            <a
                class="preset"
                href=format!("/vms/new?size={}", preset.key)
                aria-current=move || chosen().then_some("true")
                data-preset=preset.key
                on:click=fill
            >
                <b>{preset.label}</b>
                <span>
                    {format::megabytes(preset.ram_mb.into())} " · " {format::cores(preset.cpu_cores)} " · "
                    {format::gigabytes(preset.disk_gb.into())}
                </span>
            </a>
        }
    };
    view! {
        <div class="presets" role="group" aria-label="Presets">
            {PRESETS.iter().map(preset).collect_view()}
        </div>
    }
}
