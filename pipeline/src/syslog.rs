//! Cuts streams of syslog into messages, and reads those of RFC 5424.
use bytes::Bytes;
use memchr::memchr;

/// The longest message; a longer one becomes several.
const MESSAGE_MAX: usize = 1 << 20;

/// Cuts a stream into messages (RFC 6587): each begins with its length, or ends with the end of a line.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    buffer: Vec<u8>,
}

/// How the message at the start of a buffer is cut off.
#[derive(Debug, PartialEq, Eq)]
enum Begin {
    /// More bytes are needed to tell.
    Unclear,
    /// So many bytes stand for the length, and as many as it says follow.
    Counted(usize, usize),
    /// It ends with the end of a line.
    Line,
}

impl Messages {
    /// Takes a chunk of the stream; returns what became whole. The end of a line is part of a message.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Vec<Bytes> {
        self.buffer.extend_from_slice(chunk);
        let mut found = Vec::new();
        let mut from = 0;
        loop {
            let rest = self.buffer.get(from..).unwrap_or_default();
            let (skip, length) = match begin(rest) {
                Begin::Unclear => break,
                Begin::Counted(head, length) if rest.len() >= head + length => (head, length),
                Begin::Counted(..) => break,
                Begin::Line => match memchr(b'\n', rest) {
                    Some(at) => (0, at + 1),
                    None if rest.len() > MESSAGE_MAX => (0, MESSAGE_MAX),
                    None => break,
                },
            };
            let message = rest.get(skip..skip + length).unwrap_or_default();
            if !message.is_empty() {
                found.push(Bytes::copy_from_slice(message));
            }
            from += skip + length;
        }
        self.buffer.drain(..from);
        found
    }

    /// Ends the stream: what is left is a message.
    pub(crate) fn finish(&mut self) -> Vec<Bytes> {
        let rest = std::mem::take(&mut self.buffer);
        if rest.is_empty() { Vec::new() } else { vec![rest.into()] }
    }
}

/// A length is up to seven digits, a blank, and what a message begins with. Anything else is a line.
fn begin(bytes: &[u8]) -> Begin {
    const DIGITS_MAX: usize = 7;
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if bytes.is_empty() || (digits == bytes.len() && digits <= DIGITS_MAX) {
        return Begin::Unclear;
    }
    if digits == 0 || digits > DIGITS_MAX || bytes.first() == Some(&b'0') || bytes.get(digits) != Some(&b' ')
    {
        return Begin::Line;
    }
    let number = bytes.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
    let length = number.and_then(|number| number.parse::<usize>().ok()).unwrap_or(usize::MAX);
    match bytes.get(digits + 1) {
        None => Begin::Unclear,
        Some(b'<') if length <= MESSAGE_MAX => Begin::Counted(digits + 1, length),
        Some(_) => Begin::Line,
    }
}

/// The parts of a message of RFC 5424.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rfc5424<'t> {
    pub(crate) priority: i64,
    pub(crate) version: &'t str,
    pub(crate) timestamp: Option<&'t str>,
    pub(crate) host: Option<&'t str>,
    pub(crate) program: Option<&'t str>,
    pub(crate) pid: Option<&'t str>,
    pub(crate) id: Option<&'t str>,
    /// Structured data, with its brackets.
    pub(crate) data: Option<&'t str>,
    pub(crate) message: &'t str,
}

impl<'t> Rfc5424<'t> {
    /// Reads a message; `None` if it is not one.
    pub(crate) fn read(text: &'t str) -> Option<Self> {
        let (priority, rest) = text.strip_prefix('<')?.split_once('>')?;
        let digits = !priority.is_empty() && priority.bytes().all(|byte| byte.is_ascii_digit());
        let priority = priority.parse().ok().filter(|priority| digits && *priority <= 191)?;
        let (version, rest) = rest.split_once(' ')?;
        if version != "1" {
            return None;
        }
        let mut rest = rest;
        let mut word = || {
            let (word, after) = rest.split_once(' ')?;
            rest = after;
            Some(Some(word).filter(|word| *word != "-"))
        };
        let (timestamp, host, program, pid, id) = (word()?, word()?, word()?, word()?, word()?);
        let (data, rest) = structured(rest)?;
        let message = match rest.strip_prefix(' ') {
            Some(message) => message.strip_prefix('\u{feff}').unwrap_or(message),
            None if rest.trim_end().is_empty() => rest,
            None => return None,
        };
        Some(Self { priority, version, timestamp, host, program, pid, id, data, message })
    }
}

