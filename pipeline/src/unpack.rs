//! Unpacks what was compressed, up to a limit: a few bytes can become very many.
use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// How something is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    /// With or without the header that it should have.
    Deflate,
}

impl Packing {
    /// The packing that `Content-Encoding` names, if any.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" | "x-deflate" => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// Why something cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unpackable {
    /// It is not packed as it should be, or cut off.
    #[error("unpack: it is damaged")]
    Damaged(#[source] std::io::Error),
    /// It becomes longer than allowed.
    #[error("unpack: it becomes longer than {0} bytes")]
    TooLong(usize),
}

impl Unpackable {
    /// Whether it is only too long.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self, Self::TooLong(_))
    }
}

/// Unpacks `bytes` to at most `longest` bytes.
pub(crate) fn unpack(bytes: &[u8], packing: Packing, longest: usize) -> Result<Vec<u8>, Unpackable> {
    match packing {
        Packing::Gzip => read(MultiGzDecoder::new(bytes), longest),
        // The header has its method in the lower half of the first byte, and the two bytes are a multiple of 31.
        Packing::Deflate => match bytes {
            [first, second, ..]
                if first & 15 == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0 =>
            {
                read(ZlibDecoder::new(bytes), longest)
            }
            _ => read(DeflateDecoder::new(bytes), longest),
        },
    }
}

fn read(from: impl Read, longest: usize) -> Result<Vec<u8>, Unpackable> {
    let mut out = Vec::new();
    from.take(longest as u64 + 1).read_to_end(&mut out).map_err(Unpackable::Damaged)?;
    if out.len() > longest { Err(Unpackable::TooLong(longest)) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(text in ".{0,200}") {
            let bytes = text.as_bytes();
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(bytes).unwrap();
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
            zlib.write_all(bytes).unwrap();
            let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
            bare.write_all(bytes).unwrap();
            prop_assert_eq!(&unpack(&gzip.finish().unwrap(), Packing::Gzip, 1000).unwrap(), bytes);
            prop_assert_eq!(&unpack(&zlib.finish().unwrap(), Packing::Deflate, 1000).unwrap(), bytes);
            prop_assert_eq!(&unpack(&bare.finish().unwrap(), Packing::Deflate, 1000).unwrap(), bytes);
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _either = unpack(&bytes, Packing::Gzip, 1000);
            let _either = unpack(&bytes, Packing::Deflate, 1000);
        }
    }

    #[test]
    fn what_becomes_too_long_is_refused() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&vec![0; 1 << 20]).unwrap();
        let packed = gzip.finish().unwrap();
        assert!(packed.len() < 2000);
        assert!(unpack(&packed, Packing::Gzip, 1000).unwrap_err().is_limit());
    }
}
