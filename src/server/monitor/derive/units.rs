//! Binary units, and how old a guest's value may be.

/// A guest's value that is older than this many intervals is not shown.
pub const FRESH_INTERVALS: u32 = 3;

pub const KIB_PER_MB: f64 = 1024.0;
pub const BYTES_PER_MB: f64 = 1024.0 * 1024.0;
pub const BYTES_PER_GB: f64 = 1024.0 * 1024.0 * 1024.0;
