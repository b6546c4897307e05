//! Checks that the paths which CONTRIBUTING.md names exist.

use std::path::Path;

const EXTENSIONS: [&str; 10] = ["css", "json", "js", "md", "mjs", "rs", "sh", "sql", "toml", "yml"];

/// The inline code of `markdown` that looks like a path of the project. Code blocks are left out.
fn paths(markdown: &str) -> Vec<&str> {
    let mut is_block = false;
    let mut paths = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if !is_block {
            paths.extend(line.split('`').skip(1).step_by(2).filter(|code| is_path(code)));
        }
    }
    paths
}

/// `docs/` and `Cargo.toml` are, `make check`, `/style` and `target/site` are not: the last is a result of a build.
fn is_path(code: &str) -> bool {
    let is_plain =
        code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+'));
    let has_extension =
        code.rsplit_once('.').is_some_and(|(name, end)| !name.is_empty() && EXTENSIONS.contains(&end));
    let is_elsewhere = code.starts_with(['/', '-']) || code.starts_with("target/");
    is_plain && !is_elsewhere && (code.contains('/') || has_extension)
}

#[test]
fn every_path_in_contributing_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let paths = paths(&text);
    assert!(paths.len() > 50, "only {} paths were found", paths.len());
    let missing: Vec<_> = paths.into_iter().filter(|path| !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "CONTRIBUTING.md names paths that do not exist: {missing:?}");
}

#[test]
fn paths_are_distinguished_from_other_code() {
    let text = "Edit `src/app.rs`, not `Vm`, `make check`, `/style` or `target/site`; see `docs/`.\n\
                ```sh\n`scripts/run`\n```\n`Cargo.toml`, `--config`, `xtask::docs`, `.rs`";
    assert_eq!(paths(text), ["src/app.rs", "docs/", "Cargo.toml"]);
}
