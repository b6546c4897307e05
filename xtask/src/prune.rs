//! Takes out of the wasm what is linked into it, since tables of functions name it, but never called here: the ways in
//! which Leptos would take a page over piece by piece, build elements of a template, and put attributes on a component
//! from outside. They come with every piece of every page and are a tenth of all code.
//!
//! A function that is pruned keeps its place and ends the program; what only it has called is then dropped with the rest
//! that nothing calls. The wasm has to have its names and relocations (`--emit-relocs`).

use anyhow::{Context, Result, bail, ensure};
use std::ops::Range;
use wasmparser::{BinaryReader, KnownCustom, Name, Parser, Payload, RelocSectionReader};

/// What the names of functions that are never called hold, mangled as rustc does it: each identifier behind its length.
const NEVER_CALLED: [&str; 4] = [
    // `hydrate_body` takes over the whole page at once; only `hydrate_lazy` does it so.
    "8into_any13hydrate_async",
    // Of `attr:…` and `{..}` on components; `refuse_attributes` sees to it that there are none.
    "8any_view8elements",
    "13into_any_attr5clone",
    // Of `leptos::template!`, which is not used.
    "22hydrate_from_template",
];

const UNREACHABLE: u8 = 0x00;
const NOP: u8 = 0x01;
const END: u8 = 0x0b;

/// The same wasm with the functions of [`NEVER_CALLED`] made empty; how many those are.
pub fn prune(wasm: &[u8]) -> Result<(Vec<u8>, usize)> {
    let mut imported = 0_u32;
    let mut bodies: Vec<Range<usize>> = Vec::new();
    let mut code = None;
    let mut pruned_indices = Vec::new();
    let mut relocations = None;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += u32::from(matches!(import?.ty, wasmparser::TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionStart { range, .. } => code = Some(range),
            Payload::CodeSectionEntry(body) => bodies.push(body.range()),
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::Name(names) => {
                    for subsection in names {
                        if let Name::Function(functions) = subsection? {
                            for naming in functions {
                                let naming = naming?;
                                if NEVER_CALLED.iter().any(|name| naming.name.contains(name)) {
                                    pruned_indices.push(naming.index);
                                }
                            }
                        }
                    }
                }
                KnownCustom::Reloc(_) if section.name() == "reloc.CODE" => {
                    relocations = Some(section.data_offset()..section.data_offset() + section.data().len());
                }
                _ => {}
            },
            _ => {}
        }
    }
    let code = code.context("the wasm has no code")?;
    let relocations = relocations.context("the wasm has no relocations: is --emit-relocs set?")?;
    let pruned: Vec<Range<usize>> = pruned_indices
        .iter()
        .filter_map(|index| bodies.get(index.checked_sub(imported)? as usize).cloned())
        .filter(|body| body.len() >= 3)
        .collect();

    let mut output = wasm.to_vec();
    for body in &pruned {
        let (begin, end) = (body.start, body.end - 1);
        output[begin] = 0; // no locals
        output[begin + 1] = UNREACHABLE;
        output[begin + 2..end].fill(NOP);
        output[end] = END;
    }
    let kept = relocations_outside(&wasm[relocations.clone()], relocations.start, code.start, &pruned)?;
    let output = with_custom_section(&output, "reloc.CODE", &kept)?;
    Ok((output, pruned.len()))
}

/// The content of a `reloc.CODE` section without what lies in `pruned`. Offsets in it count from `code_start`.
fn relocations_outside(
    content: &[u8],
    offset: usize,
    code_start: usize,
    pruned: &[Range<usize>],
) -> Result<Vec<u8>> {
    let mut sorted = pruned.to_vec();
    sorted.sort_by_key(|body| body.start);
    let is_pruned = |at: usize| {
        let next = sorted.partition_point(|body| body.start <= at);
        next > 0 && sorted[next - 1].contains(&at)
    };
    let section = RelocSectionReader::new(BinaryReader::new(content, offset))?;
    let target = section.section_index();
    let mut entries = Vec::new();
    let mut count = 0_u32;
    let mut begin = None;
    let mut push = |range: Range<usize>, at: usize| {
        if !is_pruned(code_start + at) {
            entries.extend_from_slice(&content[range.start - offset..range.end - offset]);
            count += 1;
        }
    };
    let mut before = None;
    for entry in section.entries().into_iter_with_offsets() {
        let (position, entry) = entry?;
        if let (Some(begin), Some(at)) = (begin, before) {
            push(begin..position, at);
        }
        begin = Some(position);
        before = Some(entry.offset as usize);
    }
    if let (Some(begin), Some(at)) = (begin, before) {
        push(begin..offset + content.len(), at);
    }
    let mut kept = Vec::with_capacity(entries.len() + 10);
    push_leb128(&mut kept, target);
    push_leb128(&mut kept, count);
    kept.extend(entries);
    Ok(kept)
}

