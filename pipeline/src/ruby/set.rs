//! Holds sets of ASCII characters.
use std::sync::Arc;

/// A set of ASCII characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Set {
    low: u64,
    high: u64,
}

impl Set {
    pub(crate) const NONE: Self = Self { low: 0, high: 0 };
    pub(crate) const ALL: Self = Self { low: u64::MAX, high: u64::MAX };

    #[inline]
    pub(crate) fn has(self, byte: u8) -> bool {
        let half = if byte < 64 { self.low } else { self.high };
        byte < 128 && half >> (byte & 63) & 1 == 1
    }

    pub(crate) fn with(mut self, byte: u8) -> Self {
        match byte {
            0..64 => self.low |= 1 << byte,
            64..128 => self.high |= 1 << (byte - 64),
            128.. => {}
        }
        self
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self { low: self.low | other.low, high: self.high | other.high }
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self { low: self.low & !other.low, high: self.high & !other.high }
    }

    pub(crate) fn inverted(self) -> Self {
        Self { low: !self.low, high: !self.high }
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.low & other.low != 0 || self.high & other.high != 0
    }

    /// The ASCII characters from `first` to `last`.
    pub(crate) fn range(first: char, last: char) -> Self {
        (0..128).filter(|b| (first..=last).contains(&char::from(*b))).fold(Self::NONE, Self::with)
    }

    pub(crate) fn of(belongs: impl Fn(&u8) -> bool) -> Self {
        (0..128).filter(belongs).fold(Self::NONE, Self::with)
    }

    pub(crate) fn in_any_case(self) -> Self {
        Self::of(|b| self.has(b.to_ascii_lowercase()) || self.has(b.to_ascii_uppercase()))
    }

    /// What `\d`, `\w`, `\s` and `\h` are.
    pub(crate) fn named(letter: char) -> Option<Self> {
        match letter {
            'd' => Self::posix("digit"),
            'w' => Self::posix("word"),
            's' => Self::posix("space"),
            'h' => Self::posix("xdigit"),
            _ => None,
        }
    }

    /// What `[:name:]` is.
    pub(crate) fn posix(name: &str) -> Option<Self> {
        Some(match name {
            "digit" => Self::of(u8::is_ascii_digit),
            "alpha" => Self::of(u8::is_ascii_alphabetic),
            "alnum" => Self::of(u8::is_ascii_alphanumeric),
            "upper" => Self::of(u8::is_ascii_uppercase),
            "lower" => Self::of(u8::is_ascii_lowercase),
            "xdigit" => Self::of(u8::is_ascii_hexdigit),
            "word" => Self::of(|b| is_word(*b)),
            "space" => Self::of(|b| matches!(b, b'\t'..=b'\r' | b' ')),
            "blank" => Self::of(|b| matches!(b, b'\t' | b' ')),
            _ => return None,
        })
    }
}

/// A set made ready for finding the end of a run of its characters.
#[derive(Clone, Debug)]
pub(crate) enum Run {
    All,
    /// All but this one.
    Until(u8),
    /// All but these two.
    UntilEither(u8, u8),
    Of(Arc<[bool; 256]>),
}

impl Run {
    pub(crate) fn of(set: Set) -> Self {
        let others: Vec<u8> = (0..128).filter(|byte| !set.has(*byte)).collect();
        match others.as_slice() {
            [] => Self::All,
            [one] => Self::Until(*one),
            [one, other] => Self::UntilEither(*one, *other),
            _ => {
                Self::Of(Arc::new(std::array::from_fn(|at| u8::try_from(at).is_ok_and(|byte| set.has(byte)))))
            }
        }
    }

    /// How many characters of the set `text` begins with.
    #[inline]
    pub(crate) fn length(&self, text: &[u8]) -> usize {
        let end = match self {
            Self::All => None,
            Self::Until(one) => memchr::memchr(*one, text),
            Self::UntilEither(one, other) => memchr::memchr2(*one, *other, text),
            Self::Of(table) => {
                text.iter().position(|byte| !table.get(usize::from(*byte)).copied().unwrap_or_default())
            }
        };
        end.unwrap_or(text.len())
    }
}

/// Whether a byte is of a word, to `\w` and `\b`.
#[inline]
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
