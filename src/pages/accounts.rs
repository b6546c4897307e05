use crate::{
    api::{
        CreateAccount, CreateInvitation, CreatePasswordLink, GrantCredits, RemoveAccountSecondFactor,
        RequireSecondFactor, SetAccountActive, SetAccountRole, list_accounts, my_second_factor, new_link,
    },
    components::{
        action::{ActionForm, ServerAction},
        auth::Viewer,
        banner::{ErrorBanner, Loading},
        browser,
        confirm::{Confirm, ConfirmButton, Confirmation, Question},
        form::{Checks, QueryForm, TextField, entered},
        hydration::is_hydrated,
        icon::{Glyph, Icon},
        local_time::{LocalTime, TimeFormat},
        password_again::PasswordAgain,
        resource::{page_view, section_view},
        toast,
    },
    model::{self, ApiError, OneTimeLink, Role, check_registration},
    pages::invitations::{Invitations, NewLink},
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;

const LIST_ID: &str = "accounts";

/// What an admin can do with an account.
#[derive(Clone, Copy)]
struct Actions {
    create: ServerAction<CreateAccount>,
    set_active: ServerAction<SetAccountActive>,
    set_role: ServerAction<SetAccountRole>,
    grant: ServerAction<GrantCredits>,
    link: ServerAction<CreatePasswordLink>,
    remove_factor: ServerAction<RemoveAccountSecondFactor>,
    /// The number of finished actions; a change reloads the list.
    answered: Memo<usize>,
}

impl Actions {
    fn new() -> Self {
        let (create, set_active) = (ServerAction::new(), ServerAction::new());
        let (set_role, grant, link) = (ServerAction::new(), ServerAction::new(), ServerAction::new());
        let remove_factor = ServerAction::new();
        let versions = [
            create.version(),
            set_active.version(),
            set_role.version(),
            grant.version(),
            ServerAction::version(remove_factor),
        ];
        let answered = Memo::new(move |_| versions.iter().map(|version| version.get()).sum());
        Self { create, set_active, set_role, grant, link, remove_factor, answered }
    }

    fn error(self) -> Signal<Option<ApiError>> {
        Signal::derive(move || {
            let values = [
                self.set_active.value(),
                self.set_role.value(),
                self.grant.value(),
                self.remove_factor.value(),
            ];
            values
                .into_iter()
                .map(|value| value.get())
                .find_map(|answer| answer.and_then(Result::err))
                .or_else(|| self.link.value().get().and_then(Result::err))
        })
    }
}

/// All accounts, for admins.
#[component]
pub fn Accounts() -> impl IntoView {
    let query = use_query_map();
    let search = Memo::new(move |_| query.with(|query| query.get("search").unwrap_or_default()));
    let actions = Actions::new();
    toast::when_done(actions.create, "Account created.");
    toast::when_done(actions.set_active, "Account updated.");
    toast::when_done(actions.set_role, "Account updated.");
    toast::when_done(actions.grant, "Credits updated.");
    toast::when_done(actions.link, "Link created.");
    toast::when_done(actions.remove_factor, "Second factor removed.");
    let invite = ServerAction::<CreateInvitation>::new();
    // The newest link of this page; without JavaScript the server has kept it for the page behind the form.
    let made = RwSignal::new(None::<OneTimeLink>);
    Effect::new(move || made.set(actions.link.value().get().and_then(Result::ok)));
    Effect::new(move || made.set(invite.value().get().and_then(Result::ok)));
    let kept = Resource::new(|| (), |()| new_link());
    Effect::new(move || {
        if actions.grant.value().with(|answer| matches!(answer, Some(Ok(())))) {
            browser::close_details(".accounts details");
        }
    });
    let accounts =
        Resource::new(move || (search.get(), actions.answered.get()), |(search, _)| list_accounts(search));
    let viewer = expect_context::<Viewer>();
    view! {
        <Title text="Accounts"/>
        <header class="top">
            <h1>"Accounts"</h1>
            <span class="push"></span>
            <a class="btn" href="/admin"><Glyph icon=Icon::Shield/>"Admin"</a>
        </header>
        <ErrorBanner error=actions.error()/>
        <PasswordAgain error=actions.error()/>
        {page_view(accounts, || view! { <Loading/> }.into_any(), move |accounts| async move {
            let own_id = viewer.user().await.map(|user| user.id);
            let kept = kept.await.ok().flatten();
            let link = Signal::derive(move || made.get().or_else(|| kept.clone()));
            view! { <List accounts search actions own_id link/> }.into_any()
        })}
        <Suspense>
            {move || Suspend::new(async move {
                let kept = kept.await.ok().flatten();
                let link = Signal::derive(move || made.get().or_else(|| kept.clone()));
                viewer.is_admin().await.then(|| view! { <Invitations create=invite link/><Create create=actions.create/><Policy/> })
            })}
        </Suspense>
    }
}

#[component]
fn List(
    accounts: Vec<model::Account>,
    search: Memo<String>,
    actions: Actions,
    own_id: Option<i64>,
    link: Signal<Option<OneTimeLink>>,
) -> impl IntoView {
    let is_hydrated = is_hydrated();
    let is_empty = accounts.is_empty();
    Effect::new(move || {
        if actions.answered.get_untracked() > 0 {
            browser::recover_focus(LIST_ID);
        }
    });
    view! {
        <section id=LIST_ID tabindex="-1" class="panel" aria-label="Accounts">
            <QueryForm search=true class="toolbar">
                <span class="search">
                    <Glyph icon=Icon::Search/>
                    <input
                        type="search" name="search" aria-label="Search by name or e-mail" placeholder="Search by name or e-mail"
                        value=move || search.get() prop:value=search autocomplete="off" on:change=move |event| browser::submit_form_of(&event)
                    />
                </span>
                <button type="submit" class="btn" hidden=is_hydrated>"Search"</button>
            </QueryForm>
            <ul class="entries accounts" data-testid="accounts">
                {accounts.into_iter().map(|account| view! { <Entry account actions own_id link/> }).collect_view()}
            </ul>
            {is_empty.then(|| view! { <p class="none" role="status">"No matching accounts. " <a class="underlined" href="/admin/accounts">"Show all"</a></p> })}
        </section>
    }
}

#[component]
fn Entry(
    account: model::Account,
    actions: Actions,
    own_id: Option<i64>,
    link: Signal<Option<OneTimeLink>>,
) -> impl IntoView {
    let id = account.id;
    let is_own = own_id == Some(id);
    let (other_role, promote) = match account.role {
        Role::Admin => (Role::User, "Make user"),
        Role::User => (Role::Admin, "Make admin"),
    };
    let (username, owner) = (account.username.clone(), account.username.clone());
    let made = move || link.get().filter(|link| link.username.as_ref() == Some(&username));
    let (amount_id, reason_id) = (format!("amount-{id}"), format!("reason-{id}"));
    let vms = if account.vms == 1 { "1 VM".to_owned() } else { format!("{} VMs", account.vms) };
    view! {
        <li data-account=account.username.clone()>
            <div class="what">
                <b>{account.username.clone()}</b>
                <span class="badge">{account.role.as_str()}</span>
                {account.has_second_factor.then(|| view! { <span class="badge">"second factor"</span> })}
                {(!account.is_active).then(|| view! { <span class="badge off">"deactivated"</span> })}
                <small class="muted">
                    {account.email} " · " {vms} " · " <span data-testid="credits">{account.credits_available} " credits"</span>
                    " · since " <LocalTime at=Signal::stored(account.created_at) form=TimeFormat::DayAndTime/>
                    {account.last_seen_at.map(|at| view! { " · last seen " <LocalTime at=Signal::stored(at) form=TimeFormat::DayAndTime/> })}
                </small>
            </div>
            <details class="ask">
                <summary class="btn">"Credits…"</summary>
                <ActionForm action=actions.grant class="line-form">
                    <input type="hidden" name="account_id" value=id/>
                    <div class="field">
                        <label for=amount_id.clone()>"Credits to add (negative to remove)"</label>
                        <span class="control"><input id=amount_id name="amount" type="number" step="1" required value="100"/></span>
                    </div>
                    <div class="field">
                        <label for=reason_id.clone()>"Reason"</label>
                        <span class="control"><input id=reason_id name="reason" required maxlength="200" autocomplete="off"/></span>
                    </div>
                    <button type="submit" class="btn primary" disabled=actions.grant.pending()>"Apply"</button>
                </ActionForm>
            </details>
            {(!is_own && account.is_active).then(|| view! {
                <ActionForm action=actions.link>
                    <input type="hidden" name="account_id" value=id/>
                    <button type="submit" class="btn" disabled=actions.link.pending()>
                        "Password link"<span class="unseen">" for " {owner}</span>
                    </button>
                </ActionForm>
            })}
            {(!is_own && account.has_second_factor).then(|| view! {
                <ActionForm action=actions.remove_factor>
                    <input type="hidden" name="account_id" value=id/>
                    <button type="submit" class="btn">"Remove second factor"</button>
                </ActionForm>
            })}
            {(!is_own).then(|| view! {
                <ActionForm action=actions.set_role>
                    <input type="hidden" name="account_id" value=id/>
                    <input type="hidden" name="role" value=other_role.as_str()/>
                    <button type="submit" class="btn">{promote}</button>
                </ActionForm>
                {if account.is_active {
                    view! { <Deactivate id username=account.username.clone() set_active=actions.set_active/> }.into_any()
                } else {
                    view! {
                        <ActionForm action=actions.set_active>
                            <input type="hidden" name="account_id" value=id/>
                            <input type="hidden" name="is_active" value="true"/>
                            <button type="submit" class="btn">"Activate"</button>
                        </ActionForm>
                    }
                    .into_any()
                }}
            })}
            {move || made().map(|link| view! { <div class="result"><NewLink link/></div> })}
        </li>
    }
}

#[component]
fn Deactivate(id: i64, username: String, set_active: ServerAction<SetAccountActive>) -> impl IntoView {
    let question = Question::new(format!("deactivate-{id}"), username.clone());
    let title = format!("Deactivate {username}?");
    view! {
        <ConfirmButton question of=username>"Deactivate…"</ConfirmButton>
        <Confirm question title>
            <p>"The user is signed out everywhere and cannot sign in until you activate the account again. Their VMs keep running."</p>
            <ActionForm action=set_active>
                <input type="hidden" name="account_id" value=id/>
                <input type="hidden" name="is_active" value="false"/>
                <Confirmation question label="Deactivate" disabled=set_active.pending()/>
            </ActionForm>
        </Confirm>
    }
}

#[component]
fn Create(create: ServerAction<CreateAccount>) -> impl IntoView {
    let error = Signal::derive(move || create.value().get().and_then(Result::err));
    let text = |field: &str| RwSignal::new(entered(field).unwrap_or_default());
    let (username, email, password) = (text("username"), text("email"), RwSignal::new(String::new()));
    let done = move || create.value().with(|answer| matches!(answer, Some(Ok(()))));
    Effect::new(move || {
        if done() {
            for field in [username, email, password] {
                field.set(String::new());
            }
        }
    });
    let wrong = move || {
        let (username, email, password) = (username.get(), email.get(), password.get());
        let is_empty = username.is_empty() && email.is_empty() && password.is_empty();
        check_registration(username.trim(), email.trim(), &password).err().filter(|_| !is_empty)
    };
    let checks = Checks::new(wrong, error);
    view! {
        <section class="panel block" data-testid="create-account">
            <h2>"New account"</h2>
            <ErrorBanner error/>
            <PasswordAgain error/>
            <ActionForm action=create guard=Callback::new(move |event: leptos::ev::SubmitEvent| checks.guard(&event))>
                <div class="three">
                    <TextField name="username" label="User name" value=username checks autocomplete="off"/>
                    <TextField name="email" label="E-mail" kind="email" value=email checks autocomplete="off"/>
                    <TextField name="password" label="Initial password" kind="password" value=password checks autocomplete="new-password" hint="The user can change it later."/>
                </div>
                <div class="field">
                    <label for="field-role">"Role"</label>
                    <span class="control"><select id="field-role" name="role">
                        <option value="user">"user"</option>
                        <option value="admin">"admin"</option>
                    </select></span>
                </div>
                <button type="submit" class="btn primary" disabled=create.pending()>"Create account"</button>
            </ActionForm>
        </section>
    }
}

/// Whether admins need a second factor.
#[component]
fn Policy() -> impl IntoView {
    let require = ServerAction::<RequireSecondFactor>::new();
    toast::when_done(require, "Setting saved.");
    let error = Signal::derive(move || require.value().get().and_then(Result::err));
    let factor = Resource::new(move || require.version().get(), |_| my_second_factor());
    view! {
        <section class="panel block" data-testid="policy">
            <h2>"Second factor of admins"</h2>
            <ErrorBanner error/>
            <PasswordAgain error/>
            {section_view(factor, || view! { <Loading class="blank"/> }.into_any(), move |factor| async move {
                let (state, label) = if factor.is_required {
                    ("Required: an admin without one can only set one up.", "Do not require it")
                } else {
                    ("Optional. You need one yourself before you can require it.", "Require it")
                };
                view! {
                    <p class="hint">{state}</p>
                    <ActionForm action=require>
                        <input type="hidden" name="is_required" value=(!factor.is_required).to_string()/>
                        <button type="submit" class="btn" disabled=require.pending()>{label}</button>
                    </ActionForm>
                }
                .into_any()
            })}
        </section>
    }
}
