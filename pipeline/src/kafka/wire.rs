//! Writes requests to Kafka and reads its answers: metadata, produce, login. Decides nothing and does nothing.
//!
//! The versions used are spoken by brokers from 1.0 on: Metadata 4, Produce 3, SaslHandshake 1, SaslAuthenticate 0.
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::io::Write as _;

/// An event as Kafka stores it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// Milliseconds since 1970.
    pub(crate) time_ms: i64,
}

/// What brokers know of themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Where each is, by number.
    pub(crate) brokers: BTreeMap<i32, (String, u16)>,
    pub(crate) topics: BTreeMap<String, Topic>,
}

/// What is known of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topic {
    /// 0 is none.
    pub(crate) error: i16,
    /// The broker that leads each partition, by number; none when there is none for now.
    pub(crate) leaders: BTreeMap<i32, Option<i32>>,
}

/// Records of one partition, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) batch: Vec<u8>,
}

/// An answer ends too early or is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer cannot be read")]
pub(crate) struct Unreadable;

/// No more than its length can say: what follows would be read as something else.
fn put_text(text: &str, out: &mut Vec<u8>) {
    let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes().get(..usize::from(length.unsigned_abs())).unwrap_or_default());
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&i32::try_from(count).unwrap_or(i32::MAX).to_be_bytes());
}

/// What a request is: the number of its API, and its version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Api(i16, i16);

pub(crate) const PRODUCE: Api = Api(0, 3);
pub(crate) const METADATA: Api = Api(3, 4);
pub(crate) const SASL_HANDSHAKE: Api = Api(17, 1);
pub(crate) const SASL_AUTHENTICATE: Api = Api(36, 0);

/// A whole request, with its length before it.
pub(crate) fn request(api: Api, correlation: i32, client_id: &str, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend_from_slice(&api.0.to_be_bytes());
    out.extend_from_slice(&api.1.to_be_bytes());
    out.extend_from_slice(&correlation.to_be_bytes());
    put_text(client_id, &mut out);
    out.extend_from_slice(body);
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX).to_be_bytes();
    out.splice(0..4, length);
    out
}

/// Asks for topics; they are made when they are not there and the brokers allow it.
pub(crate) fn metadata_body<'t>(topics: impl ExactSizeIterator<Item = &'t str>) -> Vec<u8> {
    let mut out = Vec::new();
    put_count(topics.len(), &mut out);
    topics.for_each(|topic| put_text(topic, &mut out));
    out.push(1);
    out
}

/// Names the mechanism of the login.
pub(crate) fn handshake_body(mechanism: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(mechanism, &mut out);
    out
}

/// What is said in a login.
pub(crate) fn words_body(words: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(words.as_bytes(), &mut out);
    out
}

/// Asks for records to be stored.
pub(crate) fn produce_body(acks: i16, timeout_ms: i32, parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out.extend_from_slice(&acks.to_be_bytes());
    out.extend_from_slice(&timeout_ms.to_be_bytes());
    let mut topics: BTreeMap<&str, Vec<&Part>> = BTreeMap::new();
    parts.iter().for_each(|part| topics.entry(part.topic.as_str()).or_default().push(part));
    put_count(topics.len(), &mut out);
    for (topic, parts) in topics {
        put_text(topic, &mut out);
        put_count(parts.len(), &mut out);
        for part in parts {
            out.extend_from_slice(&part.partition.to_be_bytes());
            put_bytes(&part.batch, &mut out);
        }
    }
    out
}

/// Records of one partition as one batch (format 2), compressed with gzip if asked to.
pub(crate) fn batch(records: &[&Record], gzip: bool) -> Vec<u8> {
    let first = records.iter().map(|record| record.time_ms).min().unwrap_or(0);
    let last = records.iter().map(|record| record.time_ms).max().unwrap_or(0);
    let mut inner = Vec::new();
    let mut one = Vec::new();
    for (nth, record) in (0_i64..).zip(records) {
        one.clear();
        one.push(0);
        put_varint(record.time_ms - first, &mut one);
        put_varint(nth, &mut one);
        match &record.key {
            Some(key) => put_varbytes(key, &mut one),
            None => put_varint(-1, &mut one),
        }
        put_varbytes(&record.value, &mut one);
        put_varint(record.headers.len() as i64, &mut one);
        for (name, value) in &record.headers {
            put_varbytes(name.as_bytes(), &mut one);
            put_varbytes(value, &mut one);
        }
        put_varbytes(&one, &mut inner);
    }
    let packed = gzip.then(|| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&inner).and_then(|()| packed.finish())
    });
    // Writing into memory does not fail; uncompressed is as good.
    let (attributes, inner) = match packed {
        Some(Ok(packed)) => (1_i16, packed),
        _ => (0, inner),
    };
    let mut checked = Vec::with_capacity(inner.len() + 64);
    checked.extend_from_slice(&attributes.to_be_bytes());
    checked.extend_from_slice(&i32::try_from(records.len().saturating_sub(1)).unwrap_or(0).to_be_bytes());
    checked.extend_from_slice(&first.to_be_bytes());
    checked.extend_from_slice(&last.to_be_bytes());
    checked.extend_from_slice(&(-1_i64).to_be_bytes());
    checked.extend_from_slice(&(-1_i16).to_be_bytes());
    checked.extend_from_slice(&(-1_i32).to_be_bytes());
    put_count(records.len(), &mut checked);
    checked.extend_from_slice(&inner);
    let mut out = Vec::with_capacity(checked.len() + 21);
    out.extend_from_slice(&0_i64.to_be_bytes());
    put_count(checked.len() + 9, &mut out);
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    out.push(2);
    out.extend_from_slice(&crc32c(&checked).to_be_bytes());
    out.extend_from_slice(&checked);
    out
}

