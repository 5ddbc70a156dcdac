//! Plays the client: what a connection makes of what comes, in whatever parts.
use super::*;
use proptest::prelude::*;

/// A request for what is served here: the path as a plain text.
fn request(stream: u32, flags: Flags) -> Vec<u8> {
    let path = b"/logherd.control.v1.Control/Attach";
    let fields = [&[0x83, 0x04, path.len() as u8][..], path].concat();
    framed(Kind::HEADERS, Flags::END_HEADERS.and(flags), stream, &fields)
}

fn framed(kind: Kind, flags: Flags, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, kind, flags, stream, payload);
    out
}

/// A connection whose client has asked and heard the settings.
fn asked() -> Connection {
    let mut connection = Connection::new();
    connection.receive(PREFACE).unwrap();
    connection.receive(&framed(Kind::SETTINGS, Flags::NONE, 0, &[])).unwrap();
    connection.receive(&request(1, Flags::NONE)).unwrap();
    written(&mut connection);
    connection
}

/// All frames that can be written now: kind, stream and payload of each.
fn written(connection: &mut Connection) -> Vec<(Kind, u32, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let next = connection.unwritten().to_vec();
        if next.is_empty() {
            break;
        }
        connection.wrote(next.len());
        bytes.extend(next);
    }
    let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((head, payload)) = Head::of(rest) {
        let (payload, after) = payload.split_at(head.length);
        frames.push((head.kind, head.stream, payload.to_vec()));
        rest = after;
    }
    assert!(rest.is_empty());
    frames
}

fn kinds(connection: &mut Connection) -> Vec<Kind> {
    written(connection).into_iter().map(|(kind, ..)| kind).collect()
}

/// What came on the stream, together.
fn inbox(connection: &mut Connection) -> Vec<u8> {
    std::iter::from_fn(|| connection.came()).flatten().collect()
}

#[test]
fn a_client_is_greeted_and_its_settings_and_pings_are_answered() {
    let mut connection = Connection::new();
    connection.receive(PREFACE).unwrap();
    connection.receive(&framed(Kind::SETTINGS, Flags::NONE, 0, &[])).unwrap();
    connection.receive(&framed(Kind::PING, Flags::NONE, 0, b"01234567")).unwrap();
    connection.receive(&framed(Kind::PING, Flags::ACK, 0, b"01234567")).unwrap();
    let expected = [
        (Kind::SETTINGS, 0, vec![0, 3, 0, 0, 0, 1]),
        (Kind::SETTINGS, 0, vec![]),
        (Kind::PING, 0, b"01234567".to_vec()),
    ];
    assert_eq!(written(&mut connection), expected);
    assert_eq!(connection.asked(), None);
}

#[test]
fn what_is_sent_waits_for_the_windows_of_the_stream_and_of_the_connection() {
    let mut connection = asked();
    connection.answer(&[0x88]);
    connection.send(Bytes::from(vec![7; 100_000]));
    let frames = written(&mut connection);
    assert_eq!(frames[0], (Kind::HEADERS, 1, vec![0x88]));
    let sent = |frames: &[(Kind, u32, Vec<u8>)]| -> usize {
        let data = frames.iter().filter(|(kind, ..)| *kind == Kind::DATA);
        data.map(|(_, _, payload)| payload.len()).sum()
    };
    assert_eq!(sent(&frames), 65_535);
    let more = |stream, bytes: u32| framed(Kind::WINDOW_UPDATE, Flags::NONE, stream, &bytes.to_be_bytes());
    connection.receive(&more(0, 1000)).unwrap();
    assert_eq!(sent(&written(&mut connection)), 0);
    connection.receive(&more(1, 400)).unwrap();
    assert_eq!(sent(&written(&mut connection)), 400);
    // Settings change the windows of streams, but not that of the connection.
    let initial = [&[0, 4][..], &65_635u32.to_be_bytes()].concat();
    connection.receive(&framed(Kind::SETTINGS, Flags::NONE, 0, &initial)).unwrap();
    assert_eq!(sent(&written(&mut connection)), 100);
    connection.receive(&more(0, 100_000)).unwrap();
    connection.receive(&more(1, 100_000)).unwrap();
    assert_eq!(sent(&written(&mut connection)), 100_000 - 65_535 - 500);
    assert!(connection.is_sent());
}