/// The same module with another content of one of its custom sections.
fn with_custom_section(wasm: &[u8], name: &str, content: &[u8]) -> Result<Vec<u8>> {
    const HEADER_BYTES: usize = 8;
    let mut output = wasm[..HEADER_BYTES].to_vec();
    let mut found = false;
    let mut at = HEADER_BYTES;
    while at < wasm.len() {
        let mut reader = BinaryReader::new(&wasm[at..], at);
        let id = reader.read_u8()?;
        let size = reader.read_var_u32()? as usize;
        let begin = reader.original_position();
        ensure!(begin + size <= wasm.len(), "a section is longer than the wasm");
        let section = &wasm[begin..begin + size];
        let mut reader = BinaryReader::new(section, begin);
        if id == 0 && reader.read_string()? == name {
            found = true;
            let mut whole = Vec::with_capacity(content.len() + name.len() + 5);
            push_leb128(&mut whole, u32::try_from(name.len())?);
            whole.extend_from_slice(name.as_bytes());
            whole.extend_from_slice(content);
            output.push(0);
            push_leb128(&mut output, u32::try_from(whole.len())?);
            output.extend(whole);
        } else {
            output.extend_from_slice(&wasm[at..begin + size]);
        }
        at = begin + size;
    }
    ensure!(found, "the wasm has no section {name}");
    Ok(output)
}

fn push_leb128(bytes: &mut Vec<u8>, mut number: u32) {
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Pruned functions help to put attributes on components, so a page that asks for that would end at once.
///
/// # Errors
/// Where a source file (its name and text) does.
pub fn refuse_attributes<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>) -> Result<()> {
    for (name, text) in sources {
        if let Some(line) = text.lines().position(|line| line.contains("attr:") || line.contains("{..")) {
            bail!(
                "{name}:{}: attributes from outside (`attr:`, `{{..}}`) are pruned from the wasm; give the component a property",
                line + 1
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_leb128() {
        let mut bytes = Vec::new();
        for number in [0, 127, 128, 624_485] {
            push_leb128(&mut bytes, number);
        }
        assert_eq!(bytes, [0, 0x7f, 0x80, 0x01, 0xe5, 0x8e, 0x26]);
    }

    #[test]
    fn a_relocation_within_what_is_pruned_goes_and_the_others_stay() {
        // of section 3: two calls (type 0) at offsets 5 and 20, symbols 1 and 2
        let content = [3, 2, 0, 5, 1, 0, 20, 2];
        let kept = relocations_outside(&content, 100, 1000, std::slice::from_ref(&(1004..1010))).unwrap();
        assert_eq!(kept, [3, 1, 0, 20, 2]);
    }

    #[test]
    fn a_custom_section_is_exchanged_and_all_else_stays() {
        let module = [b"\0asm\x01\0\0\0".as_slice(), &[0, 3, 1, b'a', 9], &[0, 3, 1, b'b', 7]].concat();
        let exchanged = with_custom_section(&module, "b", &[1, 2]).unwrap();
        let expected = [b"\0asm\x01\0\0\0".as_slice(), &[0, 3, 1, b'a', 9], &[0, 4, 1, b'b', 1, 2]].concat();
        assert_eq!(exchanged, expected);
        assert!(with_custom_section(&module, "c", &[]).is_err());
    }

    #[test]
    fn attributes_from_outside_are_refused() {
        assert!(refuse_attributes([("a.rs", "<A attr:class=\"x\"/>")].into_iter()).is_err());
        assert!(refuse_attributes([("a.rs", "<a class=\"x\"/>")].into_iter()).is_ok());
    }
}
