//! Reads streams of the Lumberjack protocol, in which Beats send events, in both of its versions.
use bytes::Bytes;

use crate::unpack::{Packing, Unpackable, unpack};

/// The most fields of an event in version 1.
const FIELDS_MAX: usize = 10_000;
/// A window of more events, or of more bytes, comes in several parts.
const PART_EVENTS: usize = 8192;
const PART_BYTES: usize = 16 << 20;
/// What was read is thrown away when it is so much.
const READ_MAX: usize = 256 << 10;

/// Events that are acknowledged together: a window, or a part of a large one.
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
    #[error("a compressed frame holds another one")]
    Nested,
    #[error("a compressed frame cannot be read")]
    Packed(#[source] Unpackable),
}

/// Reads a stream, whatever the borders of its chunks. No more of it is made into windows than is asked for: a few bytes can
/// be very many windows.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: Unread,
    /// What a compressed frame holds, while not all of it was read.
    packed: Option<Unread>,
    longest: usize,
    /// How many events are acknowledged together, and how many of them have come.
    window: u32,
    come: u32,
    open: Option<Window>,
}

/// Bytes that were not read yet.
#[derive(Debug, Default)]
struct Unread {
    bytes: Vec<u8>,
    /// Up to where they were read.
    at: usize,
    /// How many there have to be from there on before it is worth looking again.
    needed: usize,
}

/// What stands at the start of a buffer.
enum Frame {
    Size(u8, u32),
    Event(u8, u32, Message),
    Packed(Bytes),
}

/// The place up to which a frame was read.
struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
    /// How many bytes there have to be; more than there are when the frame is not whole.
    needed: usize,
    /// How long texts may be, and may still be together.
    longest: usize,
    left: usize,
}

impl<'b> Cursor<'b> {
    fn new(bytes: &'b [u8], longest: usize) -> Self {
        Self { bytes, at: 0, needed: 0, longest, left: longest }
    }

    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        self.needed = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..self.needed)?;
        self.at = self.needed;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// A length and as many bytes.
    fn bytes(&mut self) -> Result<Option<&'b [u8]>, Invalid> {
        let Some(length) = self.number() else { return Ok(None) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(left) = self.left.checked_sub(length) else {
            return Err(Invalid::TooLong(length.saturating_add(self.longest - self.left)));
        };
        self.left = left;
        Ok(self.take(length))
    }

    /// The frame that begins here, if all of it is there.
    fn frame(&mut self) -> Result<Option<Frame>, Invalid> {
        let Some(version) = self.byte() else { return Ok(None) };
        if !matches!(version, b'1' | b'2') {
            return Err(Invalid::Version(version));
        }
        let Some(kind) = self.byte() else { return Ok(None) };
        match kind {
            b'W' => Ok(self.number().map(|window| Frame::Size(version, window))),
            b'C' => Ok(self.bytes()?.map(|packed| Frame::Packed(Bytes::copy_from_slice(packed)))),
            b'J' => {
                let Some(number) = self.number() else { return Ok(None) };
                let json = self.bytes()?.map(|json| Message::Json(Bytes::copy_from_slice(json)));
                Ok(json.map(|json| Frame::Event(version, number, json)))
            }
            b'D' => {
                let Some(number) = self.number() else { return Ok(None) };
                Ok(self.fields()?.map(|fields| Frame::Event(version, number, Message::Fields(fields))))
            }
            other => Err(Invalid::Frame(other)),
        }
    }

    fn fields(&mut self) -> Result<Option<Vec<(Bytes, Bytes)>>, Invalid> {
        let Some(count) = self.number() else { return Ok(None) };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > FIELDS_MAX {
            return Err(Invalid::Fields(count));
        }
        // Nothing is copied before all of it is there.
        let mut fields = Vec::new();
        for _ in 0..count {
            let Some(name) = self.bytes()? else { return Ok(None) };
            let Some(value) = self.bytes()? else { return Ok(None) };
            fields.push((name, value));
        }
        let copied = |(name, value)| (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value));
        Ok(Some(fields.into_iter().map(copied).collect()))
    }
}

impl Unread {
    fn push(&mut self, chunk: &[u8]) {
        if self.at == self.bytes.len() || self.at > READ_MAX.max(self.bytes.len() / 2) {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(chunk);
    }

    fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next frame and how many bytes it is, if all of it is there. It stays until it is [passed](Self::pass).
    fn frame(&mut self, longest: usize) -> Result<Option<(Frame, usize)>, Invalid> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.len() < self.needed {
            return Ok(None);
        }
        let mut cursor = Cursor::new(rest, longest);
        let frame = cursor.frame()?;
        self.needed = if frame.is_some() { 0 } else { cursor.needed };
        Ok(frame.map(|frame| (frame, cursor.at)))
    }

    fn pass(&mut self, size: usize) {
        self.at += size;
    }
}

impl Reader {
    /// Reads frames of up to `longest` bytes, unpacked.
    pub(crate) fn new(longest: usize) -> Self {
        Self { stream: Unread::default(), packed: None, longest, window: 0, come: 0, open: None }
    }

