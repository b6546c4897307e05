//! Builds `target/site`, all that the browser loads:
//!
//! ```text
//! target/site/assets.json                      the names below, by kind; written last
//! target/site/pkg/twarga-cloud.<hash>.wasm     of the crate with the feature `hydrate` what every page needs
//! target/site/pkg/<part>.<hash>.pack           the rest of it, by the parts of `src/pages/mod.rs`: all modules that one needs
//! target/site/pkg/twarga-cloud.<hash>.js       what starts it, and fetches the parts
//! target/site/pkg/twarga-cloud.<hash>.css      style/main.css with its imports
//! target/site/pkg/echarts.<hash>.js            assets/echarts.js with the parts of ECharts it names
//! target/site/*                                public/*
//! ```
//!
//! A name in `pkg` changes with its content, so that browsers may keep it for ever. A running debug server always
//! finds a whole site: files are replaced by renaming, and old names go only after `assets.json` names the new ones.
//! The release mode lays `.br` and `.gz` beside what is worth compressing.

use crate::{
    cache::Cache,
    files::{compressed, hashed_name, replace},
    prune,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

const NAME: &str = "twarga-cloud";
const LIB_NAME: &str = "twarga_cloud";

/// The most that a first load may bring, kB in brotli: the wasm of the page that needs the most of it, the pages' script,
/// and ECharts.
const WASM_CEILING_KB: f64 = 350.0;
const JS_CEILING_KB: f64 = 30.0;
const ECHARTS_CEILING_KB: f64 = 160.0;

#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    Debug,
    Release,
}

/// An asset before it has its final name.
struct Asset {
    kind: Kind,
    name: String,
    content: Vec<u8>,
}

