//! Reads a line of `vagrant … --machine-readable`.
//!
//! ```text
//! 1795396876,default,ui,info,==> default: Starting domain.
//! seconds,target,kind,data…
//! ```
//! A comma inside a field is written `%!(VAGRANT_COMMA)`, a line break `\n`, a carriage return `\r`. A backslash
//! is not escaped, so a text that really contains `\n` is read as a line break.
//!
//! Pure. Whatever a line holds, it is either a [`Record`] or `None`.

const COMMA: &str = "%!(VAGRANT_COMMA)";

/// One line's content, unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Seconds since 1970.
    pub at_secs: i64,
    /// The machine the line is about; empty when it is about none.
    pub target: String,
    /// `ui`, `error-exit`, `state`, `action`, …
    pub kind: String,
    pub data: Vec<String>,
}

impl Record {
    /// Reads `line`; `None` when it is not of this format: Ruby's warnings and backtraces come in between.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(',');
        let at_secs = fields.next()?.parse().ok()?;
        let target = unescaped(fields.next()?);
        let kind = unescaped(fields.next()?);
        (!kind.is_empty()).then(|| Self { at_secs, target, kind, data: fields.map(unescaped).collect() })
    }

    /// The text shown on the terminal, with its level (`info`, `warn`, `error`, …).
    pub fn ui(&self) -> Option<(&str, &str)> {
        match (self.kind.as_str(), self.data.as_slice()) {
            ("ui", [level, text, ..]) => Some((level, text)),
            _ => None,
        }
    }

    /// Class and text of the error that Vagrant ended with.
    pub fn error_exit(&self) -> Option<(&str, &str)> {
        match (self.kind.as_str(), self.data.as_slice()) {
            ("error-exit", [class, text, ..]) => Some((class, text)),
            ("error-exit", [class]) => Some((class, "")),
            _ => None,
        }
    }

    /// A part of an OpenSSH configuration: how to reach the machine.
    pub fn ssh_config(&self) -> Option<&str> {
        match (self.kind.as_str(), self.data.as_slice()) {
            ("ssh-config", [text, ..]) => Some(text),
            _ => None,
        }
    }
}

/// The lines of a `ui` text as a page shows them: without the mark in front that only says which machine it is
/// about (there is one in a folder), without blank lines.
pub fn shown_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let line = line.trim();
        let marked = line.strip_prefix("==> ").unwrap_or(line);
        let own = marked.strip_prefix("default: ").unwrap_or(marked).trim();
        (!own.is_empty() && own != "default:").then_some(own)
    })
}

fn unescaped(field: &str) -> String {
    field.replace(COMMA, ",").replace("\\n", "\n").replace("\\r", "\r")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What Vagrant does to a field before it prints it.
    fn escaped(field: &str) -> String {
        field.replace(',', COMMA).replace('\n', "\\n").replace('\r', "\\r")
    }

    #[test]
    fn a_user_visible_line_is_read() {
        let record = Record::parse("1795396876,default,ui,info,==> default: Starting domain.").unwrap();
        assert_eq!(record.at_secs, 1_795_396_876);
        assert_eq!(record.target, "default");
        assert_eq!(record.ui(), Some(("info", "==> default: Starting domain.")));
        assert_eq!(record.error_exit(), None);
    }

    #[test]
    fn the_last_words_carry_class_and_text() {
        let line =
            "1795396876,,error-exit,Vagrant::Errors::VMBootTimeout,Timed out%!(VAGRANT_COMMA) sorry.\\nBye";
        let record = Record::parse(line).unwrap();
        assert_eq!(record.error_exit(), Some(("Vagrant::Errors::VMBootTimeout", "Timed out, sorry.\nBye")));
    }

    #[test]
    fn what_ruby_prints_in_between_is_not_a_record() {
        for line in
            ["", "/usr/lib/ruby/x.rb:1: warning: a, b, c", "12", "12,default", "12,default,", "x,,ui,info,y"]
        {
            assert_eq!(Record::parse(line), None, "{line}");
        }
    }

    #[test]
    fn shown_lines_keep_the_words_and_drop_the_mark() {
        let text = "==> default: Creating domain with the following settings...\n\n==> default:  -- Name: x\n    default: SSH address: 192.168.121.5:22";
        let shown: Vec<_> = shown_lines(text).collect();
        assert_eq!(
            shown,
            ["Creating domain with the following settings...", "-- Name: x", "SSH address: 192.168.121.5:22"]
        );
    }

    #[test]
    #[ignore = "takes a minute; make test runs it"]
    fn fuzz_parser() {
        let lines: [&[u8]; 4] = [
            b"1795396876,default,ui,info,==> default: Starting domain.",
            b"1795396876,,error-exit,Vagrant::Errors::VMBootTimeout,Timed out%!(VAGRANT_COMMA) sorry.\\nBye",
            b"1795396876,default,metadata,provider,libvirt",
            b"1795396876,default,ssh-config,Host default\\n  HostName 192.168.121.30\\n  Port 22",
        ];
        crate::server::fuzz::fuzz(&lines, |input| {
            let line = String::from_utf8_lossy(input);
            if let Some(record) = Record::parse(&line) {
                assert!(!record.kind.is_empty());
                let length = record.data.iter().map(String::len).sum::<usize>();
                assert!(length <= line.len(), "no more than was said");
                let _ = (record.ui(), record.error_exit(), record.ssh_config());
            }
        });
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "\\PC*") {
            if let Some(record) = Record::parse(&line) {
                let _ = (record.ui(), record.error_exit());
            }
        }

        #[test]
        fn fields_survive_their_escaping(
            at_secs in any::<i64>(),
            target in "[a-z0-9-]{0,12}",
            kind in "[a-z-]{1,12}",
            data in proptest::collection::vec("[^\\\\]*", 0..5),
        ) {
            let mut line = format!("{at_secs},{target},{kind}");
            for field in &data {
                line.push(',');
                line.push_str(&escaped(field));
            }
            // A text with Vagrant's own mark for a comma is read as a comma.
            prop_assume!(!data.iter().any(|field| field.contains(COMMA)));
            prop_assert_eq!(Record::parse(&line), Some(Record { at_secs, target, kind, data }));
        }
    }
}
