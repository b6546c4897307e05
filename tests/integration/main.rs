//! The whole server, tested through what it offers to others: its router, its binary, its files. One test binary, because
//! each one links the server anew.
//!
//! Tests run side by side in one process: whatever belongs to a process (environment variables, the current folder) is set
//! for child processes only.

mod access;
mod accounts;
mod api;
mod audit;
mod clocks;
mod config;
mod crash;
mod gateway;
mod hardening;
mod imports;
mod lifecycle;
mod malformed;
mod network;
mod notifications;
mod prometheus;
mod proxy;
mod registration;
mod second_factor;
mod sharing;
mod simulated;
mod storage;
#[path = "../support/mod.rs"]
mod support;
mod terminals;
mod tls;
