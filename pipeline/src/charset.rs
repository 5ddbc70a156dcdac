//! Reads bytes in the character sets that Ruby, and so Logstash, has names for.
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use encoding_rs::Encoding;
use tracing::warn;

use crate::lang::ast::Node;
use crate::lang::kinds::{FromSetting, OptionKind, read_text};
use crate::lang::problems::Problems;
use crate::lang::suggest::closest;
use crate::value::Text;

/// How the bytes of a text are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// UTF-8. A text that is not UTF-8 is shown as Ruby would show it: `\xE9` for a byte that does not fit.
    Utf8,
    /// ASCII, or bytes without a meaning: a byte above 127 becomes U+FFFD.
    Ascii,
    /// ISO 8859-1: bytes are the first 256 characters of Unicode.
    Latin1,
    /// A set of the WHATWG's list; with `true` its bytes 0x80 to 0x9F are control characters, as ISO 8859 has it.
    Listed(&'static Encoding, bool),
    /// UTF-32, with the byte first that matters most, or last.
    Utf32 { big: bool },
}

/// Ruby's names, and for each the label by which the WHATWG's list knows the set. Ruby's names of the sets that are read by
/// other means stand in [`Charset::named`].
const LISTED: &[(&str, &str)] = &[
    ("Big5", "big5"),
    ("CP950", "big5"),
    ("Big5-HKSCS", "big5-hkscs"),
    ("CP951", "big5-hkscs"),
    ("EUC-JP", "euc-jp"),
    ("eucJP", "euc-jp"),
    ("eucJP-ms", "euc-jp"),
    ("CP51932", "euc-jp"),
    ("EUC-KR", "euc-kr"),
    ("eucKR", "euc-kr"),
    ("CP949", "euc-kr"),
    ("EUC-CN", "gbk"),
    ("eucCN", "gbk"),
    ("GB2312", "gbk"),
    ("GBK", "gbk"),
    ("CP936", "gbk"),
    ("GB18030", "gb18030"),
    ("ISO-2022-JP", "iso-2022-jp"),
    ("ISO2022-JP", "iso-2022-jp"),
    ("ISO-8859-2", "iso-8859-2"),
    ("ISO8859-2", "iso-8859-2"),
    ("ISO-8859-3", "iso-8859-3"),
    ("ISO8859-3", "iso-8859-3"),
    ("ISO-8859-4", "iso-8859-4"),
    ("ISO8859-4", "iso-8859-4"),
    ("ISO-8859-5", "iso-8859-5"),
    ("ISO8859-5", "iso-8859-5"),
    ("ISO-8859-6", "iso-8859-6"),
    ("ISO8859-6", "iso-8859-6"),
    ("ISO-8859-7", "iso-8859-7"),
    ("ISO8859-7", "iso-8859-7"),
    ("ISO-8859-8", "iso-8859-8"),
    ("ISO8859-8", "iso-8859-8"),
    ("ISO-8859-10", "iso-8859-10"),
    ("ISO8859-10", "iso-8859-10"),
    ("ISO-8859-13", "iso-8859-13"),
    ("ISO8859-13", "iso-8859-13"),
    ("ISO-8859-14", "iso-8859-14"),
    ("ISO8859-14", "iso-8859-14"),
    ("ISO-8859-15", "iso-8859-15"),
    ("ISO8859-15", "iso-8859-15"),
    ("ISO-8859-16", "iso-8859-16"),
    ("ISO8859-16", "iso-8859-16"),
    ("KOI8-R", "koi8-r"),
    ("CP878", "koi8-r"),
    ("KOI8-U", "koi8-u"),
    ("IBM866", "ibm866"),
    ("CP866", "ibm866"),
    ("Shift_JIS", "shift_jis"),
    ("SJIS", "shift_jis"),
    ("Windows-31J", "shift_jis"),
    ("CP932", "shift_jis"),
    ("csWindows31J", "shift_jis"),
    ("PCK", "shift_jis"),
    ("macRoman", "macintosh"),
    ("macCyrillic", "x-mac-cyrillic"),
    ("TIS-620", "windows-874"),
    ("Windows-874", "windows-874"),
    ("CP874", "windows-874"),
    ("UTF-16BE", "utf-16be"),
    ("UTF-16LE", "utf-16le"),
    ("UTF-16", "utf-16be"),
    ("UCS-2BE", "utf-16be"),
    ("Windows-1250", "windows-1250"),
    ("CP1250", "windows-1250"),
    ("Windows-1251", "windows-1251"),
    ("CP1251", "windows-1251"),
    ("Windows-1252", "windows-1252"),
    ("CP1252", "windows-1252"),
    ("Windows-1253", "windows-1253"),
    ("CP1253", "windows-1253"),
    ("Windows-1254", "windows-1254"),
    ("CP1254", "windows-1254"),
    ("Windows-1255", "windows-1255"),
    ("CP1255", "windows-1255"),
    ("Windows-1256", "windows-1256"),
    ("CP1256", "windows-1256"),
    ("Windows-1257", "windows-1257"),
    ("CP1257", "windows-1257"),
    ("Windows-1258", "windows-1258"),
    ("CP1258", "windows-1258"),
];

