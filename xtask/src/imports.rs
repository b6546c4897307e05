//! Checks the imports of `src`: no cycle between files, and no import against [`LAYERS`].
//!
//! A file imports another when it names an item that is defined there, in a `use` or in a path. Re-exports are followed
//! to the definition: importing through a `mod.rs` that only re-exports the item is no import of the `mod.rs`, and
//! neither is `mod child;`. Code under `#[cfg(test)]` does not count.
//!
//! Between a module's file and the files in its folder imports are free in both directions: they are one module in
//! several files, which share private items (`impl` blocks of the parent's type, for example). Its children must not
//! import each other in a cycle.

use std::collections::{BTreeMap, BTreeSet};

/// The top-level modules; each may import those before it.
const LAYERS: [&str; 7] = ["model", "asset_urls", "server", "api", "components", "pages", "app"];

/// Imports against [`LAYERS`]: importing file, top-level module, reason.
const EXCEPTIONS: [(&str, &str, &str); 1] = [(
    "server/web/mod.rs",
    "app",
    "The router renders the app: the pages' routes and the document around them.",
)];

type Path = Vec<String>;

/// What one file says, test code left out.
#[derive(Debug, Default)]
struct File {
    defined: BTreeSet<String>,
    /// Name in this file → path as written.
    bindings: BTreeMap<String, Path>,
    globs: Vec<Path>,
    /// All paths as written, without globs.
    paths: Vec<Path>,
    /// Child modules that are compiled only for tests.
    test_modules: Vec<String>,
}

/// Identifiers, `::` and single punctuation characters; comments, strings and lifetimes are left out.
fn tokens(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut i) = (Vec::new(), 0);
    while i < chars.len() {
        let c = at(i);
        if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            while i < chars.len() {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 {
                    break;
                }
            }
        } else if c == '"' {
            i += 1;
            while i < chars.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
        } else if c == '\'' {
            if at(i + 1) == '\\' {
                i += 3;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            } else if at(i + 2) == '\'' {
                i += 3;
            } else {
                i += 1;
                while is_word(at(i)) {
                    i += 1;
                }
            }
        } else if is_word(c) {
            let start = i;
            while is_word(at(i)) {
                i += 1;
            }
            let word: String = chars[start..i].iter().collect();
            let hashes = (i..).take_while(|&j| at(j) == '#').count();
            if matches!(word.as_str(), "r" | "br" | "cr") && at(i + hashes) == '"' {
                i += hashes + 1;
                let closes = |i: usize| at(i) == '"' && (1..=hashes).all(|k| at(i + k) == '#');
                while i < chars.len() && !closes(i) {
                    i += 1;
                }
                i += hashes + 1;
            } else {
                tokens.push(word);
            }
        } else if c == ':' && at(i + 1) == ':' {
            tokens.push("::".into());
            i += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(c.into());
            }
            i += 1;
        }
    }
    tokens
}

/// The index after the bracket that closes the one at `open`.
fn closing(tokens: &[String], open: usize) -> usize {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

/// The index after the item that begins at `start`: after its `;` or its block.
fn item_end(tokens: &[String], start: usize) -> usize {
    let mut i = start;
    let is_use = tokens.get(start).is_some_and(|token| token == "use");
    while i < tokens.len() {
        match tokens[i].as_str() {
            ";" => return i + 1,
            "{" if !is_use => return closing(tokens, i),
            "(" | "[" | "{" => i = closing(tokens, i),
            _ => i += 1,
        }
    }
    i
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn parse(source: &str) -> File {
    let all = tokens(source);
    let mut file = File::default();
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < all.len() {
        if all[i] == "#" && all.get(i + 1).is_some_and(|token| token == "[") {
            let end = closing(&all, i + 1);
            let attribute = &all[i + 2..end - 1];
            let has = |word: &str| attribute.iter().any(|token| token == word);
            i = end;
            if attribute.first().is_some_and(|token| token == "cfg") && has("test") && !has("not") {
                while all.get(i).is_some_and(|token| token == "#") {
                    i = closing(&all, i + 1);
                }
                let end = item_end(&all, i);
                if let Some(module) = all[i..end].iter().position(|token| token == "mod") {
                    file.test_modules.extend(all.get(i + module + 1).cloned());
                }
                i = end;
            }
        } else {
            tokens.push(all[i].clone());
            i += 1;
        }
    }
    let mut depth = 0usize;
    // The depths at which the blocks of inline modules begin: `super` in them is one module less far away.
    let mut inline: Vec<usize> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let next = tokens.get(i + 1).map_or("", String::as_str);
        match tokens[i].as_str() {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last() == Some(&depth) {
                    inline.pop();
                }
            }
            "mod" if tokens.get(i + 2).is_some_and(|token| token == "{") => inline.push(depth),
            "use" => {
                let mut found = Vec::new();
                i = use_tree(&tokens, i + 1, &[], &mut found);
                for (path, name) in found {
                    let Some(path) = leave_inline(path, inline.len()) else { continue };
                    match name {
                        Some(name) => {
                            file.bindings.insert(name, path.clone());
                            file.paths.push(path);
                        }
                        None => file.globs.push(path),
                    }
                }
                continue;
            }
            "fn" | "struct" | "enum" | "trait" | "const" | "static" | "type"
                if depth == 0 && is_name(next) =>
            {
                file.defined.insert(next.to_owned());
            }
            token if is_name(token) && next == "::" && (i == 0 || tokens[i - 1] != "::") => {
                let mut path = vec![token.to_owned()];
                while tokens.get(i + 1).is_some_and(|token| token == "::")
                    && tokens.get(i + 2).is_some_and(|token| is_name(token))
                {
                    path.push(tokens[i + 2].clone());
                    i += 2;
                }
                file.paths.extend(leave_inline(path, inline.len()));
            }
            _ => {}
        }
        i += 1;
    }
    file
}