    /// Takes a chunk, to be read by [`next`](Self::next).
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.stream.push(chunk);
    }

    /// The next window, if all of it has come.
    pub(crate) fn next(&mut self) -> Result<Option<Window>, Invalid> {
        loop {
            let is_inside = self.packed.is_some();
            let unread = self.packed.as_mut().unwrap_or(&mut self.stream);
            let Some((frame, size)) = unread.frame(self.longest)? else {
                match self.packed.take() {
                    None => return Ok(None),
                    Some(unread) if unread.is_empty() => continue,
                    Some(_) => return Err(Invalid::CutOff),
                }
            };
            if matches!(frame, Frame::Size(..))
                && let Some(open) = self.open.take()
            {
                // Whatever is still open is all that there will be of it.
                return Ok(Some(open));
            }
            unread.pass(size);
            match frame {
                Frame::Size(version, window) => {
                    (self.window, self.come) = (window, 0);
                    if window == 0 {
                        return Ok(Some(Window { version, last: 0, messages: Vec::new(), size: 0 }));
                    }
                }
                Frame::Event(version, last, message) => {
                    if let Some(window) = self.add(version, last, message, size) {
                        return Ok(Some(window));
                    }
                }
                // Nobody packs what is packed, and there is no end to how often it could be.
                Frame::Packed(_) if is_inside => return Err(Invalid::Nested),
                Frame::Packed(packed) => {
                    let bytes = unpack(&packed, Packing::Deflate, self.longest).map_err(Invalid::Packed)?;
                    self.packed = Some(Unread { bytes, ..Unread::default() });
                }
            }
        }
    }

    /// Adds an event to the open window; returns it when it is whole, or large enough.
    fn add(&mut self, version: u8, last: u32, message: Message, size: usize) -> Option<Window> {
        let empty = || Window { version, last, messages: Vec::new(), size: 0 };
        let open = self.open.get_or_insert_with(empty);
        open.last = last;
        open.size += size;
        open.messages.push(message);
        self.come = self.come.saturating_add(1);
        if self.come >= self.window.max(1) {
            self.come = 0;
            return self.open.take();
        }
        self.open.take_if(|open| open.messages.len() >= PART_EVENTS || open.size >= PART_BYTES)
    }

    /// Whether a window or a frame is not whole yet.
    pub(crate) fn is_amid(&self) -> bool {
        self.open.is_some() || self.come > 0 || self.packed.is_some() || !self.stream.is_empty()
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

    /// A frame with other frames, compressed.
    fn packed(frames: &[u8]) -> Vec<u8> {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(frames).unwrap();
        let packed = zlib.finish().unwrap();
        [&b"2C"[..], &number(packed.len()), &packed].concat()
    }

    /// A window of JSON events, compressed or not.
    pub(crate) fn window(events: &[&str], packed: bool) -> Vec<u8> {
        let mut frames = Vec::new();
        for (nth, event) in events.iter().enumerate() {
            frames.extend([&b"2J"[..], &number(nth + 1), &number(event.len()), event.as_bytes()].concat());
        }
        if packed {
            frames = self::packed(&frames);
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
            reader.push(chunk);
            while let Some(window) = reader.next()? {
                windows.push(window);
            }
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
    fn compressed_frames_in_compressed_frames_are_refused_however_deep_they_are() {
        let mut frame = window(&["{}"], true);
        for _ in 0..3000 {
            frame = packed(&frame);
        }
        let mut reader = Reader::new(1 << 20);
        reader.push(&frame);
        assert!(matches!(reader.next(), Err(Invalid::Nested)));
    }

    #[test]
    fn windows_are_made_one_by_one_however_many_a_compressed_frame_holds() {
        let mut reader = Reader::new(1 << 20);
        reader.push(&packed(&b"2W\0\0\0\0".repeat(100_000)));
        for _ in 0..100_000 {
            assert!(reader.next().unwrap().is_some());
            assert!(reader.open.is_none() && reader.is_amid());
        }
        assert!(reader.next().unwrap().is_none() && !reader.is_amid());
    }

    #[test]
    fn a_large_window_comes_in_parts_with_the_number_of_their_last_event() {
        let events = vec!["{}"; PART_EVENTS + 2];
        let mut reader = Reader::new(1 << 20);
        reader.push(&[window(&events, true), window(&["{}"], false)].concat());
        let mut next = || reader.next().unwrap().map(|window| (window.messages.len(), window.last as usize));
        assert_eq!(next(), Some((PART_EVENTS, PART_EVENTS)));
        assert_eq!(next(), Some((2, PART_EVENTS + 2)));
        assert_eq!((next(), next()), (Some((1, 1)), None));
    }

    #[test]
    fn a_long_frame_that_comes_byte_by_byte_is_looked_at_only_when_it_may_be_whole() {
        let text = format!("\"{}\"", "x".repeat(5000));
        for frame in [window(&[&text], false), old_window(&[("line", &text), ("b", "c")])] {
            let (start, rest) = frame.split_at(frame.len() - 4000);
            let mut reader = Reader::new(10_000);
            reader.push(start);
            assert!(reader.next().unwrap().is_none());
            let needed = reader.stream.needed;
            assert!(needed > start.len() - 6, "{needed} of {}", frame.len());
            let mut found = 0;
            for byte in rest {
                reader.push(&[*byte]);
                found += usize::from(reader.next().unwrap().is_some());
            }
            assert_eq!(found, 1);
        }
    }

    #[test]
    fn the_fields_of_an_event_are_no_longer_together_than_a_frame() {
        let long = "x".repeat(6000);
        assert!(matches!(
            read(&old_window(&[("a", &long), ("b", &long)]), 100),
            Err(Invalid::TooLong(12_002))
        ));
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