/// The names of the sets that are not in the WHATWG's list.
const OTHERS: &[(&str, Charset)] = &[
    ("UTF-8", Charset::Utf8),
    ("CP65001", Charset::Utf8),
    ("US-ASCII", Charset::Ascii),
    ("ASCII", Charset::Ascii),
    ("ANSI_X3.4-1968", Charset::Ascii),
    ("646", Charset::Ascii),
    ("ASCII-8BIT", Charset::Ascii),
    ("BINARY", Charset::Ascii),
    ("ISO-8859-1", Charset::Latin1),
    ("ISO8859-1", Charset::Latin1),
    ("ISO-8859-9", Charset::Listed(encoding_rs::WINDOWS_1254, true)),
    ("ISO8859-9", Charset::Listed(encoding_rs::WINDOWS_1254, true)),
    ("ISO-8859-11", Charset::Listed(encoding_rs::WINDOWS_874, true)),
    ("ISO8859-11", Charset::Listed(encoding_rs::WINDOWS_874, true)),
    ("UTF-32BE", Charset::Utf32 { big: true }),
    ("UCS-4BE", Charset::Utf32 { big: true }),
    ("UTF-32", Charset::Utf32 { big: true }),
    ("UTF-32LE", Charset::Utf32 { big: false }),
    ("UCS-4LE", Charset::Utf32 { big: false }),
];

impl Charset {
    /// The set of this name; letters may be large or small.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let other = OTHERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        if let Some((_, charset)) = other {
            return Some(*charset);
        }
        let (_, label) = LISTED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Encoding::for_label(label.as_bytes()).map(|listed| Self::Listed(listed, false))
    }

    fn names() -> impl Iterator<Item = &'static str> {
        OTHERS.iter().map(|(name, _)| *name).chain(LISTED.iter().map(|(name, _)| *name))
    }
}

impl FromSetting for Charset {
    const KIND: OptionKind = OptionKind::Text;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        let name = read_text(node, Self::KIND, problems)?;
        let charset = Self::named(name);
        if charset.is_none() {
            let hint = match closest(name, Self::names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "names are those of Ruby: `UTF-8`, `ISO-8859-15`, `Windows-1252`, `Shift_JIS`".to_owned()
                }
            };
            problems.error(node.span, "this character set is not known").hint(hint);
        }
        charset
    }
}

/// Reads bytes in a character set.
pub(crate) fn to_text(line: Bytes, charset: Charset) -> Text {
    match charset {
        Charset::Utf8 => Text::valid(line).unwrap_or_else(|line| {
            tell_of_misfit();
            shown(&line).into()
        }),
        Charset::Ascii | Charset::Latin1 if line.is_ascii() => Text::lossy(line),
        Charset::Ascii => {
            let read =
                |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { char::REPLACEMENT_CHARACTER };
            line.iter().map(read).collect::<String>().into()
        }
        Charset::Latin1 => line.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
        Charset::Listed(listed, controls) => {
            let (listed, line) = match byte_order(&line, listed) {
                Some((found, rest)) => (found, rest),
                None => (listed, line.as_ref()),
            };
            if !controls {
                return listed.decode_without_bom_handling(line).0.into_owned().into();
            }
            let mut text = String::with_capacity(line.len());
            for byte in line {
                match byte {
                    0x80..=0x9f => text.push(char::from(*byte)),
                    other => text.push_str(&listed.decode_without_bom_handling(&[*other]).0),
                }
            }
            text.into()
        }
        Charset::Utf32 { big } => {
            let (words, rest) = line.as_chunks::<4>();
            let read =
                |word: &[u8; 4]| if big { u32::from_be_bytes(*word) } else { u32::from_le_bytes(*word) };
            let char_of = |word| char::from_u32(read(word)).unwrap_or(char::REPLACEMENT_CHARACTER);
            let cut_off = (!rest.is_empty()).then_some(char::REPLACEMENT_CHARACTER);
            words.iter().map(char_of).chain(cut_off).collect::<String>().into()
        }
    }
}

/// Reads a text as the bytes of a character set.
pub(crate) fn from_text(line: Text, charset: Charset) -> Text {
    match charset {
        Charset::Utf8 => line,
        Charset::Ascii | Charset::Latin1 if line.is_ascii() => line,
        other => to_text(Bytes::copy_from_slice(line.as_bytes()), other),
    }
}

