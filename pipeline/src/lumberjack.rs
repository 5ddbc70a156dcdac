//! Reads streams of the Lumberjack protocol, in which Beats send events, in both of its versions.
use bytes::Bytes;

use crate::unpack::{Packing, Unpackable, unpack};

/// The most fields of an event in version 1.
const FIELDS_MAX: usize = 10_000;

/// Events that are acknowledged together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The version of the protocol: `1` or `2`, as a letter.
    pub(crate) version: u8,
    /// The number of the last event, which is what is acknowledged.
    pub(crate) last: u32,
    pub(crate) messages: Vec<Message>,
    /// How many bytes they were.
    pub(crate) size: usize,
}

/// An event on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A JSON document.
    Json(Bytes),
    /// Names and values.
    Fields(Vec<(Bytes, Bytes)>),
}

/// Why a stream is no Lumberjack.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("there is no version {0:#04x} of the protocol")]
    Version(u8),
    #[error("there is no frame of type {0:#04x}")]
    Frame(u8),
    #[error("a frame of {0} bytes is longer than allowed")]
    TooLong(usize),
    #[error("an event has {0} fields")]
    Fields(usize),
    #[error("a compressed frame does not hold whole frames")]
    CutOff,
    #[error("a compressed frame cannot be read")]
    Packed(#[source] Unpackable),
}

/// Reads a stream, whatever the borders of its chunks.
#[derive(Debug)]
pub(crate) struct Reader {
    buffer: Vec<u8>,
    longest: usize,
    /// How many events are acknowledged together.
    window: u32,
    open: Option<Window>,
}

/// What stands at the start of a buffer.
enum Frame {
    Size(u8, u32),
    Event(u8, u32, Message),
    Packed(Bytes),
}

/// A buffer with the place up to which it was read.
struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Cursor<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// A length and as many bytes.
    fn bytes(&mut self, longest: usize) -> Result<Option<Bytes>, Invalid> {
        let Some(length) = self.number() else { return Ok(None) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > longest {
            return Err(Invalid::TooLong(length));
        }
        Ok(self.take(length).map(Bytes::copy_from_slice))
    }
}

impl Reader {
    /// Reads frames of up to `longest` bytes, unpacked.
    pub(crate) fn new(longest: usize) -> Self {
        Self { buffer: Vec::new(), longest, window: 0, open: None }
    }

    /// Takes a chunk; returns the windows that became whole.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<Vec<Window>, Invalid> {
        self.buffer.extend_from_slice(chunk);
        let buffer = std::mem::take(&mut self.buffer);
        let mut windows = Vec::new();
        let used = self.frames(&buffer, &mut windows)?;
        self.buffer = buffer.get(used..).unwrap_or_default().to_vec();
        Ok(windows)
    }

    /// Reads the frames that are whole; returns how many bytes they are.
    fn frames(&mut self, bytes: &[u8], windows: &mut Vec<Window>) -> Result<usize, Invalid> {
        let mut used = 0;
        loop {
            let mut cursor = Cursor { bytes, at: used };
            let Some(frame) = self.frame(&mut cursor)? else { return Ok(used) };
            let size = cursor.at - used;
            used = cursor.at;
            match frame {
                Frame::Size(version, window) => {
                    // Whatever is still open is all that there will be of it.
                    windows.extend(self.open.take());
                    self.window = window;
                    if window == 0 {
                        windows.push(Window { version, last: 0, messages: Vec::new(), size: 0 });
                    }
                }
                Frame::Event(version, last, message) => {
                    let window = Window { version, last, messages: vec![message], size };
                    windows.extend(self.add(window));
                }
                Frame::Packed(packed) => {
                    let plain = unpack(&packed, Packing::Deflate, self.longest).map_err(Invalid::Packed)?;
                    if self.frames(&plain, windows)? != plain.len() {
                        return Err(Invalid::CutOff);
                    }
                }
            }
        }
    }

    /// Adds what came to the open window; returns it when it is whole.
    fn add(&mut self, new: Window) -> Option<Window> {
        let open = match self.open.take() {
            None => new,
            Some(mut open) => {
                open.last = new.last;
                open.size += new.size;
                open.messages.extend(new.messages);
                open
            }
        };
        if open.messages.len() >= self.window.max(1) as usize {
            return Some(open);
        }
        self.open = Some(open);
        None
    }

    /// The frame at the cursor, if all of it is there.
    fn frame(&self, cursor: &mut Cursor<'_>) -> Result<Option<Frame>, Invalid> {
        let Some(version) = cursor.byte() else { return Ok(None) };
        if !matches!(version, b'1' | b'2') {
            return Err(Invalid::Version(version));
        }
        let Some(kind) = cursor.byte() else { return Ok(None) };
        match kind {
            b'W' => Ok(cursor.number().map(|window| Frame::Size(version, window))),
            b'C' => Ok(cursor.bytes(self.longest)?.map(Frame::Packed)),
            b'J' => {
                let Some(number) = cursor.number() else { return Ok(None) };
                let json = cursor.bytes(self.longest)?;
                Ok(json.map(|json| Frame::Event(version, number, Message::Json(json))))
            }
            b'D' => {
                let (Some(number), Some(count)) = (cursor.number(), cursor.number()) else { return Ok(None) };
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                if count > FIELDS_MAX {
                    return Err(Invalid::Fields(count));
                }
                let mut fields = Vec::new();
                for _ in 0..count {
                    let Some(name) = cursor.bytes(self.longest)? else { return Ok(None) };
                    let Some(value) = cursor.bytes(self.longest)? else { return Ok(None) };
                    fields.push((name, value));
                }
                Ok(Some(Frame::Event(version, number, Message::Fields(fields))))
            }
            other => Err(Invalid::Frame(other)),
        }
    }

    /// Whether a window or a frame is not whole yet.
    pub(crate) fn is_amid(&self) -> bool {
        self.open.is_some() || !self.buffer.is_empty()
    }
}

