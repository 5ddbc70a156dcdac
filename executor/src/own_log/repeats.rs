//! Decides which messages of a log are written: told the time, without any input or output.
//!
//! Messages are of one kind when they differ in digits only. Of each kind so many are written in a window of time; the rest is
//! counted, and the count is written when the window is over and something else comes. The table of kinds has an end: what
//! does not fit is one kind together, so that a flood of ever different messages has its limit too.
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
/// So many messages of one kind are written in a window.
const OF_ONE_KIND: u64 = 20;
/// So many kinds are told apart in a window.
const KINDS_MAX: usize = 256;
/// The kind of everything that does not fit into the table.
const OTHERS: u64 = 0;
/// The most bytes of a message that are repeated beside its count.
const SHOWN: usize = 300;

#[derive(Debug, Default)]
pub(super) struct Repeats {
    began: Option<Instant>,
    kinds: HashMap<u64, Kind>,
}

#[derive(Debug)]
struct Kind {
    count: u64,
    /// The last one of it that was left out.
    example: Vec<u8>,
}

impl Repeats {
    /// What is to be written now, since `message` came.
    pub(super) fn admit(&mut self, now: Instant, message: &[u8]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW) {
            self.began = Some(now);
            let mut counted: Vec<Kind> = self.kinds.drain().map(|(_, kind)| kind).collect();
            counted.retain(|kind| kind.count > OF_ONE_KIND);
            counted.sort_by(|a, b| a.example.cmp(&b.example));
            out.extend(counted.iter().map(Kind::summary));
        }
        let mut kind = kind(message);
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&kind) {
            kind = OTHERS;
        }
        let known = self.kinds.entry(kind).or_insert(Kind { count: 0, example: Vec::new() });
        known.count += 1;
        if known.count <= OF_ONE_KIND {
            out.push(message.to_vec());
        } else {
            known.example = message.iter().take(SHOWN).copied().collect();
        }
        out
    }
}

impl Kind {
    fn summary(&self) -> Vec<u8> {
        let mut line = format!("{} more like: ", self.count - OF_ONE_KIND).into_bytes();
        line.extend(self.example.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
        line.push(b'\n');
        line
    }
}

/// What a message has in common with others that say the same of another moment, number or id.
fn kind(message: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut digit_before = false;
    for byte in message {
        let digit = byte.is_ascii_digit();
        if !digit {
            byte.hash(&mut hasher);
        } else if !digit_before {
            b'0'.hash(&mut hasher);
        }
        digit_before = digit;
    }
    hasher.finish().max(OTHERS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_that_differ_in_digits_only_are_of_one_kind() {
        assert_eq!(kind(b"12:30 port 5051 refused"), kind(b"9:05 port 80 refused"));
        assert_ne!(kind(b"a refused"), kind(b"b refused"));
    }

    proptest! {
        #[test]
        fn no_window_writes_more_than_its_kinds_allow(words in prop::collection::vec("[a-z]{0,3}", 0..3000)) {
            let mut repeats = Repeats::default();
            let now = Instant::now();
            let written: usize = words.iter().map(|word| repeats.admit(now, word.as_bytes()).len()).sum();
            prop_assert!(written <= (KINDS_MAX + 1) * OF_ONE_KIND as usize);
            prop_assert!(repeats.kinds.len() <= KINDS_MAX + 1);
        }

        #[test]
        fn nothing_is_left_out_without_being_counted(words in prop::collection::vec("[ab]", 0..400)) {
            let mut repeats = Repeats::default();
            let now = Instant::now();
            let written: usize = words.iter().map(|word| repeats.admit(now, word.as_bytes()).len()).sum();
            let last = repeats.admit(now + WINDOW, b"end");
            let counted: u64 = last.iter().filter_map(|line| {
                String::from_utf8_lossy(line).split_once(" more like")?.0.parse::<u64>().ok()
            }).sum();
            prop_assert_eq!(written as u64 + counted, words.len() as u64);
        }
    }
}
