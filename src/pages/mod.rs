//! A file per route. The browser gets with what every page needs the part of the wasm that the page is in, and no other:
//! each part holds pages that people go between anyway. What several parts need is split off by the build (`xtask`).

mod account;
mod accounts;
mod admin;
mod adopt;
mod alert_rules;
mod alerts;
mod events;
mod launch;
mod monitor;
mod not_found;
mod notifications;
mod overview;
mod register;
mod setup;
mod sign_in;
#[cfg(debug_assertions)]
mod style;
mod vm;

pub use not_found::NotFound;
#[cfg(debug_assertions)]
pub use style::Style;

use crate::components::part::when_there;
use leptos::{
    prelude::*,
    wasm_split::{SplitLoaderError, wasm_split},
};

/// For each page the function of its route, and what has the code of the page at a path come.
macro_rules! pages {
    ($($part:ident $pattern:pat => $module:ident::$page:ident, $body:ident, $load:ident;)*) => {
        $(
            #[wasm_split($part, wasm_split_path = ::leptos::wasm_split, preload($load), fallible)]
            fn $body() -> Result<AnyView, SplitLoaderError> {
                Ok($module::$page().into_any())
            }

            #[expect(non_snake_case, reason = "a page is a component")]
            pub fn $page() -> AnyView {
                when_there(Box::pin($load()), Box::new(|| Box::pin($body())))
            }
        )*

        /// Has the code of the page at a path come. False when it does not.
        #[cfg(feature = "hydrate")]
        pub async fn load(path: &str) -> bool {
            let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
            match segments[..] {
                $($pattern => $load().await.is_ok(),)*
                _ => true,
            }
        }

        /// The part of the wasm that the page at a path is in.
        #[cfg(feature = "ssr")]
        pub fn part(path: &str) -> Option<&'static str> {
            let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
            match segments[..] {
                $($pattern => Some(stringify!($part)),)*
                _ => None,
            }
        }
    };
}

pages! {
    overview [] => overview::Overview, overview_page, load_overview;
    monitor ["monitor"] => monitor::Monitor, monitor_page, load_monitor;
    alerts ["alerts"] => alerts::Alerts, alerts_page, load_alerts;
    alerts ["alerts", "rules"] => alert_rules::AlertRules, alert_rules_page, load_alert_rules;
    alerts ["events"] => events::Events, events_page, load_events;
    forms ["account"] => account::Account, account_page, load_account;
    people ["admin", "accounts"] => accounts::Accounts, accounts_page, load_accounts;
    people ["admin"] => admin::Admin, admin_page, load_admin;
    forms ["vms", "new"] => launch::Launch, launch_page, load_launch;
    forms ["vms", "adopt"] => adopt::Adopt, adopt_page, load_adopt;
    vm ["vms", _] | ["vms", _, _] => vm::Vm, vm_page, load_vm;
    enter ["sign-in"] => sign_in::SignIn, sign_in_page, load_sign_in;
    enter ["setup"] => setup::Setup, setup_page, load_setup;
    enter ["register"] => register::Register, register_page, load_register;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_part_that_its_page_is_in() {
        let parts = ["/", "/vms/7", "/vms/7/settings", "/vms/new", "/admin/accounts", "/sign-in", "/nowhere"]
            .map(part);
        let expected =
            [Some("overview"), Some("vm"), Some("vm"), Some("forms"), Some("people"), Some("enter"), None];
        assert_eq!(parts, expected);
    }
}
