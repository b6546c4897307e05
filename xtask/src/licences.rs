//! Checks the licences of all dependencies, of the server, the browser's code and this tool.

/// The licences that a dependency may have; all are compatible with distributing the binary under MIT or Apache-2.0.
const ALLOWED: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether the allowed licences satisfy an SPDX expression: `AND` binds tighter than `OR`; the old `/` means `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    either(&mut words) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>) -> bool {
    let mut allowed = both(words);
    while words.next_if_eq(&"OR").is_some() {
        allowed |= both(words);
    }
    allowed
}

fn both(words: &mut Words<'_>) -> bool {
    let mut allowed = single(words);
    while words.next_if_eq(&"AND").is_some() {
        allowed &= single(words);
    }
    allowed
}

fn single(words: &mut Words<'_>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let allowed = either(words);
        return words.next() == Some(")") && allowed;
    }
    let mut licence = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
    }
    ALLOWED.contains(&licence.as_str())
}

#[cfg(test)]
mod tests {
    use super::is_allowed;
    use serde_json::Value;
    use std::process::Command;

    /// Only what is built for `platform`: cargo has not downloaded the rest.
    fn packages(platform: &str, feature: &str) -> Vec<Value> {
        let output = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--format-version",
                "1",
                "--locked",
                "--offline",
                "--filter-platform",
                platform,
            ])
            .args(["--features", &format!("twarga-cloud/{feature}")])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        metadata["packages"].as_array().unwrap().clone()
    }

    #[test]
    fn every_dependency_has_an_allowed_licence() {
        for (platform, feature) in
            [("x86_64-unknown-linux-gnu", "ssr"), ("wasm32-unknown-unknown", "hydrate")]
        {
            let packages = packages(platform, feature);
            assert!(packages.len() > 100);
            let refused: Vec<_> = packages
                .iter()
                .filter(|package| !package["license"].as_str().is_some_and(is_allowed))
                .map(|package| format!("{}: {}", package["name"], package["license"]))
                .collect();
            assert!(refused.is_empty(), "licences that are not allowed:\n{}", refused.join("\n"));
        }
    }

    #[test]
    fn licence_expressions_are_evaluated() {
        for allowed in [
            "MIT",
            "MIT/GPL-3.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-3.0) AND ISC",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(allowed), "{allowed}");
        }
        for refused in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "GPL-3.0 OR MIT AND GPL-2.0", "(MIT", "MIT)", "MIT ISC"]
        {
            assert!(!is_allowed(refused), "{refused}");
        }
    }
}
