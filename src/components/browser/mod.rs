//! The one place that speaks to the browser itself. On the server the same names exist and do nothing: what
//! calls them runs in effects, which the server never runs.

#[cfg(not(feature = "hydrate"))]
mod absent;
#[cfg(feature = "hydrate")]
mod echarts;
#[cfg(feature = "hydrate")]
mod present;

#[cfg(not(feature = "hydrate"))]
pub use absent::*;
#[cfg(feature = "hydrate")]
pub use echarts::Plot;
#[cfg(feature = "hydrate")]
pub use present::*;
