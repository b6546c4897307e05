//! Real Vagrant, libvirt and QEMU. Runs inside the lab: `scripts/lab up`, then
//! `scripts/lab exec cargo test --features ssr --test lab monitoring:: -- --ignored --test-threads 1`.
//!
//! `scripts/test-lab` runs it module by module: a new one has to be added there.

mod gateway;
mod libvirt;
mod lifecycle;
mod monitoring;
#[path = "../support/mod.rs"]
mod support;
mod vagrant;