/// A path in an inline module `depth` deep, as seen from the file; `None` if it stays inside.
fn leave_inline(path: Path, depth: usize) -> Option<Path> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    if depth == 0 || supers == 0 {
        return Some(path);
    }
    (supers >= depth).then(|| [&["self".to_owned()], &path[depth..]].concat())
}

/// Collects the paths of a `use` with the names they get (none for `*`); returns the index after the tree.
fn use_tree(
    tokens: &[String],
    start: usize,
    prefix: &[String],
    found: &mut Vec<(Path, Option<String>)>,
) -> usize {
    let (mut path, mut i) = (prefix.to_vec(), start);
    while i < tokens.len() {
        match tokens[i].as_str() {
            "{" => {
                i += 1;
                while i < tokens.len() && tokens[i] != "}" {
                    i = use_tree(tokens, i, &path, found);
                    if tokens.get(i).is_some_and(|token| token == ",") {
                        i += 1;
                    }
                }
                return i + 1;
            }
            "*" => {
                found.push((path, None));
                return i + 1;
            }
            "as" => {
                found.push((path, tokens.get(i + 1).cloned()));
                return i + 2;
            }
            "::" => i += 1,
            "self" if !path.is_empty() => i += 1,
            token if is_name(token) => {
                path.push(token.to_owned());
                i += 1;
            }
            _ => break,
        }
    }
    let name = path.last().cloned();
    found.push((path, name));
    i
}

/// The files of a crate by their modules; the root is the empty path.
struct Crate {
    files: BTreeMap<Path, File>,
    names: BTreeMap<Path, String>,
}

impl Crate {
    /// `sources`: path below `src` and text of each file.
    fn new(sources: &[(String, String)]) -> Self {
        let module = |name: &str| -> Path {
            let name = name.trim_end_matches(".rs");
            let name = name.strip_suffix("/mod").unwrap_or(name);
            if name == "lib" { Path::new() } else { name.split('/').map(str::to_owned).collect() }
        };
        let of_library = || sources.iter().filter(|(name, _)| name != "main.rs");
        let mut files: BTreeMap<Path, File> =
            of_library().map(|(name, text)| (module(name), parse(text))).collect();
        let tests: Vec<Path> = files
            .iter()
            .flat_map(|(path, file)| {
                file.test_modules.iter().map(|test| [&path[..], std::slice::from_ref(test)].concat())
            })
            .collect();
        files.retain(|path, _| !tests.iter().any(|test| path.starts_with(test)));
        let names = of_library().map(|(name, _)| (module(name), name.clone())).collect();
        Self { files, names }
    }

