//! The addresses of the files that every page loads.

use serde::Deserialize;

/// Each address contains a hash of the build. The server provides them as a context before it renders.
#[derive(Debug, Clone, Deserialize)]
pub struct AssetUrls {
    pub css: String,
    pub js: String,
    pub wasm: String,
    pub echarts: String,
    pub terminal: String,
}
