//! A file per route.

mod admin;
mod adopt;
mod launch;
mod not_found;
mod overview;
mod register;
mod sign_in;
mod vm;

pub use admin::Admin;
pub use adopt::Adopt;
pub use launch::Launch;
pub use not_found::NotFound;
pub use overview::Overview;
pub use register::Register;
pub use sign_in::SignIn;
pub use vm::Vm;