/// Structured data, and what follows it.
fn structured(text: &str) -> Option<(Option<&str>, &str)> {
    if let Some(rest) = text.strip_prefix('-') {
        return Some((None, rest));
    }
    let (mut quoted, mut escaped, mut open) = (false, false, false);
    let mut end = 0;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if open => quoted = !quoted,
            '[' if !open => open = true,
            ']' if open && !quoted => {
                open = false;
                end = at + 1;
            }
            _ if open => {}
            _ => break,
        }
    }
    let (data, rest) = text.split_at_checked(end)?;
    if open || data.is_empty() { None } else { Some((Some(data), rest)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(stream: &[u8], size: usize) -> Vec<String> {
        let mut messages = Messages::default();
        let mut found: Vec<Bytes> = stream.chunks(size).flat_map(|chunk| messages.push(chunk)).collect();
        found.extend(messages.finish());
        found.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    #[test]
    fn messages_are_counted_or_end_with_a_line() {
        for size in [1, 3, 100] {
            assert_eq!(cut(b"<1>a\n<2>b\nrest", size), ["<1>a\n", "<2>b\n", "rest"]);
            assert_eq!(cut(b"5 <1>ab7 <2>c\nd\n<3>e\n", size), ["<1>ab", "<2>c\nd\n", "<3>e\n"]);
            assert_eq!(cut(b"12 monkeys\n5 <1>ab", size), ["12 monkeys\n", "<1>ab"]);
            assert_eq!(cut(b"2026-01-02 x\n", size), ["2026-01-02 x\n"]);
        }
    }

    #[test]
    fn a_message_without_end_becomes_several() {
        let stream = vec![b'x'; MESSAGE_MAX + 10];
        let lengths: Vec<usize> = cut(&stream, 1 << 16).iter().map(String::len).collect();
        assert_eq!(lengths, [MESSAGE_MAX, 10]);
    }

    #[test]
    fn messages_of_rfc_5424_are_taken_apart() {
        let text =
            "<165>1 2003-10-11T22:14:15.003Z web evntslog 7 ID47 [a@1 k=\"v \\\" ]\"][b@1] \u{feff}An event";
        let parts = Rfc5424::read(text).unwrap();
        assert_eq!((parts.priority, parts.host, parts.pid), (165, Some("web"), Some("7")));
        assert_eq!((parts.program, parts.id), (Some("evntslog"), Some("ID47")));
        assert_eq!((parts.data, parts.message), (Some("[a@1 k=\"v \\\" ]\"][b@1]"), "An event"));
        let parts = Rfc5424::read("<34>1 - - - - - - \n").unwrap();
        assert_eq!((parts.timestamp, parts.host, parts.data, parts.message), (None, None, None, "\n"));
        for other in [
            "<34>Oct 11 22:14:15 web su: x",
            "<34>2 - - - - - - x",
            "<192>1 - - - - - -",
            "x",
            "<34>1 - - - - - [a",
        ] {
            assert_eq!(Rfc5424::read(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(<[0-9]{1,3}>1 )?.{0,60}") {
            let _either = Rfc5424::read(&text);
        }

        #[test]
        fn nothing_of_a_stream_is_lost(stream in "[a-z<> \n]{0,80}", size in 1_usize..20) {
            prop_assert_eq!(cut(stream.as_bytes(), size).concat(), stream);
        }

        #[test]
        fn any_stream_is_cut(stream in proptest::collection::vec(any::<u8>(), 0..200), size in 1_usize..20) {
            cut(&stream, size);
        }
    }
}
