//! Line numbers of positions in a file.

/// Counts lines while positions rise.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, line: 1 }
    }

    /// The line of what starts at or after `position`: blank lines are passed over.
    pub fn line(&mut self, position: usize) -> usize {
        while let Some(byte) = self.bytes.get(self.at) {
            let ends = matches!(byte, b'\n' | b'\r');
            if self.at >= position && !ends {
                break;
            }
            // CRLF is one line break.
            let crlf = *byte == b'\r' && self.bytes.get(self.at + 1) == Some(&b'\n');
            self.line += usize::from(ends && !crlf);
            self.at += 1;
        }
        self.line
    }
}

/// Where a quoted field begins that never ends. The csv crate would silently take the rest of the file as its text.
pub(super) fn open_quote(bytes: &[u8], delimiter: u8) -> Option<usize> {
    enum State {
        FieldStart,
        Plain,
        Quoted,
        QuoteInQuoted,
    }
    let (mut state, mut opened) = (State::FieldStart, 0);
    for (at, byte) in bytes.iter().enumerate() {
        let ends = *byte == delimiter || matches!(byte, b'\n' | b'\r');
        state = match (state, byte) {
            (State::FieldStart, b'"') => {
                opened = at;
                State::Quoted
            }
            (State::Quoted, b'"') => State::QuoteInQuoted,
            (State::QuoteInQuoted, b'"') | (State::Quoted, _) => State::Quoted,
            _ if ends => State::FieldStart,
            _ => State::Plain,
        };
    }
    matches!(state, State::Quoted).then_some(opened)
}
