//! What pages share.

pub mod action;
pub mod alerts;
mod bell;
pub mod browser;
pub mod chart;
pub mod clock;
pub mod collector;
pub mod confirm;
pub mod feed;
pub mod figures;
pub mod form;
pub mod format;
pub mod icon;
pub mod layout;
pub mod loaded;
pub mod notice;
pub mod palette;
pub mod part;
pub mod poll;
pub mod range;
pub mod response;
pub mod store;
pub mod theme;
pub mod timeline;
pub mod toast;
pub mod trail;
pub mod vm;
