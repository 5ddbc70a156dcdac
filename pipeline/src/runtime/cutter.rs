//! Cuts a stream of bytes into messages as a codec wants it.
use super::lines::{Cut, Lines};
use crate::codec::Framing;
use crate::msgpack::{Malformed, Values};

/// The state of the cutting of one source.
pub(crate) enum Cutter {
    /// Into lines.
    Lines(Box<Lines>),
    /// Into values of MessagePack.
    Values(Values),
}

impl Cutter {
    /// Starts at position `from` of a source.
    pub(crate) fn new(framing: &Framing, from: u64) -> Self {
        match framing {
            Framing::Delimited(delimiter) => Self::Lines(Box::new(Lines::new(delimiter, from))),
            Framing::Msgpack => Self::Values(Values::default()),
        }
    }

    /// Takes a chunk that ends at `end` of the source, and adds what became whole to `out`. After an error nothing more
    /// can be found in the source.
    pub(crate) fn push(&mut self, chunk: &[u8], end: u64, out: &mut Vec<Cut>) -> Result<(), Malformed> {
        match self {
            Self::Lines(lines) => {
                lines.push(chunk, end, out);
                Ok(())
            }
            Self::Values(values) => values.push(chunk, end, out),
        }
    }

    /// Ends the source: what is left of a line is a line; what is left of a value is nothing.
    pub(crate) fn finish(&mut self) -> Vec<Cut> {
        match self {
            Self::Lines(lines) => lines.finish(),
            Self::Values(_) => Vec::new(),
        }
    }
}
