//! What is sent of a batch, and what came of all of it.
use crate::bulk::Verdict;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

/// The verdicts of `taken` events, of which the unfit ones were not sent.
pub(super) fn with_unfit(taken: usize, unfit: Vec<(usize, String)>, verdicts: Vec<Verdict>) -> Vec<Verdict> {
    if unfit.is_empty() {
        return verdicts;
    }
    let (mut unfit, mut verdicts) = (unfit.into_iter().peekable(), verdicts.into_iter());
    let verdict = |nth| match unfit.next_if(|(at, _)| *at == nth) {
        Some((_, why)) => Verdict::Refused(why),
        None => verdicts.next().unwrap_or(Verdict::Taken),
    };
    (0..taken).map(verdict).collect()
}

/// The text itself, and compressed.
pub(super) fn gzip(text: Vec<u8>, level: u32) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut packed = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::new(level));
    packed.write_all(&text)?;
    Ok((text, packed.finish()?))
}
