//! Files written whole, and compressed beside themselves.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// The first 16 hexadecimal digits of the content's SHA-256.
pub fn hash(content: &[u8]) -> String {
    Sha256::digest(content)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the file unless it already has this content. A reader sees the old file or the new one, never half of it.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    fs::write(&unfinished, content)
        .and_then(|()| fs::rename(&unfinished, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Smaller files gain nothing that a packet would notice.
const WORTH_COMPRESSING_BYTES: usize = 1024;

/// The compressed forms of a file that a server can offer: extension and content.
pub fn compressed(name: &str, content: &[u8]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    // `bin`: modules of wasm
    let text_or_wasm =
        ["bin", "css", "html", "ico", "js", "json", "svg", "txt", "wasm", "webmanifest", "xml"];
    let compressible = name.rsplit_once('.').is_some_and(|(_, extension)| text_or_wasm.contains(&extension));
    if !compressible || content.len() < WORTH_COMPRESSING_BYTES {
        return Ok(vec![]);
    }
    Ok(vec![("br", brotli(content)?), ("gz", gzip(content)?)])
}

fn brotli(content: &[u8]) -> Result<Vec<u8>> {
    let parameters = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 24, ..Default::default() };
    let mut output = Vec::new();
    brotli::BrotliCompress(&mut &content[..], &mut output, &parameters)?;
    Ok(output)
}

fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?)
}