    /// The path from the crate's root, of one as written in `module`; none when it is another crate's.
    fn absolute(&self, module: &Path, path: &[String], depth: usize) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        let from = |base: &[String], rest: &[String]| Some([base, rest].concat());
        match first.as_str() {
            "crate" => from(&[], rest),
            "self" => from(module, rest),
            "super" => {
                let supers = path.iter().take_while(|segment| *segment == "super").count();
                from(&module[..module.len().checked_sub(supers)?], &path[supers..])
            }
            name => {
                let child = [&module[..], &[name.to_owned()]].concat();
                if self.files.contains_key(&child) {
                    return from(&child, rest);
                }
                let bound = self.files[module].bindings.get(name)?;
                if depth == 0 || bound[..] == path[..1] {
                    return None;
                }
                from(&self.absolute(module, bound, depth - 1)?, rest)
            }
        }
    }

    /// The module in whose file the item of an absolute path is defined; none for a module itself.
    fn definition(&self, path: &[String], depth: usize) -> Option<Path> {
        let known = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        let (module, rest) = (path[..known].to_vec(), &path[known..]);
        let item = rest.first()?;
        let file = &self.files[&module];
        if file.defined.contains(item) || depth == 0 {
            return Some(module);
        }
        if let Some(bound) = file.bindings.get(item) {
            // Another crate's item, passed on.
            let Some(bound) = self.absolute(&module, bound, 8) else { return Some(module) };
            return self.definition(&[&bound[..], &rest[1..]].concat(), depth - 1);
        }
        for glob in &file.globs {
            if let Some(base) = self.absolute(&module, glob, 8)
                && base != module
                && let Some(found) = self.definition(&[&base[..], rest].concat(), depth - 1)
                && self.files[&found].defined.contains(item)
            {
                return Some(found);
            }
        }
        // A macro defines it.
        Some(module)
    }

    /// For each module the modules that its file imports.
    fn imports(&self) -> BTreeMap<&Path, BTreeSet<Path>> {
        let of = |(module, file): (_, &File)| {
            let items =
                file.paths.iter().filter_map(|path| self.definition(&self.absolute(module, path, 8)?, 8));
            // What a glob uses is unknown.
            let globs = file.globs.iter().filter_map(|path| self.absolute(module, path, 8));
            let globs = globs.filter(|path| self.files.contains_key(path));
            let imports: BTreeSet<Path> = items.chain(globs).filter(|target| target != module).collect();
            (module, imports)
        };
        self.files.iter().map(of).collect()
    }

    /// The imports that are part of a cycle, a line for each.
    fn cycles(&self) -> Vec<String> {
        let imports = self.imports();
        let is_family = |one: &Path, other: &Path| one.starts_with(other) || other.starts_with(one);
        let reaches = |from: &Path, to: &Path| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
            while let Some(module) = open.pop() {
                if module == to {
                    return true;
                }
                if seen.insert(module) {
                    open.extend(imports[module].iter().filter(|target| !is_family(module, target)));
                }
            }
            false
        };
        let edges = imports.iter().flat_map(|(from, targets)| targets.iter().map(move |to| (*from, to)));
        edges
            .filter(|(from, to)| !is_family(from, to) && reaches(to, from))
            .map(|(from, to)| format!("{} imports {}", self.names[from], self.names[to]))
            .collect()
    }

    /// The imports against [`LAYERS`], and the modules that have no layer, a line for each.
    fn against_layers(&self, exceptions: &[(&str, &str, &str)]) -> Vec<String> {
        let layer = |module: &Path| LAYERS.iter().position(|layer| *layer == module[0]);
        let mut wrong = Vec::new();
        for (from, targets) in self.imports() {
            if from.is_empty() {
                continue;
            }
            let Some(own) = layer(from) else {
                wrong.push(format!("{} is in no layer", self.names[from]));
                continue;
            };
            for to in targets.iter().filter(|to| !to.is_empty()) {
                let name = &self.names[from];
                let is_exception = exceptions.iter().any(|(file, top, _)| file == name && *top == to[0]);
                if layer(to).is_some_and(|other| other > own) && !is_exception {
                    wrong.push(format!("{name} imports {}", self.names[to]));
                }
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path as FilePath};

    fn sources_below(folder: &FilePath, root: &FilePath, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources_below(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }

    fn project() -> Crate {
        let root = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../src");
        let mut sources = Vec::new();
        sources_below(&root, &root, &mut sources);
        Crate::new(&sources)
    }

    fn of(sources: &[(&str, &str)]) -> Crate {
        Crate::new(&sources.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect::<Vec<_>>())
    }

    fn joined(source: &str) -> Vec<String> {
        parse(source).paths.iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn no_files_import_each_other_in_a_cycle() {
        let cycles = project().cycles();
        assert!(cycles.is_empty(), "import cycles:\n{}", cycles.join("\n"));
    }

    #[test]
    fn no_file_imports_a_higher_layer() {
        let wrong = project().against_layers(&EXCEPTIONS);
        assert!(wrong.is_empty(), "imports against the layers:\n{}", wrong.join("\n"));
    }

    #[test]
    fn every_exception_is_needed() {
        for (i, exception) in EXCEPTIONS.iter().enumerate() {
            let others: Vec<_> =
                EXCEPTIONS.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, e)| *e).collect();
            assert!(!project().against_layers(&others).is_empty(), "{exception:?} is not needed");
        }
    }

    #[test]
    fn the_scan_sees_the_project() {
        let project = project();
        let imports = project.imports();
        let path = |text: &str| text.split("::").map(str::to_owned).collect::<Path>();
        assert!(imports.len() > 150);
        assert!(imports[&path("app")].contains(&path("components::app_layout")));
        assert!(imports[&path("api::vms")].contains(&path("model::vm")));
    }

    #[test]
    fn nested_uses_are_split_into_paths() {
        assert_eq!(
            joined("use crate::{a::{b, c as d, self}, e}; pub(crate) use super::f;"),
            ["crate::a::b", "crate::a::c", "crate::a", "crate::e", "super::f"]
        );
        assert_eq!(parse("use crate::a::*;").globs, [["crate", "a"]]);
        assert_eq!(parse("use super::a::b as c;").bindings["c"], ["super", "a", "b"]);
    }

    #[test]
    fn paths_in_code_count_and_text_does_not() {
        let source = r##"
            /// crate::no
            fn f<'a>(x: &'a str) { crate::a::b(); let _ = ("crate::no", r#"crate::"no"#, '"', '\''); super::c::d() }
            /* crate::no /* crate::no */ crate::no */
        "##;
        assert_eq!(joined(source), ["crate::a::b", "super::c::d"]);
    }

    #[test]
    fn test_code_is_left_out() {
        let source =
            "#[cfg(test)] mod tests { use crate::a::b; } #[cfg(all(test, feature = \"x\"))] use crate::c;
            #[cfg(test)] #[path = \"x.rs\"] mod fake; #[cfg(not(test))] use crate::d;";
        assert_eq!(joined(source), ["crate::d"]);
        assert_eq!(parse(source).test_modules, ["tests", "fake"]);
    }

    #[test]
    fn super_in_an_inline_module_is_the_file() {
        assert_eq!(
            joined("mod inner { use super::a; use super::super::b; } use super::c;"),
            ["self::a", "self::super::b", "super::c"]
        );
    }

    #[test]
    fn a_cycle_is_found_through_a_re_export() {
        let cyclic = of(&[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod one; pub use one::One;"),
            ("a/one.rs", "use crate::b; pub struct One; fn f() { b::two() }"),
            ("b.rs", "use crate::a::One; pub fn two() {}"),
        ]);
        assert_eq!(cyclic.cycles(), ["a/one.rs imports b.rs", "b.rs imports a/one.rs"]);
    }

    #[test]
    fn a_parent_and_its_children_are_one_module_but_siblings_are_not() {
        let shared = [
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod one; mod two; pub use one::One; pub use two::*; pub struct Base;"),
            ("a/two.rs", "use super::One; pub struct Two;"),
        ];
        let one = |source| of(&[&shared[..], &[("a/one.rs", source)]].concat()).cycles();
        assert!(one("use super::Base; pub struct One;").is_empty());
        let cycle = ["a/one.rs imports a/two.rs", "a/two.rs imports a/one.rs"];
        assert_eq!(one("use super::{Base, Two}; pub struct One;"), cycle);
    }

    #[test]
    fn an_import_of_a_higher_layer_is_found() {
        let wrong = of(&[
            ("lib.rs", "mod model; mod pages; mod other;"),
            ("model.rs", "use crate::pages::Page; pub struct Model;"),
            ("pages.rs", "use crate::model::Model; pub struct Page;"),
            ("other.rs", ""),
        ]);
        assert_eq!(wrong.against_layers(&[]), ["model.rs imports pages.rs", "other.rs is in no layer"]);
        assert_eq!(wrong.against_layers(&[("model.rs", "pages", "")]), ["other.rs is in no layer"]);
    }
}
