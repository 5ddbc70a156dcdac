//! Finds the ends of addresses and moments, which most logs are full of, without trying the many ways of their patterns.
//!
//! A shortcut knows one pattern. It looks at a text of ASCII characters from a place on, and tells where the way ends that
//! the pattern would try first; or nothing, when it is not sure. Only if what comes behind does not fit, or nothing was
//! told, the pattern itself is tried. So a shortcut changes how long a search takes, and never what it finds.
use std::sync::LazyLock;

use super::expand::{Style, expand};
use super::library::Library;
use crate::ecs::Ecs;
use crate::ruby::syntax::{self, Node};

/// Where the first way ends that starts at a place of a text.
pub(crate) type Shortcut = fn(&[u8], usize) -> Option<usize>;

/// The patterns that have one.
const NAMED: [(&str, Shortcut); 4] = [
    ("IP", address),
    ("HTTPDATE", httpdate),
    ("SYSLOGTIMESTAMP", syslog_timestamp),
    ("TIMESTAMP_ISO8601", timestamp_iso8601),
];
/// A shorter expression holds none of them.
const SHORTEST: usize = 150;
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

static KNOWN: LazyLock<Vec<(Node, Shortcut)>> = LazyLock::new(|| {
    let library = Library::stock(Ecs::Disabled);
    let style = Style { keep_unnamed: false, target: None, overwrite: &[] };
    let known = |(name, shortcut): &(&str, Shortcut)| {
        let expanded = expand(&format!("%{{{name}}}"), &library, style).ok()?;
        Some((syntax::read(&expanded.regex)?, *shortcut))
    };
    NAMED.iter().filter_map(known).collect()
});

/// The shortcuts that a regular expression may have use for.
pub(crate) fn for_pattern(regex: &str) -> &'static [(Node, Shortcut)] {
    if regex.len() < SHORTEST { &[] } else { &KNOWN }
}

/// Reads a text from the left.
#[derive(Clone, Copy)]
struct Eye<'t> {
    text: &'t [u8],
    at: usize,
}

impl Eye<'_> {
    fn peek(self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn digit_follows(self) -> bool {
        self.peek().is_some_and(|byte| byte.is_ascii_digit())
    }

    /// Takes this very character.
    fn byte(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Takes one of these characters.
    fn one_of(&mut self, bytes: &[u8]) -> Option<()> {
        bytes.contains(&self.peek()?).then(|| self.at += 1)
    }

    /// Takes two digits that make a number from `min` to `max`.
    fn two(&mut self, min: u8, max: u8) -> Option<()> {
        let [tens, ones] = *self.text.get(self.at..)?.first_chunk::<2>()?;
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        let fits = tens < 10 && ones < 10 && (min..=max).contains(&(tens * 10 + ones));
        fits.then(|| self.at += 2)
    }

    /// Takes all digits there are, at least one; tells how many.
    fn digits(&mut self) -> Option<usize> {
        let from = self.at;
        while self.digit_follows() {
            self.at += 1;
        }
        (self.at > from).then(|| self.at - from)
    }

    /// Takes the first letters of a month, behind which its name ends.
    fn month(&mut self) -> Option<()> {
        let name = self.text.get(self.at..)?.first_chunk::<3>()?;
        MONTHS.contains(&name).then(|| self.at += 3)
    }

    /// Takes `15:04:05`, behind which comes no digit and nothing that a fraction begins with.
    fn time(&mut self) -> Option<()> {
        self.two(0, 23)?;
        self.byte(b':')?;
        self.two(0, 59)?;
        self.byte(b':')?;
        self.two(0, 59)?;
        let ends = !self.peek().is_some_and(|byte| byte.is_ascii_digit() || b":.,".contains(&byte));
        ends.then_some(())
    }
}

/// A number from 0 to 255, with all the digits there are.
fn octet(eye: &mut Eye<'_>) -> Option<()> {
    let start = eye.at;
    let fits = match eye.digits()? {
        1 | 2 => true,
        3 => eye.text.get(start..eye.at)? <= b"255".as_slice(),
        _ => false,
    };
    fits.then_some(())
}

/// `192.0.2.1`. Addresses of version 6 begin in another way.
fn address(text: &[u8], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    if before.is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let mut eye = Eye { text, at };
    octet(&mut eye)?;
    for _ in 0..3 {
        eye.byte(b'.')?;
        octet(&mut eye)?;
    }
    Some(eye.at)
}

/// `20/Nov/2026:10:01:15 +0000`.
fn httpdate(text: &[u8], at: usize) -> Option<usize> {
    let mut eye = Eye { text, at };
    eye.two(1, 31)?;
    eye.byte(b'/')?;
    eye.month()?;
    eye.byte(b'/')?;
    eye.two(0, 99)?;
    eye.two(0, 99)?;
    eye.byte(b':')?;
    eye.time()?;
    eye.byte(b' ')?;
    // A sign need not be there.
    let _sign = eye.one_of(b"+-");
    eye.digits()?;
    Some(eye.at)
}

/// `Nov 20 10:01:15`.
fn syslog_timestamp(text: &[u8], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return None;
    }
    let mut eye = Eye { text, at };
    eye.month()?;
    eye.byte(b' ')?;
    match eye.byte(b' ') {
        Some(()) => eye.one_of(b"123456789")?,
        None => eye.two(1, 31)?,
    }
    eye.byte(b' ')?;
    eye.time()?;
    Some(eye.at)
}

