//! Invitations, on the page of all accounts.

use crate::{
    api::{CreateInvitation, RevokeInvitation, list_invitations},
    components::{
        action::{ActionForm, ServerAction},
        auth::Viewer,
        banner::{ErrorBanner, Loading},
        local_time::{LocalTime, TimeFormat},
        password_again::PasswordAgain,
        resource::section_view,
        toast,
    },
    model::{
        INVITATION_MAX_CREDITS, INVITATION_MAX_DAYS, INVITATION_NOTE_MAX_CHARS, Invitation, OneTimeLink,
        RegistrationMode, Role,
    },
};
use leptos::{ev, prelude::*, web_sys::HtmlInputElement};

const USUAL_DAYS: u32 = 7;

/// `link` is the one that was created last, if it is shown.
#[component]
pub fn Invitations(
    create: ServerAction<CreateInvitation>,
    link: Signal<Option<OneTimeLink>>,
) -> impl IntoView {
    let revoke = ServerAction::<RevokeInvitation>::new();
    toast::when_done(create, "Invitation created.");
    toast::when_done(revoke, "Invitation revoked.");
    let changes = move || (create.version().get(), revoke.version().get());
    let invitations = Resource::new(changes, |_| list_invitations());
    let viewer = expect_context::<Viewer>();
    let error = Signal::derive(move || {
        create.value().get().and_then(Result::err).or_else(|| revoke.value().get().and_then(Result::err))
    });
    let made = move || link.get().filter(|link| link.username.is_none());
    view! {
        <section class="panel block" data-testid="invitations">
            <h2>"Invitations"</h2>
            <ErrorBanner error/>
            <PasswordAgain error/>
            <Suspense>
                {move || Suspend::new(async move {
                    if viewer.registration().await == Some(RegistrationMode::Closed) {
                        view! { <p class="hint">"Registration is closed. To invite users, start the server with --registration invited."</p> }.into_any()
                    } else {
                        view! { <Create create/> }.into_any()
                    }
                })}
            </Suspense>
            {move || made().map(|link| view! { <NewLink link/> })}
            {section_view(invitations, || view! { <Loading/> }.into_any(), move |invitations| async move {
                view! { <List invitations revoke/> }.into_any()
            })}
        </section>
    }
}

#[component]
fn Create(create: ServerAction<CreateInvitation>) -> impl IntoView {
    view! {
        <ActionForm action=create class="line-form">
            <div class="field">
                <label for="invitation-note">"For"</label>
                <span class="control"><input id="invitation-note" name="note" maxlength=INVITATION_NOTE_MAX_CHARS.to_string() autocomplete="off" placeholder="a name, for this list"/></span>
            </div>
            <div class="field">
                <label for="invitation-days">"Valid for"</label>
                <span class="control">
                    <input id="invitation-days" name="days" type="number" min="1" max=INVITATION_MAX_DAYS.to_string() required value=USUAL_DAYS.to_string()/>
                    <span class="unit">"days"</span>
                </span>
            </div>
            <div class="field">
                <label for="invitation-role">"Role"</label>
                <span class="control"><select id="invitation-role" name="role">
                    <option value="user">"user"</option>
                    <option value="admin">"admin"</option>
                </select></span>
            </div>
            <div class="field">
                <label for="invitation-credits">"Credits"</label>
                <span class="control"><input id="invitation-credits" name="credits" type="number" min="0" max=INVITATION_MAX_CREDITS.to_string() placeholder="as usual"/></span>
            </div>
            <button type="submit" class="btn primary" disabled=create.pending()>"Create invitation"</button>
        </ActionForm>
    }
}

#[component]
fn List(invitations: Vec<Invitation>, revoke: ServerAction<RevokeInvitation>) -> impl IntoView {
    let is_empty = invitations.is_empty();
    let entry = move |invitation: Invitation| {
        let Invitation { id, role, credits, note, created_by, expires_at, .. } = invitation;
        let name = if note.is_empty() { "Somebody".to_owned() } else { note };
        let label = format!("Revoke the invitation of {name}");
        view! {
            <li>
                <div class="what">
                    <b>{name}</b>
                    {(role == Role::Admin).then(|| view! { " "<span class="badge">"admin"</span> })}
                    <small class="muted">
                        {credits} " credits · by " {created_by} " · until " <LocalTime at=Signal::stored(expires_at) form=TimeFormat::DayAndTime/>
                    </small>
                </div>
                <ActionForm action=revoke>
                    <input type="hidden" name="invitation_id" value=id/>
                    <button type="submit" class="btn" aria-label=label>"Revoke"</button>
                </ActionForm>
            </li>
        }
    };
    view! {
        <ul class="entries" data-testid="open-invitations">{invitations.into_iter().map(entry).collect_view()}</ul>
        {is_empty.then(|| view! { <p class="hint">"No open invitations. An invitation is a link by which somebody creates an account here."</p> })}
    }
}

/// A link that was just created, to be sent to its user.
#[component]
pub fn NewLink(link: OneTimeLink) -> impl IntoView {
    let OneTimeLink { url, expires_at, username } = link;
    let (title, id) = match username {
        Some(username) => (format!("Link for {username} to set a new password"), "new-password-link"),
        None => ("Invitation link".to_owned(), "new-invitation-link"),
    };
    let select = move |event: ev::FocusEvent| event_target::<HtmlInputElement>(&event).select();
    view! {
        <div class="new-link" role="status" data-testid="new-link">
            <div class="field">
                <label for=id>{title}</label>
                <span class="control">
                    <input id=id readonly value=url spellcheck="false" on:focus=select/>
                </span>
            </div>
            <p class="hint">
                "Copy it now: it is not shown again. It works once, until " <LocalTime at=Signal::stored(expires_at) form=TimeFormat::DayAndTime/>
                ". Whoever has it can use it, so send it in private."
            </p>
        </div>
    }
}
