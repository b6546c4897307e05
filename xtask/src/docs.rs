//! Checks that the paths which CONTRIBUTING.md and SECURITY.md name exist, and what SECURITY.md says of ASVS.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

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

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn every_path_in_contributing_and_security_exists() {
    for (name, least) in [("CONTRIBUTING.md", 50), ("SECURITY.md", 5)] {
        let text = document(name);
        let paths = paths(&text);
        assert!(paths.len() > least, "only {} paths were found in {name}", paths.len());
        let missing: Vec<_> = paths.into_iter().filter(|path| !root().join(path).exists()).collect();
        assert!(missing.is_empty(), "{name} names paths that do not exist: {missing:?}");
    }
}

/// The requirements of ASVS 5.0.0 of levels 1 and 2: a section, and the numbers in it.
const REQUIREMENTS: &[(&str, &[u8])] = &[
    ("1.1", &[1, 2]),
    ("1.2", &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ("1.3", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ("1.4", &[1, 2, 3]),
    ("1.5", &[1, 2]),
    ("2.1", &[1, 2, 3]),
    ("2.2", &[1, 2, 3]),
    ("2.3", &[1, 2, 3, 4]),
    ("2.4", &[1]),
    ("3.2", &[1, 2]),
    ("3.3", &[1, 2, 3, 4]),
    ("3.4", &[1, 2, 3, 4, 5, 6]),
    ("3.5", &[1, 2, 3, 4, 5]),
    ("3.7", &[1, 2]),
    ("4.1", &[1, 2, 3]),
    ("4.2", &[1]),
    ("4.3", &[1, 2]),
    ("4.4", &[1, 2, 3, 4]),
    ("5.1", &[1]),
    ("5.2", &[1, 2, 3]),
    ("5.3", &[1, 2]),
    ("5.4", &[1, 2, 3]),
    ("6.1", &[1, 2, 3]),
    ("6.2", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ("6.3", &[1, 2, 3, 4]),
    ("6.4", &[1, 2, 3, 4]),
    ("6.5", &[1, 2, 3, 4, 5]),
    ("6.6", &[1, 2, 3]),
    ("6.8", &[1, 2, 3, 4]),
    ("7.1", &[1, 2, 3]),
    ("7.2", &[1, 2, 3, 4]),
    ("7.3", &[1, 2]),
    ("7.4", &[1, 2, 3, 4, 5]),
    ("7.5", &[1, 2]),
    ("7.6", &[1, 2]),
    ("8.1", &[1, 2]),
    ("8.2", &[1, 2, 3]),
    ("8.3", &[1]),
    ("8.4", &[1]),
    ("9.1", &[1, 2, 3]),
    ("9.2", &[1, 2, 3, 4]),
    ("10.1", &[1, 2]),
    ("10.2", &[1, 2]),
    ("10.3", &[1, 2, 3, 4]),
    ("10.4", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ("10.5", &[1, 2, 3, 4, 5]),
    ("10.6", &[1, 2]),
    ("10.7", &[1, 2, 3]),
    ("11.1", &[1, 2]),
    ("11.2", &[1, 2, 3]),
    ("11.3", &[1, 2, 3]),
    ("11.4", &[1, 2, 3, 4]),
    ("11.5", &[1]),
    ("11.6", &[1]),
    ("12.1", &[1, 2, 3]),
    ("12.2", &[1, 2]),
    ("12.3", &[1, 2, 3, 4]),
    ("13.1", &[1]),
    ("13.2", &[1, 2, 3, 4, 5]),
    ("13.3", &[1, 2]),
    ("13.4", &[1, 2, 3, 4, 5]),
    ("14.1", &[1, 2]),
    ("14.2", &[1, 2, 3, 4]),
    ("14.3", &[1, 2, 3]),
    ("15.1", &[1, 2, 3]),
    ("15.2", &[1, 2, 3]),
    ("15.3", &[1, 2, 3, 4, 5, 6, 7]),
    ("16.1", &[1]),
    ("16.2", &[1, 2, 3, 4, 5]),
    ("16.3", &[1, 2, 3, 4]),
    ("16.4", &[1, 2, 3]),
    ("16.5", &[1, 2, 3]),
    ("17.1", &[1]),
    ("17.2", &[1, 2, 3, 4]),
    ("17.3", &[1, 2]),
];

/// The cells of the rows of all tables that begin with a number.
fn requirement_rows(markdown: &str) -> Vec<Vec<&str>> {
    let rows = markdown.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit());
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn every_requirement_of_asvs_has_one_row_that_says_whether_it_holds() {
    let text = document("SECURITY.md");
    let (mut numbers, mut wrong) = (Vec::new(), Vec::new());
    for row in requirement_rows(&text) {
        match row[..] {
            [of, _, "yes" | "part" | "open" | "n/a", how, _] if !how.is_empty() => {
                numbers.extend(of.split(", "));
            }
            _ => wrong.push(row),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let expected: BTreeSet<String> = REQUIREMENTS
        .iter()
        .flat_map(|(section, numbers)| numbers.iter().map(move |number| format!("{section}.{number}")))
        .collect();
    assert_eq!(expected.len(), 253);
    assert_eq!(numbers.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), expected);
    assert_eq!(numbers.len(), 253, "none is there twice");
}

/// Whether a file has a test of this name.
fn is_test(file: &str, name: &str) -> bool {
    let Some(at) = file.find(&format!("fn {name}(")) else { return false };
    let attributes = file[..at].rsplit("\n\n").next().unwrap_or_default();
    attributes.contains("#[test]") || attributes.contains("#[tokio::test")
}

#[test]
fn every_test_that_security_names_exists() {
    let text = document("SECURITY.md");
    let named = text.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::"));
    let (mut count, mut missing) = (0, Vec::new());
    for (path, name) in named {
        count += 1;
        let file = fs::read_to_string(root().join(path)).unwrap_or_default();
        if !is_test(&file, name) {
            missing.push(format!("{path}::{name}"));
        }
    }
    assert!(count > 100, "only {count} tests are named");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn a_test_differs_from_another_function() {
    let file = "#[test]\nfn one() {}\n\nfn two() {}\n\n    #[tokio::test(flavor = \"x\")]\n    async fn three() {}\n";
    let are_tests = ["one", "two", "three", "four"].map(|name| is_test(file, name));
    assert_eq!(are_tests, [true, false, true, false]);
}

#[test]
fn paths_are_distinguished_from_other_code() {
    let text = "Edit `src/app.rs`, not `Vm`, `make check`, `/style` or `target/site`; see `docs/`.\n\
                ```sh\n`scripts/run`\n```\n`Cargo.toml`, `--config`, `xtask::docs`, `.rs`";
    assert_eq!(paths(text), ["src/app.rs", "docs/", "Cargo.toml"]);
}