/// `2026-11-20T10:01:15.123Z`, with or without fraction and zone.
fn timestamp_iso8601(text: &[u8], at: usize) -> Option<usize> {
    let mut eye = Eye { text, at };
    eye.two(0, 99)?;
    eye.two(0, 99)?;
    eye.byte(b'-')?;
    eye.two(1, 12)?;
    eye.byte(b'-')?;
    eye.two(1, 31)?;
    eye.one_of(b"T ")?;
    eye.two(0, 23)?;
    eye.byte(b':')?;
    eye.two(0, 59)?;
    eye.byte(b':')?;
    eye.two(0, 59)?;
    if eye.digit_follows() {
        return None;
    }
    let mut fraction = eye;
    if fraction.one_of(b":.,").is_some() && fraction.digits().is_some() {
        eye = fraction;
    }
    match eye.peek() {
        Some(b'Z') => eye.at += 1,
        Some(b'+' | b'-') => {
            let mut zone = eye;
            zone.at += 1;
            // A zone of another shape is none of its business.
            zone.two(0, 23)?;
            let _colon = zone.byte(b':');
            zone.two(0, 59)?;
            eye = zone;
        }
        _ => {}
    }
    Some(eye.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruby::{Dot, Groups, Ruby};
    use proptest::prelude::*;
    use std::time::Duration;

    /// Where the pattern itself ends at first, by Oniguruma, when its match has to start at `at`.
    fn first_end(name: &str, text: &str, at: usize) -> Option<usize> {
        let library = Library::stock(Ecs::Disabled);
        let style = Style { keep_unnamed: false, target: None, overwrite: &[] };
        let regex = expand(&format!("%{{{name}}}"), &library, style).unwrap().regex;
        let ruby = Ruby::compile(&format!("\\G(?:{regex})"), Dot::AnyCharacter).unwrap();
        let mut groups = Groups::new();
        let found = ruby.search(text, at, Duration::from_secs(5), &mut groups);
        found.unwrap().then(|| groups.place(0).unwrap().1)
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a1 :]?[0-2]?[0-9]{1,2}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,4}[ .:a0-9]{0,3}",
            "[0-3]?[0-9]/(Nov|Dec|May|Mar|nov|Novo)/[0-9]{3,5}:[0-2][0-9]:[0-6][0-9]:[0-6][0-9] [+-]?[0-9]{0,5}[ \\]a]?",
            "[a ]?(Nov|Dec|May|Jan) {1,2}[0-3]?[0-9] [0-2][0-9]:[0-6][0-9]:[0-6][0-9][.,: a0-9]{0,4}",
            "[0-9]{3,5}-[01][0-9]-[0-3][0-9][T ][0-2]?[0-9]:[0-6][0-9](:[0-6][0-9]([.,][0-9]{0,4})?)?(Z|[+-][0-2][0-9]:?[0-9]{0,3})?[a 0-9]?",
            "[0-9.:/ TZNov+-]{0,30}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_shortcut_ends_where_its_pattern_ends_first(text in text(), at in 0_usize..3) {
            for (name, shortcut) in NAMED {
                if at <= text.len() && let Some(end) = shortcut(text.as_bytes(), at) {
                    prop_assert_eq!(Some(end), first_end(name, &text, at), "{}", name);
                }
            }
        }
    }

    #[test]
    fn every_shortcut_has_a_pattern_and_is_taken() {
        assert_eq!(KNOWN.len(), NAMED.len());
        let all = "%{IPORHOST:a} %{HTTPDATE:b} %{SYSLOGTIMESTAMP:c} %{TIMESTAMP_ISO8601:d}";
        let style = Style { keep_unnamed: false, target: None, overwrite: &[] };
        let regex = expand(all, &Library::stock(Ecs::Disabled), style).unwrap().regex;
        let compiled = format!("{:?}", Ruby::compile(&regex, Dot::AnyCharacter).unwrap());
        assert_eq!(compiled.matches("Shortcut {").count(), NAMED.len());
        for (name, text) in [
            ("IP", "192.0.2.1"),
            ("HTTPDATE", "20/Nov/2026:10:01:15 +0000"),
            ("SYSLOGTIMESTAMP", "Nov  2 10:01:15"),
            ("TIMESTAMP_ISO8601", "2026-11-20T10:01:15.123+01:00"),
        ] {
            let (_, shortcut) = NAMED.iter().find(|(named, _)| *named == name).unwrap();
            assert_eq!(shortcut(text.as_bytes(), 0), Some(text.len()), "{name}");
        }
    }
}