/// A mark of the byte order of UTF-16 at the start of a text, which is no part of it.
fn byte_order<'a>(line: &'a [u8], declared: &'static Encoding) -> Option<(&'static Encoding, &'a [u8])> {
    if declared != encoding_rs::UTF_16BE && declared != encoding_rs::UTF_16LE {
        return None;
    }
    let (found, length) = Encoding::for_bom(line)?;
    (found != encoding_rs::UTF_8).then(|| (found, line.get(length..).unwrap_or_default()))
}

/// How many texts were not in the set that they should be in.
static MISFITS: AtomicU64 = AtomicU64::new(0);

fn tell_of_misfit() {
    let seen = MISFITS.fetch_add(1, Ordering::Relaxed) + 1;
    if seen.is_power_of_two() {
        warn!(
            seen,
            "a text is not UTF-8 and is shown with escapes; give its character set to the codec: `charset => \"…\"`"
        );
    }
}

/// Bytes as Ruby shows a text that is not valid, without the quotes around it.
fn shown(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(bytes.len() + 16);
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        let next = chunks.peek().map(|chunk| chunk.valid().chars().next());
        let more = chunk.invalid().is_empty().then_some(next).flatten().flatten();
        escape(chunk.valid(), more, &mut out);
        for byte in chunk.invalid() {
            // Writing into a string cannot fail.
            let _ok = write!(out, "\\x{byte:02X}");
        }
    }
    out
}

/// A text as Ruby's `inspect` shows it, in quotes.
pub(crate) fn inspected(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    escape(text, None, &mut out);
    out.push('"');
    out
}

/// Adds `text` to `out` with the escapes of Ruby's `inspect`; `next` is the character after it.
fn escape(text: &str, next: Option<char>, out: &mut String) {
    use std::fmt::Write;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let after = chars.peek().copied().or(next);
        let short = match c {
            '"' => '"',
            '\\' => '\\',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\u{1b}' => 'e',
            '#' if matches!(after, Some('{' | '$' | '@')) => '#',
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                // Writing into a string cannot fail.
                let _ok = match c {
                    '\u{7f}' => write!(out, "\\x7F"),
                    c => write!(out, "\\u{:04X}", u32::from(c)),
                };
                continue;
            }
            c => {
                out.push(c);
                continue;
            }
        };
        out.push('\\');
        out.push(short);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &'static [u8], name: &str) -> String {
        to_text(Bytes::from_static(bytes), Charset::named(name).unwrap()).to_string()
    }

    #[test]
    fn texts_are_read_in_the_sets_that_ruby_has_names_for() {
        for (name, bytes, text) in [
            ("UTF-8", "grün".as_bytes(), "grün"),
            ("ISO-8859-1", b"gr\xfcn \x80", "grün \u{80}"),
            ("iso-8859-1", b"gr\xfcn", "grün"),
            ("CP1252", b"gr\xfcn \x80", "grün €"),
            ("ISO-8859-15", b"\xa4", "€"),
            ("ISO-8859-9", b"\x80\xfd", "\u{80}ı"),
            ("US-ASCII", b"a\xfc", "a\u{fffd}"),
            ("ASCII-8BIT", "ü".as_bytes(), "\u{fffd}\u{fffd}"),
            ("Windows-31J", b"\x83e\x83X\x83g", "テスト"),
            ("EUC-JP", b"\xa5\xc6", "テ"),
            ("GB18030", b"\xc4\xe3", "你"),
            ("UTF-16LE", b"a\0\xfc\0", "aü"),
            ("UTF-16", b"\xff\xfea\0", "a"),
            ("UTF-32BE", b"\0\0\0a\0\x01\xf6\0", "a😀"),
            ("KOI8-R", b"\xd4", "т"),
        ] {
            assert_eq!(read(bytes, name), text, "{name}");
        }
    }

    #[test]
    fn a_text_that_is_not_utf8_is_shown_as_ruby_shows_it() {
        for (bytes, text) in [
            (&b"caf\xe9"[..], "caf\\xE9"),
            (b"\"a\"\t\xff", "\\\"a\\\"\\t\\xFF"),
            (b"a\\b \xe2\x82 #{x}", "a\\\\b \\xE2\\x82 \\#{x}"),
            (b"\x01\x7f\x80#", "\\u0001\\x7F\\x80#"),
            (b"gr\xc3\xbcn \xfc", "grün \\xFC"),
        ] {
            assert_eq!(to_text(Bytes::copy_from_slice(bytes), Charset::Utf8).to_string(), text);
        }
    }

    #[test]
    fn every_name_stands_for_a_set() {
        for name in Charset::names() {
            assert!(Charset::named(name).is_some(), "{name}");
        }
        assert_eq!(Charset::named("UTF-9"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read_in_any_set(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for name in Charset::names() {
                to_text(Bytes::from(bytes.clone()), Charset::named(name).unwrap());
            }
        }
    }
}
