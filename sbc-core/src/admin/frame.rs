//! Bytes of a stream in, lines out. Holds one line at most, so a peer cannot make it grow.

/// Longest request line, its LF not counted.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Longest response line a client accepts. The daemon keeps well below (it pages).
pub const RESPONSE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The line is longer than the bound; the rest of the stream cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line longer than {0} bytes")]
pub struct LineTooLong(pub usize);

/// Cuts a stream into lines.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Start of what has not been handed out.
    start: usize,
    /// Bytes from here on have not been searched for a line end.
    searched: usize,
    line_bytes_max: usize,
    broken: bool,
}

impl Lines {
    /// Lines of at most `line_bytes_max` bytes.
    pub fn new(line_bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            line_bytes_max,
            broken: false,
        }
    }

    /// Add what was read. Call [`Lines::next_line`] until `None` before adding more: what is kept
    /// is then at most one unfinished line.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line without its LF or CRLF; `None`: read more.
    pub fn next_line(&mut self) -> Option<Result<&[u8], LineTooLong>> {
        if self.broken {
            return None;
        }
        let end = memchr::memchr(b'\n', &self.buffer[self.searched..]).map(|at| self.searched + at);
        let unterminated = end.unwrap_or(self.buffer.len());
        if unterminated - self.start > self.line_bytes_max {
            self.broken = true;
            self.buffer = Vec::new();
            (self.start, self.searched) = (0, 0);
            return Some(Err(LineTooLong(self.line_bytes_max)));
        }
        let Some(end) = end else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = &self.buffer[self.start..end];
        self.start = end + 1;
        self.searched = self.start;
        Some(Ok(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.buffer.len() - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(lines: &mut Lines) -> Vec<Result<Vec<u8>, LineTooLong>> {
        let mut out = Vec::new();
        while let Some(line) = lines.next_line() {
            out.push(line.map(<[u8]>::to_vec));
        }
        out
    }

    #[test]
    fn cuts_lines_and_keeps_the_rest() {
        let mut lines = Lines::new(10);
        lines.push(b"one\r\ntwo\n\nthr");
        assert_eq!(
            all(&mut lines),
            [Ok(b"one".to_vec()), Ok(b"two".to_vec()), Ok(vec![])]
        );
        assert_eq!(lines.held(), 3);
        lines.push(b"ee\n");
        assert_eq!(all(&mut lines), [Ok(b"three".to_vec())]);
        assert_eq!(lines.held(), 0);
    }

    #[test]
    fn a_line_of_exactly_the_bound_passes_and_one_byte_more_does_not() {
        for terminated in [true, false] {
            let mut lines = Lines::new(4);
            lines.push(if terminated {
                b"1234\n12345\n"
            } else {
                b"1234\n12345"
            });
            assert_eq!(all(&mut lines), [Ok(b"1234".to_vec()), Err(LineTooLong(4))]);
            lines.push(b"ok\n");
            assert_eq!(all(&mut lines), [], "nothing is read after a line too long");
            assert_eq!(lines.held(), 0);
        }
    }

    proptest! {
        #[test]
        fn the_same_lines_however_the_stream_is_cut(
            stream in proptest::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'\n')], 0..400),
            cuts in proptest::collection::vec(1usize..50, 1..40),
        ) {
            let mut whole = Lines::new(64);
            whole.push(&stream);
            let expected = all(&mut whole);

            let mut pieces = Lines::new(64);
            let mut got = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                got.extend(all(&mut pieces));
                prop_assert!(pieces.held() <= 64);
                rest = tail;
            }
            prop_assert_eq!(got, expected);
        }
    }
}
