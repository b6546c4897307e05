//! Renders a line of output as a terminal would show it in the end: control sequences are carried out or dropped.
//!
//! Pure and bounded: whatever a line holds, the result has no control characters and at most [`COLUMNS`] characters.

use std::{iter::Peekable, str::Chars};

/// A cursor goes no further.
const COLUMNS: usize = 4096;
const TAB_STOP: usize = 8;

/// `Progress: 10%\rProgress: 90%` → `Progress: 90%`, without colours. A line break in `line` is dropped.
pub fn rendered(line: &str) -> String {
    if !line.contains(char::is_control) {
        return line.chars().take(COLUMNS).collect();
    }
    let mut shown = Line::default();
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' => shown.cursor = 0,
            '\u{8}' => shown.cursor = shown.cursor.saturating_sub(1),
            '\t' => shown.move_to((shown.cursor / TAB_STOP + 1) * TAB_STOP),
            '\u{1b}' => escape(&mut rest, &mut shown),
            '\u{9b}' => control_sequence(&mut rest, &mut shown),
            c if c.is_control() => {}
            c => shown.put(c),
        }
    }
    shown.text()
}

/// The same for each line of a text.
pub fn rendered_lines(text: &str) -> String {
    text.split('\n').map(rendered).collect::<Vec<_>>().join("\n")
}

#[derive(Default)]
struct Line {
    cells: Vec<char>,
    cursor: usize,
}

impl Line {
    fn put(&mut self, c: char) {
        if self.cursor >= COLUMNS {
            return;
        }
        if self.cursor >= self.cells.len() {
            self.cells.resize(self.cursor + 1, ' ');
        }
        self.cells[self.cursor] = c;
        self.cursor += 1;
    }

    fn move_to(&mut self, column: usize) {
        self.cursor = column.min(COLUMNS);
    }

    /// Erases from the cursor to the end (0), from the begin to the cursor (1), or all (2).
    fn erase(&mut self, what: usize) {
        match what {
            0 => self.cells.truncate(self.cursor),
            1 => self.cells.iter_mut().take(self.cursor + 1).for_each(|cell| *cell = ' '),
            _ => self.cells.clear(),
        }
    }

    fn text(self) -> String {
        self.cells.into_iter().collect::<String>().trim_end().to_owned()
    }
}

/// What follows an escape character.
fn escape(rest: &mut Peekable<Chars<'_>>, shown: &mut Line) {
    match rest.next() {
        Some('[') => control_sequence(rest, shown),
        // A title, a link: up to a bell or an `ESC \`.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = rest.next() {
                if c == '\u{7}' || (c == '\u{1b}' && rest.next_if_eq(&'\\').is_some()) {
                    return;
                }
            }
        }
        // Such as the choice of a character set.
        Some(' '..='/') => {
            rest.next();
        }
        _ => {}
    }
}

/// `ESC [` parameters and a letter. What moves within the line or erases it is carried out.
fn control_sequence(rest: &mut Peekable<Chars<'_>>, shown: &mut Line) {
    let mut parameters = String::new();
    while let Some(c) = rest.next_if(|c| (' '..='?').contains(c)) {
        if parameters.len() < 32 {
            parameters.push(c);
        }
    }
    let first: Option<usize> = parameters.split(';').next().and_then(|number| number.parse().ok());
    let second: Option<usize> = parameters.split(';').nth(1).and_then(|number| number.parse().ok());
    let count = first.unwrap_or(1).clamp(1, COLUMNS);
    match rest.next_if(|c| ('@'..='~').contains(c)) {
        Some('C') => shown.move_to(shown.cursor + count),
        Some('D') => shown.cursor = shown.cursor.saturating_sub(count),
        Some('G') => shown.move_to(count - 1),
        Some('H' | 'f') => shown.move_to(second.unwrap_or(1).clamp(1, COLUMNS) - 1),
        Some('K') => shown.erase(first.unwrap_or(0)),
        Some('J') if first == Some(2) => shown.erase(2),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_what_a_terminal_shows_in_the_end() {
        for (printed, shown) in [
            ("plain, with ünïcode", "plain, with ünïcode"),
            ("\u{1b}[32mgreen\u{1b}[0m and \u{1b}[1;38;5;208mbold\u{1b}[m", "green and bold"),
            ("Progress: 10%\rProgress: 55%\rProgress: 100%\r", "Progress: 100%"),
            ("Downloading 100%\rDone", "Doneloading 100%"),
            ("Downloading 100%\r\u{1b}[KDone", "Done"),
            ("Downloading\u{1b}[2K\rDone", "Done"),
            ("abc\u{8}\u{8}X", "aXc"),
            ("a\tb", "a       b"),
            ("\u{1b}]0;a title\u{7}text\u{1b}]8;;http://x\u{1b}\\link", "textlink"),
            ("12345\u{1b}[3D_\u{1b}[C!", "12_4!"),
            ("\u{1b}(Btext\u{7f}\u{0}", "text"),
            ("\u{1b}[?25lhidden cursor\u{1b}[?25h", "hidden cursor"),
            ("cut \u{1b}[3", "cut"),
            ("cut \u{1b}", "cut"),
        ] {
            assert_eq!(rendered(printed), shown, "{printed:?}");
        }
    }

    #[test]
    fn a_cursor_that_is_sent_away_makes_no_long_line() {
        for far in ["\u{1b}[999999999C", "\u{1b}[99999999999999999999G", "\u{1b}[1;999999H"] {
            assert!(rendered(&format!("{far}x").repeat(50)).chars().count() <= COLUMNS, "{far:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_control_sequence_is_left(text in "[a-z\u{1b}\u{9b}\\[\\]0-9;?mKJCDGH\r\u{8}\t\u{7}\\\\]{0,200}") {
            let shown = rendered(&text);
            prop_assert!(!shown.contains(char::is_control));
            prop_assert!(shown.chars().count() <= COLUMNS);
        }
    }
}