#[test]
fn a_client_may_send_on_as_what_it_sent_is_taken_out_and_not_before() {
    let mut connection = asked();
    let mut sent = 0;
    let data = framed(Kind::DATA, Flags::NONE, 1, &[1; 16_000]);
    for _ in 0..4 {
        connection.receive(&data).unwrap();
    }
    assert_eq!(kinds(&mut connection), [], "nothing was taken out");
    while connection.came().is_some() {
        sent += 1;
    }
    assert_eq!(sent, 4);
    let told = written(&mut connection);
    assert!(
        told.iter().all(|(kind, ..)| *kind == Kind::WINDOW_UPDATE) && told.len().is_multiple_of(2),
        "{told:?}"
    );
    // What it was not told of yet stays taken: 48,000 of the 64,000 came in time for a frame.
    for _ in 0..3 {
        connection.receive(&data).unwrap();
    }
    assert_eq!(connection.receive(&data), Err(Broken("more came than was allowed")));
}

#[test]
fn a_connection_that_is_silent_holds_no_buffers() {
    let mut connection = asked();
    connection.answer(&[0x88]);
    connection.send(Bytes::from(vec![7; 3000]));
    let (first, second) = (framed(Kind::DATA, Flags::NONE, 1, &[1; 3000]), [0, 0, 1]);
    connection.receive(&first[..1000]).unwrap();
    connection.receive(&first[1000..]).unwrap();
    assert_eq!(inbox(&mut connection), [1; 3000]);
    written(&mut connection);
    let held = |connection: &Connection| {
        connection.begun.capacity() + connection.out.capacity() + connection.inbox.capacity()
    };
    assert_eq!((held(&connection), connection.sending.len()), (0, 0));
    connection.receive(&second).unwrap();
    assert!(held(&connection) < 32);
}

#[test]
fn a_second_stream_is_refused_and_does_not_disturb_the_first() {
    let mut connection = asked();
    connection.receive(&request(3, Flags::NONE)).unwrap();
    connection.receive(&framed(Kind::DATA, Flags::NONE, 3, b"lost")).unwrap();
    connection.receive(&framed(Kind::DATA, Flags::END_STREAM, 1, b"kept")).unwrap();
    assert_eq!(inbox(&mut connection), b"kept");
    let refused = [
        (Kind::RST_STREAM, 3, REFUSED_STREAM.to_be_bytes().to_vec()),
        (Kind::RST_STREAM, 3, STREAM_CLOSED.to_be_bytes().to_vec()),
    ];
    assert_eq!(written(&mut connection), refused);
    assert!(connection.has_ended());
}

#[test]
fn the_end_is_said_on_the_stream_and_on_the_connection() {
    let mut connection = asked();
    connection.answer(&[0x88]);
    connection.end(&[0x88]);
    assert_eq!(kinds(&mut connection), [Kind::HEADERS, Kind::HEADERS, Kind::RST_STREAM, Kind::GOAWAY]);
    let mut connection = asked();
    connection.receive(&framed(Kind::RST_STREAM, Flags::NONE, 1, &8u32.to_be_bytes())).unwrap();
    assert!(connection.has_ended());
    connection.end(&[0x88]);
    assert_eq!(kinds(&mut connection), [Kind::GOAWAY], "who went away hears nothing more of the stream");
}

#[test]
fn padding_and_priorities_are_no_content() {
    let mut connection = Connection::new();
    connection.receive(PREFACE).unwrap();
    let path = b"/logherd.control.v1.Control/Attach";
    let fields = [&[2, 0, 0, 0, 0, 16, 0x04, path.len() as u8][..], path, &[0, 0]].concat();
    let flags = Flags::END_HEADERS.and(Flags::PADDED).and(Flags::PRIORITY);
    connection.receive(&framed(Kind::HEADERS, flags, 1, &fields)).unwrap();
    assert_eq!(connection.asked(), Some(true));
    connection.receive(&framed(Kind::DATA, Flags::PADDED, 1, &[3, b'a', b'b', 0, 0, 0])).unwrap();
    assert_eq!(inbox(&mut connection), b"ab");
    let padding = connection.receive(&framed(Kind::DATA, Flags::PADDED, 1, &[3, 0, 0]));
    assert_eq!(padding, Err(Broken("a frame is shorter than its padding")));
}

