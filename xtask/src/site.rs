//! Builds `target/site`, all that the browser loads:
//!
//! ```text
//! target/site/assets.json                      the addresses below; written last
//! target/site/pkg/<hash>/twarga-cloud.wasm     of the crate with the feature `hydrate`: what every page needs
//! target/site/pkg/<hash>/*.bin                 the rest of it, the chunks of `src/pages/mod.rs`
//! target/site/pkg/<hash>/twarga-cloud.js       starts it, and loads the chunks
//! target/site/pkg/<hash>/twarga-cloud.css      style/main.css with its imports
//! target/site/pkg/<hash>/echarts.js            assets/echarts.js with the parts of ECharts it names
//! target/site/*                                public/*
//! ```
//!
//! The folder's name is a hash of all its files, so that browsers may keep them for ever and files may name each other.
//! A running debug server always finds a whole site: an old folder goes only after `assets.json` names the new one.
//! The release mode adds `.br` and `.gz` beside what is worth compressing.

use crate::files::{compressed, hash, replace};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

const NAME: &str = "twarga-cloud";
const LIB_NAME: &str = "twarga_cloud";

/// The most that a first load may bring, kB in brotli: the wasm of the page that needs the most of it, the pages' script,
/// and ECharts.
const WASM_CEILING_KB: f64 = 510.0;
const JS_CEILING_KB: f64 = 30.0;
const ECHARTS_CEILING_KB: f64 = 160.0;
const TERMINAL_CEILING_KB: f64 = 120.0;

/// The script that loads the chunks, as the wasm imports it.
const LINK_SCRIPT: &str = "./__wasm_split.js";

/// What `assets.json` names, by its key there.
const ADDRESSES: [(&str, &str); 5] = [
    ("css", "twarga-cloud.css"),
    ("js", "twarga-cloud.js"),
    ("wasm", "twarga-cloud.wasm"),
    ("echarts", "echarts.js"),
    ("terminal", "terminal.js"),
];

#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    Debug,
    Release,
}

/// Files of `pkg/<hash>`, by name.
type Files = BTreeMap<String, Vec<u8>>;

/// The crate's wasm, split as cargo-leptos does it.
struct Split {
    main: Vec<u8>,
    /// What is beside it, by name; chunks share some.
    modules: Files,
    /// The names of the modules of each chunk.
    chunks: BTreeMap<String, Vec<String>>,
}

pub fn build(mode: Mode) -> Result<()> {
    let build = Build::new(mode)?;
    let wasm = timed("wasm", || build.wasm())?;
    let Split { main, mut modules, chunks } = timed("split", || build.split(&wasm))?;
    modules.insert(NAME.into(), timed("wasm-bindgen", || build.bindings(&main))?);
    if mode == Mode::Release {
        timed("wasm-opt", || build.optimise(&mut modules))?;
    }
    let mut files = Files::new();
    for (chunk, names) in &chunks {
        let content = names.iter().flat_map(|name| &modules[name]).copied().collect();
        files.insert(format!("{chunk}.bin"), content);
    }
    files.insert(format!("{NAME}.js"), timed("script", || build.script(&modules, &chunks))?);
    files.insert(format!("{NAME}.wasm"), modules.remove(NAME).context("it was inserted")?);
    let css = timed("styles", || build.styles())?;
    let echarts = timed("echarts", || build.bundle("echarts"))?;
    let terminal = timed("terminal", || build.bundle("terminal"))?;
    build.write_for_cargo_leptos(&css, &[("echarts.js", &echarts), ("terminal.js", &terminal)])?;
    files.insert(format!("{NAME}.css"), css);
    files.insert("echarts.js".into(), echarts);
    files.insert("terminal.js".into(), terminal);
    let (folder, names) = timed("write", || build.write(&files))?;
    if mode == Mode::Release {
        print_sizes(&build.site, &names)?;
        build.note_sizes(&folder, chunks.keys())?;
    }
    Ok(())
}

fn timed<T>(step: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let output = work().with_context(|| format!("{step} failed"))?;
    println!("{step:<13}{:>6.1} s", start.elapsed().as_secs_f64());
    Ok(output)
}

struct Build {
    mode: Mode,
    root: PathBuf,
    site: PathBuf,
    /// Where tools leave their output on its way to the site.
    work: PathBuf,
}

impl Build {
    fn new(mode: Mode) -> Result<Build> {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the project")?.to_owned();
        let work = root.join("target/site-work");
        fs::create_dir_all(&work)?;
        Ok(Build { mode, site: root.join("target/site"), work, root })
    }

