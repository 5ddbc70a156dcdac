//! Takes what an executor says out of its stream, message by message.
//!
//! A stream that is silent holds nothing: a message that came whole is decoded where it lies, and only one that came in
//! parts is put together, in room that grows with what came and is given back with the message.
use super::link::Link;
use bytes::{Buf, Bytes};
use prost::Message;
use proto::control::FromExecutor;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;

/// Before each message: whether it is compressed, and its length in four bytes.
const HEADER: usize = 5;

/// What one executor says.
pub(super) struct Said<T> {
    pub(super) link: Link<T>,
    messages: Messages,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Said<T> {
    pub(super) fn new(link: Link<T>, longest: usize) -> Self {
        Self { link, messages: Messages { longest, ..Messages::default() } }
    }

    /// From now on messages may be that long.
    pub(super) fn allow(&mut self, longest: usize) {
        self.messages.longest = longest;
    }

    /// The next message; `None` at the end. Nothing is lost when this is dropped before it is ready.
    pub(super) async fn message(&mut self) -> Result<Option<FromExecutor>, Status> {
        loop {
            if let Some(message) = self.messages.next()? {
                return Ok(Some(message));
            }
            match self.link.came().await? {
                None if self.messages.is_between() => return Ok(None),
                None => return Err(Status::internal("the stream ended within a message")),
                Some(data) => self.messages.came(data),
            }
        }
    }
}

/// Messages in the pieces in which they come.
#[derive(Debug, Default)]
struct Messages {
    longest: usize,
    /// What came and was not looked at.
    new: Bytes,
    /// The message of which only a part came.
    begun: Vec<u8>,
}

impl Messages {
    /// More came; what came before has been looked at.
    fn came(&mut self, data: Bytes) {
        debug_assert!(self.new.is_empty(), "all messages are taken out before more is added");
        self.new = data;
    }

    fn is_between(&self) -> bool {
        self.new.is_empty() && self.begun.is_empty()
    }

    fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        if self.begun.is_empty() {
            if let Some(length) = self.length(&self.new)?
                && let Some(message) = self.new.get(HEADER..HEADER + length)
            {
                let message = decode(message);
                self.new.advance(HEADER + length);
                self.release();
                return message.map(Some);
            }
            self.take(self.new.len());
            return Ok(None);
        }
        self.take(HEADER.saturating_sub(self.begun.len()));
        let Some(length) = self.length(&self.begun)? else { return Ok(None) };
        self.take((HEADER + length).saturating_sub(self.begun.len()));
        match self.begun.get(HEADER..HEADER + length) {
            Some(message) => {
                let message = decode(message);
                self.begun = Vec::new();
                message.map(Some)
            }
            None => Ok(None),
        }
    }

    /// How long the message is whose header that is, if the header is whole.
    fn length(&self, from: &[u8]) -> Result<Option<usize>, Status> {
        let Some([compressed, length @ ..]) = from.first_chunk::<HEADER>() else { return Ok(None) };
        if *compressed != 0 {
            return Err(Status::unimplemented("messages are taken as they are, not compressed"));
        }
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > self.longest {
            let text = format!("a message of {length} bytes is too long: {} at most", self.longest);
            return Err(Status::resource_exhausted(text));
        }
        Ok(Some(length))
    }

    fn take(&mut self, wanted: usize) {
        let part = self.new.split_to(wanted.min(self.new.len()));
        self.begun.extend_from_slice(&part);
        self.release();
    }

    /// What was read holds on to the buffer that it came in.
    fn release(&mut self) {
        if self.new.is_empty() {
            self.new = Bytes::new();
        }
    }
}

fn decode<M: Message + Default>(message: &[u8]) -> Result<M, Status> {
    M::decode(message).map_err(|error| Status::internal(format!("a message cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{BufMut, BytesMut};
    use proptest::prelude::*;
    use proto::control::Hello;
    use proto::control::from_executor::Body as Said;
    use tonic::Code;

    const LONGEST: usize = 1000;

    fn hello(host: &str) -> FromExecutor {
        let hello = Hello { host: host.to_owned(), ..Hello::default() };
        FromExecutor { body: Some(Said::Hello(hello)) }
    }

    fn written(messages: &[FromExecutor]) -> BytesMut {
        let mut stream = BytesMut::new();
        for message in messages {
            stream.put_u8(0);
            stream.put_u32(message.encoded_len().try_into().unwrap());
            message.encode(&mut stream).unwrap();
        }
        stream
    }

    /// Everything that comes out when the stream comes in such parts.
    fn read(stream: &[u8], parts: &[usize]) -> Result<(Vec<FromExecutor>, Messages), Status> {
        let mut messages = Messages { longest: LONGEST, ..Messages::default() };
        let (mut out, mut rest, mut parts) = (Vec::new(), stream, parts.iter().cycle());
        while !rest.is_empty() {
            let (part, after) = rest.split_at((*parts.next().unwrap()).clamp(1, rest.len()));
            rest = after;
            messages.came(Bytes::copy_from_slice(part));
            while let Some(message) = messages.next()? {
                out.push(message);
            }
        }
        Ok((out, messages))
    }

    #[test]
    fn a_message_that_is_too_long_or_compressed_is_refused_by_its_header() {
        let mut long = BytesMut::from(&[0][..]);
        long.put_u32(1001);
        let refused = read(&long, &[2]).unwrap_err();
        assert_eq!(refused.message(), "a message of 1001 bytes is too long: 1000 at most");
        let compressed = read(&[1, 0, 0, 0, 1, 0], &[6]).unwrap_err();
        assert_eq!(compressed.code(), Code::Unimplemented);
    }

    #[test]
    fn a_header_alone_takes_no_room_for_what_it_promises() {
        let (_, messages) = read(&[0, 0, 0, 3, 0xe8], &[5]).unwrap();
        assert!(messages.begun.capacity() < 100 && !messages.is_between());
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_and_in_order_in_whatever_parts_they_come_in_and_leave_nothing_behind(
            hosts in prop::collection::vec("[a-z]{0,40}", 0..8), parts in prop::collection::vec(1..90usize, 1..8),
        ) {
            let said: Vec<FromExecutor> = hosts.iter().map(|host| hello(host)).collect();
            let (heard, messages) = read(&written(&said), &parts).unwrap();
            prop_assert_eq!(heard, said);
            prop_assert!(messages.is_between());
            prop_assert_eq!(messages.begun.capacity(), 0);
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            stream in prop::collection::vec(any::<u8>(), 0..200), parts in prop::collection::vec(1..50usize, 1..8),
        ) {
            read(&stream, &parts).ok();
        }
    }
}
