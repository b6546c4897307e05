//! Everything that calls the browser's own API. The server has stubs of the same signatures: the callers run in effects and
//! event handlers, which never run on the server.

#[cfg(feature = "hydrate")]
mod dom;
#[cfg(feature = "hydrate")]
mod download;
#[cfg(feature = "hydrate")]
mod echarts;
#[cfg(feature = "hydrate")]
mod events;
#[cfg(feature = "hydrate")]
mod focus;
#[cfg(feature = "hydrate")]
mod forms;
#[cfg(not(feature = "hydrate"))]
mod stubs;
#[cfg(feature = "hydrate")]
mod theme;
#[cfg(feature = "hydrate")]
mod time;

#[cfg(feature = "hydrate")]
pub use {dom::*, download::*, echarts::Plot, events::*, focus::*, forms::*, theme::*, time::*};

#[cfg(not(feature = "hydrate"))]
pub use stubs::*;