/// The frame that acknowledges all events up to `number`.
pub(crate) fn acknowledgement(version: u8, number: u32) -> [u8; 6] {
    let [a, b, c, d] = number.to_be_bytes();
    [version, b'A', a, b, c, d]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;
    use std::io::Write;

    fn number(number: usize) -> [u8; 4] {
        u32::try_from(number).unwrap().to_be_bytes()
    }

    /// A window of JSON events, compressed or not.
    pub(crate) fn window(events: &[&str], packed: bool) -> Vec<u8> {
        let mut frames = Vec::new();
        for (nth, event) in events.iter().enumerate() {
            frames.extend([&b"2J"[..], &number(nth + 1), &number(event.len()), event.as_bytes()].concat());
        }
        if packed {
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
            zlib.write_all(&frames).unwrap();
            let packed = zlib.finish().unwrap();
            frames = [&b"2C"[..], &number(packed.len()), &packed].concat();
        }
        [&b"2W"[..], &number(events.len()), &frames].concat()
    }

    /// A window of one event of version 1.
    pub(crate) fn old_window(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = [&b"1W"[..], &number(1), b"1D", &number(7), &number(fields.len())].concat();
        for (name, value) in fields {
            for part in [name, value] {
                out.extend([&number(part.len())[..], part.as_bytes()].concat());
            }
        }
        out
    }

    fn read(stream: &[u8], size: usize) -> Result<Vec<Window>, Invalid> {
        let mut reader = Reader::new(10_000);
        let mut windows = Vec::new();
        for chunk in stream.chunks(size) {
            windows.extend(reader.push(chunk)?);
        }
        Ok(windows)
    }

    proptest! {
        #[test]
        fn windows_do_not_depend_on_chunk_borders(
            sizes in proptest::collection::vec(1_usize..5, 0..5),
            packed in any::<bool>(),
            size in 1_usize..60,
        ) {
            let events = ["{\"a\":1}", "{}", "{\"message\":\"x\"}", "{\"b\":[]}"];
            let stream: Vec<u8> = sizes.iter().flat_map(|n| window(&events[..*n], packed)).collect();
            let windows = read(&stream, size).unwrap();
            prop_assert_eq!(windows.len(), sizes.len());
            for (window, count) in windows.iter().zip(sizes) {
                prop_assert_eq!((window.version, window.last as usize), (b'2', count));
                let expected: Vec<Message> =
                    events[..count].iter().map(|e| Message::Json(Bytes::copy_from_slice(e.as_bytes()))).collect();
                prop_assert_eq!(&window.messages, &expected);
            }
        }

        #[test]
        fn any_stream_is_read_or_refused(
            stream in proptest::collection::vec(prop_oneof![Just(b'2'), Just(b'J'), Just(b'C'), Just(0), any::<u8>()], 0..80),
            size in 1_usize..20,
        ) {
            let _either = read(&stream, size);
        }
    }

    #[test]
    fn events_of_version_1_have_fields() {
        let windows = read(&old_window(&[("line", "x"), ("host", "web")]), 3).unwrap();
        let fields = vec![(Bytes::from("line"), Bytes::from("x")), (Bytes::from("host"), Bytes::from("web"))];
        assert_eq!(
            windows[0],
            Window { version: b'1', last: 7, messages: vec![Message::Fields(fields)], size: 38 }
        );
    }

    #[test]
    fn what_is_too_long_or_unknown_is_refused() {
        assert!(matches!(read(b"GET / HTTP/1.1", 100), Err(Invalid::Version(b'G'))));
        assert!(matches!(read(b"2X", 100), Err(Invalid::Frame(b'X'))));
        assert!(matches!(read(b"2J\0\0\0\x01\xff\xff\xff\xff", 100), Err(Invalid::TooLong(_))));
        assert!(matches!(read(b"1D\0\0\0\x01\xff\xff\xff\xff", 100), Err(Invalid::Fields(_))));
        let zeros = format!("\"{}\"", "0".repeat(1 << 20));
        let bomb = window(&[&zeros], true);
        assert!(bomb.len() < 5000);
        assert!(matches!(read(&bomb, 5000), Err(Invalid::Packed(_))));
    }

    #[test]
    fn an_empty_window_is_acknowledged_and_an_unfinished_one_ends_with_the_next() {
        assert_eq!(read(b"2W\0\0\0\0", 100).unwrap()[0].messages.len(), 0);
        let mut stream = window(&["{}", "{}"], false);
        stream.truncate(stream.len() - 12);
        stream.extend(window(&["{\"b\":1}"], false));
        let counts: Vec<usize> =
            read(&stream, 7).unwrap().iter().map(|window| window.messages.len()).collect();
        assert_eq!(counts, [1, 1]);
        assert_eq!(acknowledgement(b'2', 258), [b'2', b'A', 0, 0, 1, 2]);
    }
}