/// Where an asset's address stands in `assets.json`.
enum Kind {
    /// By this key.
    One(&'static str),
    /// Among those of the wasm's parts, by the part's name.
    Part(String),
}

/// What lies in the site; paths relative to it.
#[derive(Default)]
struct Written {
    /// All files, without their compressed forms.
    names: BTreeSet<String>,
    kinds: BTreeMap<&'static str, String>,
    parts: BTreeMap<String, String>,
}

/// The crate's wasm, taken apart.
struct Split {
    main: Vec<u8>,
    /// What is beside it, by name.
    modules: BTreeMap<String, Vec<u8>>,
    /// Which of `modules` a part is made of.
    parts: BTreeMap<String, Vec<String>>,
    /// The script that fetches each of them from a file of its own.
    link_js: String,
}

impl Split {
    /// For each part all its modules in one file, as `assets/parts.js` reads it.
    fn packs(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let pack = |(part, names): (&String, &Vec<String>)| {
            let modules = names.iter().map(|name| Some((name, self.modules.get(name)?)));
            let modules = modules.collect::<Option<Vec<_>>>().context("a part's module is missing")?;
            let list = modules.iter().map(|(name, wasm)| (name, wasm.len())).collect::<Vec<_>>();
            let list = serde_json::to_vec(&list)?;
            let mut pack = u32::try_from(list.len())?.to_le_bytes().to_vec();
            pack.extend(list);
            modules.iter().for_each(|(_, wasm)| pack.extend_from_slice(wasm));
            Ok((part.clone(), pack))
        };
        self.parts.iter().map(pack).collect()
    }
}

/// The script and the wasm with other names of what the one gives and the other takes as `module`: wasm-bindgen's hold a
/// hash each, which no compression makes small.
///
/// # Errors
/// Where the script does not name what the wasm takes as it did when this was written.
fn with_short_imports(js: &str, wasm: &[u8], module: &str) -> Result<(String, Vec<u8>)> {
    let mut wasm = walrus::Module::from_buffer(wasm)?;
    let mut short = BTreeMap::new();
    for import in wasm.imports.iter_mut().filter(|import| import.module == module) {
        let name = format!("i{}", short.len());
        short.insert(std::mem::replace(&mut import.name, name.clone()), name);
    }
    let mut given = 0;
    let lines = js.lines().map(|line| {
        let named = line.trim_start().split_once(": ");
        match named.and_then(|(name, value)| Some((short.get(name)?, value))) {
            Some((name, value)) => {
                given += 1;
                format!("{name}: {value}\n")
            }
            None => format!("{line}\n"),
        }
    });
    let js = lines.collect();
    ensure!(
        given == short.len() && given > 0,
        "the script gives {given} of the {} that the wasm takes",
        short.len()
    );
    Ok((js, wasm.emit_wasm()))
}

/// The module that is a part's own.
fn own_module(part: &str) -> String {
    format!("split_{part}")
}

fn pack_name(part: &str) -> String {
    format!("{part}.pack")
}

pub fn build(mode: Mode) -> Result<()> {
    let build = Build::new(mode)?;
    let wasm = timed("wasm", || build.wasm())?;
    let wasm = timed("prune", || build.prune(&wasm))?;
    let mut split = timed("split", || build.split(&wasm))?;
    let (js, wasm) = timed("wasm-bindgen", || build.bindings(&split.main))?;
    split.main = wasm;
    if mode == Mode::Release {
        timed("wasm-opt", || build.optimise(&mut split))?;
    }
    let packs = split.packs()?;
    let js = timed("script", || build.script(&js, &split, &packs))?;
    let css = timed("styles", || build.styles())?;
    let echarts = timed("echarts", || build.echarts())?;
    build.write_for_cargo_leptos(&css, &echarts)?;
    let mut assets = vec![
        Asset { kind: Kind::One("css"), name: format!("{NAME}.css"), content: css },
        Asset { kind: Kind::One("js"), name: format!("{NAME}.js"), content: js },
        Asset { kind: Kind::One("wasm"), name: format!("{NAME}.wasm"), content: split.main },
        Asset { kind: Kind::One("echarts"), name: "echarts.js".into(), content: echarts },
    ];
    assets.extend(packs.into_iter().map(|(part, content)| Asset {
        name: pack_name(&part),
        kind: Kind::Part(part),
        content,
    }));
    let written = timed("write", || build.write(assets))?;
    if mode == Mode::Release {
        print_sizes(&build.site, &written.names)?;
        build.note_sizes(&written)?;
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
    cache: Cache,
    /// Stands for the versions of every npm tool in a cache key.
    package_lock: Vec<u8>,
    /// How modules are made small; part of a cache key, too.
    optimise_js: Vec<u8>,
}

impl Build {
    fn new(mode: Mode) -> Result<Build> {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the project")?.to_owned();
        let work = root.join("target/site-work");
        fs::create_dir_all(&work)?;
        Ok(Build {
            mode,
            site: root.join("target/site"),
            cache: Cache::open(root.join("target/site-cache"))?,
            optimise_js: fs::read(root.join("xtask/optimise.mjs"))
                .context("cannot read xtask/optimise.mjs")?,
            package_lock: fs::read(root.join("package-lock.json"))
                .context("cannot read package-lock.json")?,
            work,
            root,
        })
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

    fn prune(&self, wasm: &[u8]) -> Result<Vec<u8>> {
        let mut sources = Vec::new();
        for folder in ["src/pages", "src/components"] {
            read_sources(&self.root.join(folder), &mut sources)?;
        }
        prune::refuse_attributes(sources.iter().map(|(name, text)| (name.as_str(), text.as_str())))?;
        let (wasm, functions) = prune::prune(wasm)?;
        ensure!(functions > 0, "nothing was pruned: rustc names functions otherwise now");
        Ok(wasm)
    }

    /// Takes the wasm apart at the functions that are marked so (`#[wasm_split]`).
    fn split(&self, wasm: &[u8]) -> Result<Split> {
        let dir = self.work.join("split");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        let main = dir.join("main.wasm");
        let main_module = format!("./{NAME}.js");
        let mut options = wasm_split_cli_support::Options::new(wasm);
        options.output_dir = &dir;
        options.main_out_path = &main;
        options.main_module = &main_module;
        let link = dir.join(options.link_name);
        let told = wasm_split_cli_support::transform(options).map_err(|error| anyhow!("{error:?}"))?;
        let mut modules = BTreeMap::new();
        for path in &told.split_modules {
            let name = path.file_stem().context("a file has a name")?.to_string_lossy().into_owned();
            modules.insert(name, fs::read(path)?);
        }
        let parts = told.prefetch_map.into_iter().collect();
        Ok(Split { main: fs::read(main)?, modules, parts, link_js: fs::read_to_string(link)? })
    }

    /// The script that starts the wasm, and the wasm fitted to it, with the names that they share made short.
    fn bindings(&self, wasm: &[u8]) -> Result<(PathBuf, Vec<u8>)> {
        let dir = self.work.join("bindgen");
        let release = self.mode == Mode::Release;
        wasm_bindgen_cli_support::Bindgen::new()
            .input_bytes(NAME, wasm.to_owned())
            .web(true)?
            .typescript(false)
            // The parts use the table of functions.
            .keep_lld_exports(true)
            // The page passes the wasm's address: the script cannot know the hash in its name.
            .omit_default_module_path(true)
            .remove_name_section(release)
            .remove_producers_section(release)
            .generate(&dir)?;
        let js = dir.join(format!("{NAME}.js"));
        let (script, wasm) = with_short_imports(
            &fs::read_to_string(&js)?,
            &fs::read(dir.join(format!("{NAME}_bg.wasm")))?,
            &format!("./{NAME}_bg.js"),
        )?;
        fs::write(&js, script)?;
        Ok((js, wasm))
    }

    /// All scripts in one, so that what fetches the parts and what crates bring along (`snippets/`) share the hash in its
    /// name.
    fn script(&self, start_js: &Path, split: &Split, packs: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>> {
        let files = packs
            .iter()
            .map(|(part, pack)| (own_module(part), format!("./{}", hashed_name(&pack_name(part), pack))));
        let files = serde_json::to_string(&files.collect::<BTreeMap<_, _>>())?;
        let mut link_js = split.link_js.clone();
        let mut exchange = |of_library: &str, own: &str| {
            ensure!(link_js.contains(of_library), "the script that fetches the parts has no {of_library}");
            link_js = link_js.replace(of_library, own);
            Ok(())
        };
        for name in split.modules.keys() {
            exchange(
                &format!(r#"fetch(new URL("./{name}.wasm", import.meta.url))"#),
                &format!(r#"moduleOf("{name}")"#),
            )?;
        }
        exchange(
            "WebAssembly.instantiateStreaming(src, imports)",
            "src.then((code) => WebAssembly.instantiate(code, imports))",
        )?;
        let parts_js = serde_json::to_string(&self.root.join("assets/parts.js"))?;
        let link_js = format!(
            "import {{ modulesFrom }} from {parts_js};\nconst moduleOf = modulesFrom({files});\n{link_js}"
        );
        fs::write(start_js.with_file_name("__wasm_split.js"), link_js)?;
        // wasm-bindgen names the module that fetches once for each part.
        let options = ["--format=esm", "--target=es2022", "--log-override:duplicate-object-key=silent"];
        self.esbuild(start_js, &options)
    }

    /// The one of every page and the others at the same time.
    fn optimise(&self, split: &mut Split) -> Result<()> {
        let others = split.modules.iter_mut().map(|(name, wasm)| (name.as_str(), wasm)).collect();
        thread::scope(|scope| {
            let main = scope.spawn(|| self.optimise_all(vec![("main", &mut split.main)]));
            self.optimise_all(others)?;
            main.join().map_err(|_| anyhow!("a thread ended early"))?
        })
    }

    fn optimise_all(&self, modules: Vec<(&str, &mut Vec<u8>)>) -> Result<()> {
        let step = |name: &str| format!("wasm-opt-{name}");
        let mut waiting = Vec::new();
        for (name, wasm) in modules {
            match self.cache.find(&step(name), &[wasm, &self.package_lock, &self.optimise_js]) {
                Some(optimised) => *wasm = optimised,
                None => waiting.push((name, wasm)),
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let paths = |name: &str| ["input", "output"].map(|end| self.work.join(format!("{name}.{end}.wasm")));
        let mut node = Command::new("node");
        node.current_dir(&self.root).arg("xtask/optimise.mjs");
        for (name, wasm) in &waiting {
            let [input, output] = paths(name);
            fs::write(&input, wasm)?;
            node.arg(input).arg(output);
        }
        run(&mut node)?;
        for (name, wasm) in waiting {
            let [input, output] = paths(name);
            let optimised = fs::read(&output)?;
            self.cache.keep(&step(name), &[wasm, &self.package_lock, &self.optimise_js], &optimised)?;
            *wasm = optimised;
            fs::remove_file(input).and_then(|()| fs::remove_file(output))?;
        }
        Ok(())
    }

    fn styles(&self) -> Result<Vec<u8>> {
        // What `url("/…")` names is served from public/, not bundled.
        let served = ["--external:*.svg", "--external:*.png", "--external:*.woff2"];
        self.esbuild(&self.root.join("style/main.css"), &served)
    }

    fn echarts(&self) -> Result<Vec<u8>> {
        let entry = self.root.join("assets/echarts.js");
        let inputs: [&[u8]; 2] =
            [&fs::read(&entry).context("cannot read assets/echarts.js")?, &self.package_lock];
        // Minified in both modes: nobody debugs it here, and it loads with every page.
        let options = ["--format=iife", "--global-name=echarts", "--minify", "--legal-comments=eof"];
        self.cache.output("echarts", &inputs, || self.esbuild(&entry, &options))
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

    /// Lays everything in its place and removes what an earlier build left.
    fn write(&self, assets: Vec<Asset>) -> Result<Written> {
        fs::create_dir_all(self.site.join("pkg"))?;
        let mut written = Written::default();
        let mut kept = BTreeSet::from(["assets.json".to_owned()]);
        let mut manifest = serde_json::Map::new();
        let mut parts = serde_json::Map::new();
        for asset in assets {
            let path = format!("pkg/{}", hashed_name(&asset.name, &asset.content));
            kept.extend(self.write_one(&path, &asset.content)?);
            written.names.insert(path.clone());
            let address = format!("/{path}").into();
            match asset.kind {
                Kind::One(kind) => {
                    manifest.insert(kind.into(), address);
                    written.kinds.insert(kind, path);
                }
                Kind::Part(part) => {
                    parts.insert(part.clone(), address);
                    written.parts.insert(part, path);
                }
            }
        }
        manifest.insert("parts".into(), parts.into());
        for (name, content) in public_files(&self.root.join("public"))? {
            kept.extend(self.write_one(&name, &content)?);
            written.names.insert(name);
        }
        let manifest = serde_json::to_string_pretty(&manifest)? + "\n";
        replace(&self.site.join("assets.json"), manifest.as_bytes())?;
        remove_others(&self.site, "", &kept)?;
        Ok(written)
    }

    /// Adds what a first load brings, compressed, to `target/bench.json`; an error where it is over its ceiling.
    fn note_sizes(&self, written: &Written) -> Result<()> {
        let file = self.root.join("target/bench.json");
        let known = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut figures: serde_json::Map<String, serde_json::Value> = known.unwrap_or_default();
        let brotli_kb = |path: &String| -> Result<f64> {
            // What is too small to be compressed is sent as it is.
            let compressed = self.site.join(format!("{path}.br"));
            let file = if compressed.exists() { compressed } else { self.site.join(path) };
            Ok(fs::metadata(file)?.len() as f64 / 1024.0)
        };
        let of_kind = |kind: &str| brotli_kb(written.kinds.get(kind).with_context(|| format!("no {kind}"))?);
        let main_kb = of_kind("wasm")?;
        let mut largest_kb = main_kb;
        println!("\nwasm in brotli: {main_kb:.1} kB for every page");
        for (part, path) in &written.parts {
            let part_kb = brotli_kb(path)?;
            println!("  and {part_kb:.1} for \"{part}\", together {:.1}", main_kb + part_kb);
            largest_kb = largest_kb.max(main_kb + part_kb);
        }
        let mut over = Vec::new();
        for (figure, kb, ceiling_kb) in [
            ("wasm_brotli_kb", largest_kb, WASM_CEILING_KB),
            ("js_kb", of_kind("js")?, JS_CEILING_KB),
            ("echarts_brotli_kb", of_kind("echarts")?, ECHARTS_CEILING_KB),
        ] {
            let kb = (kb * 100.0).round() / 100.0;
            if kb > ceiling_kb {
                over.push(format!("{figure} is {kb} kB, above its ceiling of {ceiling_kb} kB"));
            }
            figures.insert(figure.into(), serde_json::json!({ "value": kb, "unit": "kB" }));
        }
        replace(&file, &serde_json::to_vec_pretty(&figures)?)?;
        ensure!(over.is_empty(), "{}", over.join("; "));
        Ok(())
    }

    /// What cargo-leptos cannot make itself: the style sheet with its imports, and scripts of their own among
    /// the public files.
    /// `[package.metadata.leptos]` points here.
    fn write_for_cargo_leptos(&self, css: &[u8], echarts: &[u8]) -> Result<()> {
        let folder = self.root.join("target/cargo-leptos");
        fs::create_dir_all(folder.join("public"))?;
        replace(&folder.join("main.css"), css)?;
        replace(&folder.join("public/echarts.js"), echarts)?;
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
        // A hashed name stands for its content, so what lies beside it is right.
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

/// All Rust files below a folder, each with its text.
fn read_sources(folder: &Path, sources: &mut Vec<(String, String)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_sources(&path, sources)?;
        } else {
            sources.push((path.display().to_string(), fs::read_to_string(&path)?));
        }
    }
    Ok(())
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

fn remove_others(site: &Path, below: &str, kept: &BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(site.join(below))? {
        let entry = entry?;
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if name == "pkg" {
            remove_others(site, "pkg/", kept)?;
        } else if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if !kept.contains(&name) {
            fs::remove_file(entry.path())?;
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
    fn what_the_script_gives_and_the_wasm_takes_gets_one_short_name() {
        let mut module = walrus::Module::default();
        let of_nothing = module.types.add(&[], &[]);
        module.add_import_func("./page_bg.js", "__wbg_now_0123456789abcdef", of_nothing);
        module.add_import_func("./other.js", "__wbg_now_0123456789abcdef", of_nothing);
        let wasm = module.emit_wasm();
        let js = "const import0 = {\n    __wbg_now_0123456789abcdef: function() {\n    },\n};";
        let (js, wasm) = with_short_imports(js, &wasm, "./page_bg.js").unwrap();
        assert_eq!(js, "const import0 = {\ni0: function() {\n    },\n};\n");
        let wasm = walrus::Module::from_buffer(&wasm).unwrap();
        let names: Vec<_> = wasm.imports.iter().map(|import| import.name.as_str()).collect();
        assert_eq!(names, ["i0", "__wbg_now_0123456789abcdef"]);
        assert!(with_short_imports("", &module.emit_wasm(), "./page_bg.js").is_err());
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
