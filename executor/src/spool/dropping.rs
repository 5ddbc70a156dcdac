//! Makes room in a full spool: drops the oldest whole lines, and moves what stays to a new file.
use super::format::RECORD;
use super::{PAYLOAD_MAX, Spool, SpoolError};
use bytes::Bytes;

impl Spool {
    /// Drops the oldest whole lines that were not handed out, a quarter of the cap at least, and counts them. Answers how
    /// many lines; 0: nothing can be dropped, wait for acknowledgements.
    pub(crate) fn drop_oldest(&mut self) -> Result<u64, SpoolError> {
        let handed_out = self.pieces(self.slot.acked)?;
        let cursor = self.cursor;
        let (mut keep, rest): (Vec<_>, Vec<_>) =
            handed_out.into_iter().flat_map(|p| p.split_at(cursor)).partition(|p| p.position < cursor);
        let mut plan = Dropping { wanted: (self.slot.ring / 4).max(1), ..Dropping::default() };
        for piece in &rest {
            plan.look_at(piece);
        }
        if plan.lines == 0 {
            return Ok(0);
        }
        let (from, to) = (plan.from, plan.to);
        for piece in rest.into_iter().flat_map(|p| p.split_at(from)).flat_map(|p| p.split_at(to)) {
            if piece.position < from || piece.position >= to {
                keep.push(piece);
            }
        }
        let keep = coalesce(keep);
        if keep.iter().map(|p| p.payload.len() as u64 + RECORD).sum::<u64>() > self.slot.ring {
            return Ok(0);
        }
        self.slot.dropped_lines += plan.lines;
        self.slot.dropped_bytes += to - from;
        let end = self.end;
        self.rewrite(self.slot.ring, &keep)?;
        self.end = end;
        self.save()?;
        Ok(plan.lines)
    }

    /// Gives up keeping a line that fills the whole spool and was handed out to its last byte: it could never be
    /// acknowledged, since only whole lines are. Answers whether there was one.
    pub(crate) fn release_overlong_line(&mut self) -> Result<bool, SpoolError> {
        if !self.is_drained() || self.entries.is_empty() {
            return Ok(false);
        }
        if self.pieces(self.slot.acked)?.iter().any(|p| p.payload.contains(&b'\n')) {
            return Ok(false);
        }
        self.ack(self.end)?;
        Ok(true)
    }
}

/// Source bytes that move to a new file.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) position: u64,
    pub(super) payload: Bytes,
}

impl Piece {
    fn split_at(mut self, position: u64) -> impl Iterator<Item = Piece> {
        let inside =
            position.checked_sub(self.position).filter(|at| (1..self.payload.len() as u64).contains(at));
        let second = inside.map(|at| Piece { position, payload: self.payload.split_off(at as usize) });
        std::iter::once(self).chain(second)
    }
}

/// Joins neighbours, so that a new file has fewer records than the old one.
fn coalesce(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut out: Vec<(u64, Vec<u8>)> = Vec::new();
    for piece in pieces {
        match out.last_mut() {
            Some((position, bytes))
                if *position + bytes.len() as u64 == piece.position
                    && ((bytes.len() + piece.payload.len()) as u64) <= PAYLOAD_MAX =>
            {
                bytes.extend_from_slice(&piece.payload);
            }
            _ => out.push((piece.position, piece.payload.to_vec())),
        }
    }
    out.into_iter().map(|(position, bytes)| Piece { position, payload: bytes.into() }).collect()
}

/// Finds the stretch to drop: from after the first newline (the line before it may be handed out in part) to after a
/// later one.
#[derive(Debug, Default)]
struct Dropping {
    wanted: u64,
    started: bool,
    from: u64,
    to: u64,
    lines: u64,
}

impl Dropping {
    fn look_at(&mut self, piece: &Piece) {
        for at in memchr::memchr_iter(b'\n', &piece.payload) {
            let after = piece.position + at as u64 + 1;
            if !self.started {
                (self.started, self.from, self.to) = (true, after, after);
            } else if self.to - self.from < self.wanted {
                self.to = after;
                self.lines += 1;
            }
        }
    }
}