    /// The crate compiled for the browser, as rustc leaves it.
    fn wasm(&self) -> Result<Vec<u8>> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.current_dir(&self.root).args(["build", "--package", NAME, "--lib", "--features", "hydrate"]);
        cargo.args(["--target", "wasm32-unknown-unknown", "--message-format", "json-render-diagnostics"]);
        if self.mode == Mode::Release {
            cargo.args(["--profile", "wasm-release"]);
        }
        let output = cargo.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
        ensure!(
            output.status.success(),
            "the browser's side does not compile (if the target is missing: `rustup target add wasm32-unknown-unknown`)"
        );
        let path = wasm_artifact(&output.stdout).context("cargo named no .wasm file")?;
        fs::read(&path).with_context(|| format!("cannot read {path}"))
    }

    /// Splits the wasm at the functions marked `#[wasm_split]`.
    fn split(&self, wasm: &[u8]) -> Result<Split> {
        let dir = self.split_dir();
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        let main = dir.join("main.wasm");
        let main_module = format!("./{NAME}.js");
        let mut options = wasm_split_cli_support::Options::new(wasm);
        options.output_dir = &dir;
        options.main_out_path = &main;
        options.main_module = &main_module;
        options.link_name = LINK_SCRIPT;
        let split = wasm_split_cli_support::transform(options).map_err(|error| anyhow!("{error:?}"))?;
        let mut modules = Files::new();
        for path in &split.split_modules {
            let name = path.file_stem().context("a file has a name")?.to_string_lossy().into_owned();
            modules.insert(name, fs::read(path)?);
        }
        let chunks = split.prefetch_map.into_iter().collect();
        Ok(Split { main: fs::read(main)?, modules, chunks })
    }

    fn split_dir(&self) -> PathBuf {
        self.work.join("split")
    }

    fn bindings_dir(&self) -> PathBuf {
        self.work.join("bindgen")
    }

    /// Leaves the script that starts the wasm in `bindings_dir`; gives the wasm that fits it.
    fn bindings(&self, wasm: &[u8]) -> Result<Vec<u8>> {
        let dir = self.bindings_dir();
        let release = self.mode == Mode::Release;
        wasm_bindgen_cli_support::Bindgen::new()
            .input_bytes(NAME, wasm.to_owned())
            .web(true)?
            .typescript(false)
            // The chunks use the table of functions.
            .keep_lld_exports(true)
            .omit_default_module_path(true)
            .remove_name_section(release)
            .remove_producers_section(release)
            .generate(&dir)?;
        Ok(fs::read(dir.join(format!("{NAME}_bg.wasm")))?)
    }

    /// One script of wasm-bindgen's, the one that loads the chunks, and those of crates (`snippets/`).
    fn script(&self, modules: &Files, chunks: &BTreeMap<String, Vec<String>>) -> Result<Vec<u8>> {
        let dir = self.bindings_dir();
        let of_wasm_split = fs::read_to_string(self.split_dir().join(LINK_SCRIPT))?;
        let mut link_script = fs::read_to_string(self.root.join("assets/chunks.js"))?;
        link_script += &format!("const canary = {{ {} }};\n", canary(&of_wasm_split));
        for (chunk, names) in chunks {
            let sizes = names.iter().map(|name| format!("{name}: {}", modules[name].len()));
            let sizes = sizes.collect::<Vec<_>>().join(", ");
            link_script +=
                &format!("export const __wasm_split_load_{chunk} = loader({chunk:?}, {{ {sizes} }});\n");
        }
        fs::write(dir.join(LINK_SCRIPT), link_script)?;
        // wasm-bindgen names the script that loads once for each chunk.
        let options = ["--format=esm", "--target=es2022", "--log-override:duplicate-object-key=silent"];
        self.esbuild(&dir.join(format!("{NAME}.js")), &options)
    }

    fn optimise(&self, modules: &mut Files) -> Result<()> {
        let dir = self.work.join("optimise");
        fs::create_dir_all(&dir)?;
        let mut node = Command::new("node");
        node.current_dir(&self.root).arg("xtask/optimise.mjs");
        for (name, wasm) in modules.iter() {
            let path = dir.join(name).with_extension("wasm");
            fs::write(&path, wasm)?;
            node.arg(path);
        }
        run(&mut node)?;
        for (name, wasm) in modules {
            *wasm = fs::read(dir.join(name).with_extension("wasm"))?;
        }
        fs::remove_dir_all(&dir)?;
        Ok(())
    }

    fn styles(&self) -> Result<Vec<u8>> {
        // What `url("/…")` names is served from public/, not bundled.
        let served = ["--external:*.svg", "--external:*.png", "--external:*.woff2"];
        self.esbuild(&self.root.join("style/main.css"), &served)
    }

    /// A script of `assets` with the packages that it uses, as a classic script with a global of its name.
    fn bundle(&self, name: &str) -> Result<Vec<u8>> {
        let entry = self.root.join(format!("assets/{name}.js"));
        // Minified in both modes: nobody debugs it here, and it loads with every page.
        let global = format!("--global-name={name}");
        let options = ["--format=iife", &global, "--minify", "--legal-comments=eof", "--loader:.css=text"];
        self.esbuild(&entry, &options)
    }

    fn esbuild(&self, entry: &Path, options: &[&str]) -> Result<Vec<u8>> {
        let output = self.work.join("esbuild.out");
        let mut esbuild = self.npm_tool("esbuild")?;
        esbuild.arg(entry).args(["--bundle", "--log-level=warning"]).args(options);
        if self.mode == Mode::Release {
            esbuild.arg("--minify");
        }
        run(esbuild.arg(format!("--outfile={}", output.display())))?;
        Ok(fs::read(output)?)
    }

    fn npm_tool(&self, name: &str) -> Result<Command> {
        let path = self.root.join("node_modules/.bin").join(name);
        ensure!(path.exists(), "{name} is not installed: run `scripts/setup build` (or `npm ci`) first");
        let mut command = Command::new(path);
        command.current_dir(&self.root);
        Ok(command)
    }

    /// Writes everything and removes what an earlier build left. Gives the folder of `files`, and the names of all files.
    fn write(&self, files: &Files) -> Result<(String, BTreeSet<String>)> {
        let hashes = files.iter().map(|(name, content)| format!("{name} {}\n", hash(content)));
        let folder = format!("pkg/{}", hash(hashes.collect::<String>().as_bytes()));
        fs::create_dir_all(self.site.join(&folder))?;
        let mut names = BTreeSet::new();
        let mut kept = BTreeSet::from(["assets.json".to_owned()]);
        for (name, content) in files {
            let path = format!("{folder}/{name}");
            kept.extend(self.write_one(&path, content)?);
            names.insert(path);
        }
        for (name, content) in public_files(&self.root.join("public"))? {
            kept.extend(self.write_one(&name, &content)?);
            names.insert(name);
        }
        let addresses: BTreeMap<_, _> =
            ADDRESSES.iter().map(|(key, name)| (key, format!("/{folder}/{name}"))).collect();
        let manifest = serde_json::to_string_pretty(&addresses)? + "\n";
        replace(&self.site.join("assets.json"), manifest.as_bytes())?;
        remove_others(&self.site, "", &kept)?;
        Ok((folder, names))
    }

    /// Adds what a first load brings, compressed, to `target/bench.json`; an error where it is over its ceiling.
    fn note_sizes(&self, folder: &str, chunks: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        let file = self.root.join("target/bench.json");
        let known = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut results: serde_json::Map<String, serde_json::Value> = known.unwrap_or_default();
        let brotli_kb = |name: &str| -> Result<f64> {
            // What is too small to be compressed is sent as it is.
            let path = self.site.join(folder).join(name);
            let compressed = path.with_added_extension("br");
            let sent = if compressed.exists() { compressed } else { path };
            Ok(fs::metadata(&sent).with_context(|| format!("no {name}"))?.len() as f64 / 1024.0)
        };
        let main_kb = brotli_kb(&format!("{NAME}.wasm"))?;
        let mut largest_kb = main_kb;
        println!("\nwasm in brotli: {main_kb:.1} kB for every page");
        for chunk in chunks {
            let chunk = chunk.as_ref();
            let chunk_kb = brotli_kb(&format!("{chunk}.bin"))?;
            let total_kb = main_kb + chunk_kb;
            println!("  and {chunk_kb:.1} for {chunk}, together {total_kb:.1}");
            largest_kb = largest_kb.max(total_kb);
        }
        let mut over = Vec::new();
        for (name, kb, ceiling_kb) in [
            ("wasm_brotli_kb", largest_kb, WASM_CEILING_KB),
            ("js_kb", brotli_kb(&format!("{NAME}.js"))?, JS_CEILING_KB),
            ("echarts_brotli_kb", brotli_kb("echarts.js")?, ECHARTS_CEILING_KB),
            ("terminal_brotli_kb", brotli_kb("terminal.js")?, TERMINAL_CEILING_KB),
        ] {
            let kb = (kb * 100.0).round() / 100.0;
            if kb > ceiling_kb {
                over.push(format!("{name} is {kb} kB, above its ceiling of {ceiling_kb} kB"));
            }
            results.insert(name.into(), serde_json::json!({ "value": kb, "unit": "kB" }));
        }
        replace(&file, &serde_json::to_vec_pretty(&results)?)?;
        ensure!(over.is_empty(), "{}", over.join("; "));
        Ok(())
    }

    /// What cargo-leptos cannot make itself: the style sheet with its imports, and scripts of their own among
    /// the public files.
    /// `[package.metadata.leptos]` points here.
    fn write_for_cargo_leptos(&self, css: &[u8], scripts: &[(&str, &[u8])]) -> Result<()> {
        let folder = self.root.join("target/cargo-leptos");
        fs::create_dir_all(folder.join("public"))?;
        replace(&folder.join("main.css"), css)?;
        for (name, content) in scripts {
            replace(&folder.join("public").join(name), content)?;
        }
        for (name, content) in public_files(&self.root.join("public"))? {
            replace(&folder.join("public").join(name), &content)?;
        }
        Ok(())
    }

    /// Writes a file and, for a release, its compressed forms; gives all their names.
    fn write_one(&self, path: &str, content: &[u8]) -> Result<Vec<String>> {
        replace(&self.site.join(path), content)?;
        let mut names = vec![path.to_owned()];
        if self.mode == Mode::Debug {
            return Ok(names);
        }
        // A folder is named by the hash of its content, so existing files in it are current.
        let forms = ["br", "gz"].map(|extension| format!("{path}.{extension}"));
        if path.starts_with("pkg/") && forms.iter().all(|form| self.site.join(form).exists()) {
            names.extend(forms);
            return Ok(names);
        }
        for (extension, content) in compressed(path, content)? {
            let form = format!("{path}.{extension}");
            replace(&self.site.join(&form), &content)?;
            names.push(form);
        }
        Ok(names)
    }
}

