//! A file per route. A page is a lazy route: the browser loads its code when it is first opened, together with that of the
//! pages in the same chunk, between which users navigate anyway.

mod account;
mod accounts;
mod admin;
mod adopt;
mod alert_rules;
mod alerts;
mod confirm_email;
mod confirm_password;
mod events;
mod invitations;
mod launch;
mod monitor;
mod new_password;
mod not_found;
mod notifications;
mod overview;
mod register;
mod second_factor;
mod setup;
mod sign_in;
#[cfg(debug_assertions)]
mod style;
mod terminal;
mod vm;

pub use not_found::NotFound;
#[cfg(debug_assertions)]
pub use style::Style;

use crate::components::banner::PageNotLoaded;
use leptos::{
    prelude::*,
    wasm_split::{SplitLoaderError, wasm_split},
};
use leptos_router::LazyRoute;

/// For each page its route. This is `#[lazy_route]`, except that pages share a chunk (a chunk for each page would be loaded
/// as dozens of small files) and that a chunk which does not load does not end the app.
macro_rules! pages {
    ($($chunk:ident: $module:ident::$page:ident, $view:ident, $preload:ident;)*) => {$(
        #[wasm_split($chunk, wasm_split_path = ::leptos::wasm_split, preload($preload), fallible)]
        fn $view() -> Result<AnyView, SplitLoaderError> {
            Ok($module::$page().into_any())
        }

        pub struct $page;

        impl LazyRoute for $page {
            fn data() -> Self {
                Self
            }

            async fn view(_: Self) -> AnyView {
                match $view().await {
                    Ok(view) => view,
                    Err(_) => not_loaded().await,
                }
            }

            async fn preload() {
                // The view reports a failure.
                let _ = $preload().await;
            }
        }
    )*};
}

pages! {
    overview: overview::Overview, overview_page, load_overview;
    vm: vm::Vm, vm_page, load_vm;
    monitor: monitor::Monitor, monitor_page, load_monitor;
    alerts: alerts::Alerts, alerts_page, load_alerts;
    alerts: alert_rules::AlertRules, alert_rules_page, load_alert_rules;
    alerts: events::Events, events_page, load_events;
    terminal: terminal::Terminal, terminal_page, load_terminal;
    terminal: terminal::Terminals, terminals_page, load_terminals;
    terminal: terminal::SshKeys, ssh_keys_page, load_ssh_keys;
    manage: account::Account, account_page, load_account;
    manage: accounts::Accounts, accounts_page, load_accounts;
    manage: admin::Admin, admin_page, load_admin;
    manage: launch::Launch, launch_page, load_launch;
    manage: adopt::Adopt, adopt_page, load_adopt;
    security: sign_in::SignIn, sign_in_page, load_sign_in;
    security: setup::Setup, setup_page, load_setup;
    security: register::Register, register_page, load_register;
    security: new_password::NewPassword, new_password_page, load_new_password;
    security: second_factor::SecondFactor, second_factor_page, load_second_factor;
    security: confirm_password::ConfirmPassword, confirm_password_page, load_confirm_password;
    security: confirm_email::ConfirmEmail, confirm_email_page, load_confirm_email;
}

/// While hydrating, the page stays as the server rendered it, which works without JavaScript.
async fn not_loaded() -> AnyView {
    if Owner::current_shared_context().is_some_and(|context| context.during_hydration()) {
        std::future::pending::<()>().await;
    }
    view! { <PageNotLoaded/> }.into_any()
}