#[test]
fn what_http_2_does_not_allow_breaks_the_connection() {
    let wrong = [
        framed(Kind::PING, Flags::NONE, 0, b"short"),
        framed(Kind::SETTINGS, Flags::NONE, 0, &[0, 4, 0]),
        framed(Kind::SETTINGS, Flags::NONE, 0, &[0, 4, 0x80, 0, 0, 0]),
        framed(Kind::WINDOW_UPDATE, Flags::NONE, 0, &[0; 4]),
        framed(Kind::WINDOW_UPDATE, Flags::NONE, 1, &[0x7f, 0xff, 0xff, 0xff]),
        framed(Kind::PUSH_PROMISE, Flags::END_HEADERS, 2, &[0; 4]),
        framed(Kind::CONTINUATION, Flags::END_HEADERS, 1, &[]),
        vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1],
    ];
    for frame in wrong {
        asked().receive(&frame).unwrap_err();
    }
    let mut connection = Connection::new();
    let why = connection.receive(b"GET / HTTP/1.1\r\n").unwrap_err();
    assert_eq!(why.to_string(), "it is not HTTP/2 what came");
    connection.give_up(why);
    assert_eq!(kinds(&mut connection), [Kind::GOAWAY]);
}

#[test]
fn while_a_client_does_not_read_its_questions_are_not_taken_in() {
    let mut connection = asked();
    let ping = framed(Kind::PING, Flags::NONE, 0, b"01234567");
    let mut asked = 0;
    while connection.takes_more() {
        connection.receive(&ping).unwrap();
        asked += 1;
    }
    assert_eq!(asked, UNWRITTEN_MAX.div_ceil(ping.len()));
    assert_eq!(written(&mut connection).len(), asked);
    assert!(connection.takes_more());
}

proptest! {
    #[test]
    fn it_is_the_same_in_whatever_parts_it_comes(
        messages in prop::collection::vec((0..3000usize, 0..4u8), 0..12), parts in prop::collection::vec(1..2000usize, 1..8),
    ) {
        let mut stream = PREFACE.to_vec();
        stream.extend(framed(Kind::SETTINGS, Flags::NONE, 0, &[]));
        stream.extend(request(1, Flags::NONE));
        let mut expected = Vec::new();
        for (length, what) in messages {
            let content: Vec<u8> = (0..length).map(|at| at as u8).collect();
            match what {
                0 => stream.extend(framed(Kind::PING, Flags::NONE, 0, b"01234567")),
                1 => stream.extend(framed(Kind::GOAWAY, Flags::NONE, 0, &content)),
                _ => {
                    stream.extend(framed(Kind::DATA, Flags::NONE, 1, &content));
                    expected.extend(content);
                }
            }
        }
        let (mut connection, mut rest, mut parts) = (Connection::new(), &stream[..], parts.iter().cycle());
        let mut came = Vec::new();
        while !rest.is_empty() {
            let (part, after) = rest.split_at((*parts.next().unwrap()).min(rest.len()));
            connection.receive(part).unwrap();
            came.extend(inbox(&mut connection));
            rest = after;
        }
        prop_assert_eq!(came, expected);
        let mut whole = Connection::new();
        whole.receive(&stream).unwrap();
        inbox(&mut whole);
        let answers = |connection: &mut Connection| -> Vec<Kind> {
            kinds(connection).into_iter().filter(|kind| *kind != Kind::WINDOW_UPDATE).collect()
        };
        prop_assert_eq!(answers(&mut whole), answers(&mut connection));
        prop_assert_eq!(connection.begun.capacity(), 0);
    }

    #[test]
    fn whatever_comes_is_taken_or_refused(
        frames in prop::collection::vec((0..11u8, any::<u8>(), 0..4u32, prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        rubbish in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut connection = asked();
        for (kind, flags, stream, payload) in frames {
            let mut bytes = framed(Kind::PING, Flags::NONE, stream, &payload);
            (bytes[3], bytes[4]) = (kind, flags);
            if connection.receive(&bytes).is_err() {
                return Ok(());
            }
            connection.came();
            written(&mut connection);
        }
        connection.receive(&rubbish).ok();
    }
}
