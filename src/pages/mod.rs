//! A file per route.

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
mod vm;

pub use account::Account;
pub use accounts::Accounts;
pub use admin::Admin;
pub use adopt::Adopt;
pub use alert_rules::AlertRules;
pub use alerts::Alerts;
pub use events::Events;
pub use launch::Launch;
pub use monitor::Monitor;
pub use not_found::NotFound;
pub use overview::Overview;
pub use register::Register;
pub use setup::Setup;
pub use sign_in::SignIn;
pub use vm::Vm;
