//! The last output of a terminal, for clients that come back.

use std::collections::VecDeque;

/// The most that is kept.
pub const SCROLLBACK_BYTES: usize = 256 * 1024;

/// The end of an output, with offsets from its beginning.
#[derive(Debug, Default)]
pub struct Scrollback {
    kept: VecDeque<u8>,
    end: u64,
}

/// What a client gets that has the output up to some offset.
#[derive(Debug, PartialEq, Eq)]
pub struct Replay {
    /// Of the first byte.
    pub offset: u64,
    /// Something is missing between what the client has and this.
    pub is_reset: bool,
    pub bytes: Vec<u8>,
}

impl Scrollback {
    pub fn push(&mut self, bytes: &[u8]) {
        self.end += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(SCROLLBACK_BYTES)..];
        let surplus = (self.kept.len() + bytes.len()).saturating_sub(SCROLLBACK_BYTES);
        self.kept.drain(..surplus);
        self.kept.extend(bytes);
    }

    /// The number of bytes that were ever pushed.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// What was pushed after `offset`. Where that is not kept any more, all that is, from the beginning of a line: the
    /// middle of a character or of a control sequence would be garbled.
    pub fn since(&self, offset: u64) -> Replay {
        let begin = self.end - self.kept.len() as u64;
        if (begin..=self.end).contains(&offset) {
            let skipped = (offset - begin) as usize;
            return Replay { offset, is_reset: false, bytes: self.kept.range(skipped..).copied().collect() };
        }
        let is_cut = begin > 0;
        let skipped = match self.kept.iter().position(|byte| *byte == b'\n') {
            Some(newline) if is_cut => newline + 1,
            _ => 0,
        };
        Replay {
            offset: begin + skipped as u64,
            is_reset: true,
            bytes: self.kept.range(skipped..).copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_client_that_was_away_too_long_begins_anew_with_a_whole_line() {
        let mut scrollback = Scrollback::default();
        scrollback.push(b"lost\xc3");
        scrollback.push(&vec![b'x'; SCROLLBACK_BYTES - 4]);
        scrollback.push(b"\nend");
        let replay = scrollback.since(2);
        assert!(replay.is_reset);
        assert_eq!(replay.bytes, b"end");
        assert_eq!(replay.offset, scrollback.end() - 3);
    }

    #[test]
    fn an_offset_of_another_terminal_begins_anew() {
        let mut scrollback = Scrollback::default();
        scrollback.push(b"short");
        assert_eq!(scrollback.since(99), Replay { offset: 0, is_reset: true, bytes: b"short".to_vec() });
    }

    proptest! {
        #[test]
        fn what_is_replayed_is_what_was_printed(
            pieces in prop::collection::vec((any::<u8>(), 0..SCROLLBACK_BYTES), 0..6),
            offset in 0..2_000_000_u64,
        ) {
            let (mut scrollback, mut all) = (Scrollback::default(), Vec::new());
            for (byte, length) in pieces {
                let piece: Vec<u8> = (0..length).map(|n| byte.wrapping_add(n as u8)).collect();
                scrollback.push(&piece);
                all.extend(piece);
            }
            prop_assert_eq!(scrollback.end(), all.len() as u64);
            prop_assert!(scrollback.kept.len() <= SCROLLBACK_BYTES);
            let replay = scrollback.since(offset);
            prop_assert!(replay.is_reset || replay.offset == offset);
            prop_assert_eq!(&replay.bytes[..], &all[replay.offset as usize..]);
        }
    }
}