/// What wasm-split's script imports into the modules of a debug build: `__canary_HASH: VALUE,`.
fn canary(script: &str) -> &str {
    let from = script.find("__canary_").unwrap_or(script.len());
    script[from..].split_inclusive(',').next().unwrap_or_default()
}

fn run(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(status.success(), "{} ended with {status}", command.get_program().display());
    Ok(())
}

/// The crate's wasm among the messages that cargo prints, one JSON object a line. Dependencies leave some too.
fn wasm_artifact(messages: &[u8]) -> Option<String> {
    let messages = String::from_utf8_lossy(messages);
    let artifact =
        messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find(
            |message| message["reason"] == "compiler-artifact" && message["target"]["name"] == LIB_NAME,
        )?;
    let mut files = artifact["filenames"].as_array()?.iter().filter_map(|file| file.as_str());
    files.find(|file| file.ends_with(".wasm")).map(str::to_owned)
}

/// The files to serve as they are, by name. The server knows no folder but `pkg`, so there is none.
fn public_files(dir: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).context("cannot read public/")? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() || name == "assets.json" || name == "pkg" {
            bail!("public/{name}: only plain files are served from there, and not under that name");
        }
        let content = fs::read(&path)?;
        files.push((name, content));
    }
    Ok(files)
}

/// Removes the files that are not `kept`, and the folders without any.
fn remove_others(site: &Path, below: &str, kept: &BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(site.join(below))? {
        let entry = entry?;
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if !entry.file_type()?.is_dir() {
            if !kept.contains(&name) {
                fs::remove_file(entry.path())?;
            }
        } else if kept.iter().any(|file| file.starts_with(&format!("{name}/"))) {
            remove_others(site, &format!("{name}/"), kept)?;
        } else {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn print_sizes(site: &Path, names: &BTreeSet<String>) -> Result<()> {
    println!("\n{:<42}{:>10}{:>10}{:>10}", "bytes", "raw", "gzip", "brotli");
    for name in names {
        let size = |suffix: &str| match fs::metadata(site.join(format!("{name}{suffix}"))) {
            Ok(file) => file.len().to_string(),
            Err(_) => "-".into(),
        };
        println!("{name:<42}{:>10}{:>10}{:>10}", size(""), size(".gz"), size(".br"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canary_of_a_debug_build_is_found_in_wasm_splits_script() {
        let script = "{ __wasm_split: { __canary_4c69eee23e0e98c5: ~0xdead, } };\nconst { a, b, } = x;";
        assert_eq!(canary(script), "__canary_4c69eee23e0e98c5: ~0xdead,");
        assert_eq!(canary("{ __wasm_split: {  } };\nconst { a, b, } = x;"), "");
    }

    #[test]
    fn the_crates_wasm_is_found_among_those_of_its_dependencies() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"wasm_streams"},"filenames":["/t/deps/wasm_streams.wasm"]}
{"reason":"compiler-artifact","target":{"name":"twarga_cloud"},"filenames":["/t/twarga_cloud.wasm","/t/libtwarga_cloud.rlib"]}
{"reason":"build-finished","success":true}"#;
        assert_eq!(wasm_artifact(messages.as_bytes()).as_deref(), Some("/t/twarga_cloud.wasm"));
        assert_eq!(wasm_artifact(b"{}"), None);
    }
}
