//! Frames of HTTP/2 (RFC 9113, 4.1 and 6), read where they lie and written into a buffer.

/// The longest payload that either side takes unless it says otherwise.
pub(super) const PAYLOAD_MAX: usize = 16_384;

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    pub(super) const DATA: Self = Self(0);
    pub(super) const HEADERS: Self = Self(1);
    pub(super) const RST_STREAM: Self = Self(3);
    pub(super) const SETTINGS: Self = Self(4);
    pub(super) const PUSH_PROMISE: Self = Self(5);
    pub(super) const PING: Self = Self(6);
    pub(super) const GOAWAY: Self = Self(7);
    pub(super) const WINDOW_UPDATE: Self = Self(8);
    pub(super) const CONTINUATION: Self = Self(9);
}

/// What else is said of a frame; what a bit means depends on its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) const NONE: Self = Self(0);
    pub(super) const END_STREAM: Self = Self(0x1);
    pub(super) const ACK: Self = Self(0x1);
    pub(super) const END_HEADERS: Self = Self(0x4);
    pub(super) const PADDED: Self = Self(0x8);
    pub(super) const PRIORITY: Self = Self(0x20);

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What comes before the payload of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The length of the payload.
    pub(super) length: usize,
    pub(super) kind: Kind,
    pub(super) flags: Flags,
    pub(super) stream: u32,
}

impl Head {
    pub(super) const LENGTH: usize = 9;

    /// The head that begins here, and what follows it; `None` if not all of it came.
    pub(super) fn of(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let ([l1, l2, l3, kind, flags, stream @ ..], payload) =
            bytes.split_first_chunk::<{ Self::LENGTH }>()?;
        let head = Self {
            length: usize::from(*l1) << 16 | usize::from(*l2) << 8 | usize::from(*l3),
            kind: Kind(*kind),
            flags: Flags(*flags),
            stream: u32::from_be_bytes(*stream) & 0x7fff_ffff,
        };
        Some((head, payload))
    }

    /// A payload of DATA or HEADERS without its padding; `None` if there is more of that than there is.
    pub(super) fn unpadded(self, payload: &[u8]) -> Option<&[u8]> {
        if !self.flags.has(Flags::PADDED) {
            return Some(payload);
        }
        let (padding, rest) = payload.split_first()?;
        rest.get(..rest.len().checked_sub(usize::from(*padding))?)
    }
}

/// Writes a frame. A payload that would be too long is cut: those of variable length are made no longer.
pub(super) fn write(out: &mut Vec<u8>, kind: Kind, flags: Flags, stream: u32, payload: &[u8]) {
    debug_assert!(payload.len() <= PAYLOAD_MAX, "{kind:?} is too long");
    let payload = payload.get(..PAYLOAD_MAX).unwrap_or(payload);
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    out.reserve_exact(Head::LENGTH + payload.len());
    out.extend(length.iter().skip(1));
    out.extend([kind.0, flags.0]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}
