use crate::{
    api::{BeginSecondFactor, ConfirmSecondFactor, RemoveSecondFactor, RenewRecoveryCodes, my_second_factor},
    components::{
        action::{ActionForm, ServerAction},
        app_layout::SignOutButton,
        banner::{ErrorBanner, Loading},
        form::{Checks, TextField},
        icon::Brand,
        password_again::PasswordAgain,
        resource::page_view,
    },
    model::{self, ApiError, QrCode, RecoveryCodes, SecondFactorSetup},
};
use leptos::{ev, prelude::*, web_sys::HtmlTextAreaElement};
use leptos_meta::Title;

const CODES_FILE: &str = "twarga-cloud-recovery-codes.txt";

#[derive(Clone, Copy)]
struct Actions {
    begin: ServerAction<BeginSecondFactor>,
    confirm: ServerAction<ConfirmSecondFactor>,
    renew: ServerAction<RenewRecoveryCodes>,
    remove: ServerAction<RemoveSecondFactor>,
}

impl Actions {
    fn new() -> Self {
        let (begin, confirm) = (ServerAction::new(), ServerAction::new());
        let (renew, remove) = (ServerAction::new(), ServerAction::new());
        Self { begin, confirm, renew, remove }
    }

    /// The number of finished actions; a change reloads the page's data.
    fn answered(self) -> usize {
        self.begin.version().get()
            + self.confirm.version().get()
            + self.renew.version().get()
            + self.remove.version().get()
    }

    fn error(self) -> Signal<Option<ApiError>> {
        Signal::derive(move || {
            let plain = [self.begin.value().get(), self.remove.value().get()];
            let with_codes = [self.confirm.value().get(), self.renew.value().get()];
            let plain = plain.into_iter().find_map(|answer| answer.and_then(Result::err));
            plain.or_else(|| with_codes.into_iter().find_map(|answer| answer.and_then(Result::err)))
        })
    }
}

/// The second factor of the current user. Outside the layout of the other pages: an admin who must set one up sees nothing
/// else.
#[component]
pub fn SecondFactor() -> impl IntoView {
    let actions = Actions::new();
    let factor = Resource::new(move || actions.answered(), |_| my_second_factor());
    // The newest codes of this page; without JavaScript they come with the second factor.
    let made = RwSignal::new(None::<RecoveryCodes>);
    Effect::new(move || made.set(actions.confirm.value().get().and_then(Result::ok)));
    Effect::new(move || made.set(actions.renew.value().get().and_then(Result::ok)));
    let error = actions.error();
    view! {
        <Title text="Second factor"/>
        <main class="alone">
            <Brand/>
            <section class="panel card second-factor">
                <h1>"Second factor"</h1>
                <ErrorBanner error/>
                <PasswordAgain error/>
                {page_view(factor, || view! { <Loading class="blank"/> }.into_any(), move |factor| async move {
                    view! { <Body factor actions made error/> }.into_any()
                })}
            </section>
            <p class="aside"><a href="/account">"Back to your account"</a></p>
        </main>
    }
}

#[component]
fn Body(
    factor: model::SecondFactor,
    actions: Actions,
    made: RwSignal<Option<RecoveryCodes>>,
    error: Signal<Option<ApiError>>,
) -> impl IntoView {
    let Actions { begin, confirm, renew, remove } = actions;
    let model::SecondFactor { is_on, is_required, recovery_codes_left, setup, new_codes } = factor;
    let must_set_up = is_required && !is_on;
    let codes = move || made.get().or_else(|| new_codes.clone()).filter(|_| is_on);
    let has_setup = setup.is_some();
    let begin_label = match (is_on, has_setup) {
        (_, true) => "Begin again",
        (true, false) => "Set up another app",
        (false, false) => "Set up",
    };
    let state =
        if is_on { format!("On. Recovery codes left: {recovery_codes_left}.") } else { "Off.".to_owned() };
    view! {
        {must_set_up.then(|| view! { <p class="banner warn" role="note">"Admins need a second factor on this server. Set yours up to go on."</p> })}
        <p class="lead" role="status" data-testid="state">{state}</p>
        {move || codes().map(|codes| view! { <NewCodes codes/> })}
        {setup.map(|setup| view! { <Setup setup confirm error/> })}
        {(!is_on && !has_setup).then(|| view! {
            <p class="hint">"Signing in then takes a code of an authenticator app on your phone in addition to your password."</p>
        })}
        <ActionForm action=begin>
            <button type="submit" class=if is_on || has_setup { "btn" } else { "btn primary" } disabled=begin.pending()>{begin_label}</button>
        </ActionForm>
        {is_on.then(|| view! {
            <ActionForm action=renew>
                <button type="submit" class="btn" disabled=renew.pending()>"Make new recovery codes"</button>
            </ActionForm>
        })}
        {(is_on && !is_required).then(|| view! {
            <ActionForm action=remove>
                <button type="submit" class="btn danger" disabled=remove.pending()>"Turn off"</button>
            </ActionForm>
        })}
        {must_set_up.then(|| view! { <SignOutButton/> })}
    }
}

#[component]
fn Setup(
    setup: SecondFactorSetup,
    confirm: ServerAction<ConfirmSecondFactor>,
    error: Signal<Option<ApiError>>,
) -> impl IntoView {
    let SecondFactorSetup { secret, qr: QrCode { size, path } } = setup;
    let checks = Checks::new(|| None, error);
    let code = RwSignal::new(String::new());
    view! {
        <div class="setup" data-testid="setup">
            <p>"Scan this with an authenticator app, or enter the key there. Then enter the code that the app shows."</p>
            <svg class="qr" viewBox=format!("-4 -4 {0} {0}", size + 8) role="img" aria-label="QR code for an authenticator app">
                <path d=path></path>
            </svg>
            <p class="path">"Key: " <code data-testid="secret">{secret}</code></p>
            <ActionForm action=confirm>
                <TextField name="code" label="Code" value=code checks autocomplete="one-time-code" hint="6 digits."/>
                <button type="submit" class="btn primary wide" disabled=confirm.pending()>"Turn on"</button>
            </ActionForm>
        </div>
    }
}

/// Codes that are not shown again.
#[component]
fn NewCodes(codes: RecoveryCodes) -> impl IntoView {
    let text = codes.0.join("\n");
    // Codes have only letters, digits and hyphens.
    let file = format!("data:text/plain;charset=utf-8,{}%0A", codes.0.join("%0A"));
    let select = move |event: ev::FocusEvent| event_target::<HtmlTextAreaElement>(&event).select();
    view! {
        <div class="new-link" role="status" data-testid="recovery-codes">
            <div class="field">
                <label for="recovery-codes">"Recovery codes"</label>
                <span class="control">
                    <textarea id="recovery-codes" readonly rows=codes.0.len().to_string() spellcheck="false" on:focus=select>{text}</textarea>
                </span>
            </div>
            <p class="hint">"Keep them where you find them without your phone: they are not shown again. Each signs you in once in place of the app's code."</p>
            <p><a class="btn" href=file download=CODES_FILE>"Download"</a></p>
        </div>
    }
}