fn put_varint(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_varbytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// The CRC-32C (Castagnoli).
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let (mut crc, mut bit) = (n as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
                bit += 1;
            }
            #[allow(clippy::indexing_slicing, reason = "it is known when this is compiled that it fits")]
            {
                table[n] = crc;
            }
            n += 1;
        }
        table
    };
    let step = |crc: u32, byte: &u8| {
        let at = ((crc ^ u32::from(*byte)) & 0xFF) as usize;
        TABLE.get(at).copied().unwrap_or(0) ^ (crc >> 8)
    };
    !bytes.iter().fold(!0, step)
}

/// The hash by which Kafka's own clients choose the partition of a key.
pub(crate) fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ (key.len() as u32);
    let mut chunks = key.chunks_exact(4);
    for chunk in chunks.by_ref() {
        let mut k = u32::from_le_bytes(chunk.try_into().unwrap_or_default()).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0_u32, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// What is left of an answer.
pub(crate) struct Rest<'b>(pub(crate) &'b [u8]);

impl<'b> Rest<'b> {
    fn take(&mut self, n: usize) -> Result<&'b [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| Unreadable)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, Unreadable> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Unreadable> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Unreadable> {
        self.array().map(i64::from_be_bytes)
    }

    /// A text; `None` when it is null.
    pub(crate) fn text(&mut self) -> Result<Option<String>, Unreadable> {
        match usize::try_from(self.i16()?) {
            Err(_) => Ok(None),
            Ok(length) => Ok(Some(String::from_utf8_lossy(self.take(length)?).into_owned())),
        }
    }

    /// Bytes with their length before them; none are no bytes.
    pub(crate) fn bytes(&mut self) -> Result<&[u8], Unreadable> {
        match usize::try_from(self.i32()?) {
            Err(_) => Ok(&[]),
            Ok(length) => self.take(length),
        }
    }

    fn each(&mut self, mut read: impl FnMut(&mut Self) -> Result<(), Unreadable>) -> Result<(), Unreadable> {
        for _ in 0..self.i32()?.max(0) {
            read(self)?;
        }
        Ok(())
    }
}

/// Reads the answer to a metadata request.
pub(crate) fn read_metadata(bytes: &[u8]) -> Result<Metadata, Unreadable> {
    let mut rest = Rest(bytes);
    let mut found = Metadata::default();
    rest.i32()?;
    rest.each(|rest| {
        let (node, host, port) = (rest.i32()?, rest.text()?.ok_or(Unreadable)?, rest.i32()?);
        rest.text()?;
        found.brokers.insert(node, (host, u16::try_from(port).map_err(|_| Unreadable)?));
        Ok(())
    })?;
    rest.text()?;
    rest.i32()?;
    rest.each(|rest| {
        let (error, name) = (rest.i16()?, rest.text()?.ok_or(Unreadable)?);
        rest.take(1)?;
        let mut topic = Topic { error, ..Topic::default() };
        rest.each(|rest| {
            let (_error, partition, leader) = (rest.i16()?, rest.i32()?, rest.i32()?);
            rest.each(|rest| rest.i32().map(drop))?;
            rest.each(|rest| rest.i32().map(drop))?;
            topic.leaders.insert(partition, (leader >= 0).then_some(leader));
            Ok(())
        })?;
        found.topics.insert(name, topic);
        Ok(())
    })?;
    Ok(found)
}

/// Reads the answer to a produce request: the error of each partition, 0 for none.
pub(crate) fn read_produce(bytes: &[u8]) -> Result<Vec<(String, i32, i16)>, Unreadable> {
    let mut rest = Rest(bytes);
    let mut found = Vec::new();
    rest.each(|rest| {
        let topic = rest.text()?.ok_or(Unreadable)?;
        rest.each(|rest| {
            let (partition, error) = (rest.i32()?, rest.i16()?);
            rest.i64()?;
            rest.i64()?;
            found.push((topic.clone(), partition, error));
            Ok(())
        })
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn checksums_and_hashes_are_those_of_others() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!([murmur2(b"21"), murmur2(b"foobar")].map(u32::cast_signed), [-973_932_308, -790_332_482]);
        assert_eq!(murmur2(b"a-little-bit-long-string").cast_signed(), -985_981_536);
    }

    #[test]
    fn a_batch_has_its_length_its_checksum_and_its_records() {
        let record =
            Record { key: Some(b"k".to_vec()), value: b"v".to_vec(), time_ms: 5, ..Record::default() };
        let bytes = batch(&[&record, &record], false);
        assert_eq!(i32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize, bytes.len() - 12);
        assert_eq!(u32::from_be_bytes(bytes[17..21].try_into().unwrap()), crc32c(&bytes[21..]));
        // length 8, attributes, time +0, offset +0, key, value, no headers; the second one has offset +1.
        assert_eq!(bytes[61..], [16, 0, 0, 0, 2, b'k', 2, b'v', 0, 16, 0, 0, 2, 2, b'k', 2, b'v', 0]);
    }

    #[test]
    fn a_text_is_never_longer_than_its_length_says() {
        for length in [0, 1, 32_767, 32_768, 100_000] {
            let mut out = Vec::new();
            put_text(&"x".repeat(length), &mut out);
            assert_eq!(usize::from(u16::from_be_bytes([out[0], out[1]])), out.len() - 2);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_answers_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _either = (read_metadata(&bytes), read_produce(&bytes));
        }
    }
}
