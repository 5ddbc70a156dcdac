//! Holds which part of a Docker daemon's containers a node takes, when several nodes share one daemon.
use std::fmt;
use std::str::FromStr;

/// One of several equal parts, written `2/5`. Containers are dealt out by their ids alone, so that all nodes agree
/// without talking; another node more or less moves only its own part (rendezvous hashing).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    part: u32,
    of: u32,
}

/// Why a text is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a share is written `2/5`: the second of five parts")]
pub struct ShareError;

impl Share {
    /// Everything.
    pub const ALL: Self = Self { part: 1, of: 1 };

    /// The part `part` of `of`, both from 1.
    pub fn new(part: u32, of: u32) -> Result<Self, ShareError> {
        if part == 0 || part > of { Err(ShareError) } else { Ok(Self { part, of }) }
    }

    /// Whether the container `id` belongs to this part.
    pub fn takes(self, id: &str) -> bool {
        (1..=self.of).max_by_key(|part| (weight(*part, id), *part)) == Some(self.part)
    }
}

/// FNV-1a over the part and the id, stirred once more: short inputs differ in few bits.
fn weight(part: u32, id: &str) -> u64 {
    let bytes = part.to_le_bytes().into_iter().chain(id.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl FromStr for Share {
    type Err = ShareError;
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (part, of) = text.split_once('/').ok_or(ShareError)?;
        let number = |text: &str| text.trim().parse().map_err(|_| ShareError);
        Self::new(number(part)?, number(of)?)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_container_belongs_to_exactly_one_part(id in "[0-9a-f]{64}", of in 1_u32..20) {
            let takers = (1..=of).filter(|part| Share::new(*part, of).unwrap().takes(&id)).count();
            prop_assert_eq!(takers, 1);
        }

        #[test]
        fn one_more_part_takes_containers_only_for_itself(id in "[0-9a-f]{64}", of in 1_u32..20) {
            let before = (1..=of).find(|part| Share::new(*part, of).unwrap().takes(&id));
            let after = (1..=of + 1).find(|part| Share::new(*part, of + 1).unwrap().takes(&id));
            prop_assert!(after == before || after == Some(of + 1));
        }
    }

    #[test]
    fn parts_are_about_equal() {
        let ids: Vec<String> = (0..5000).map(|i| format!("{i:064x}")).collect();
        for part in 1..=5 {
            let share = Share::new(part, 5).unwrap();
            let taken = ids.iter().filter(|id| share.takes(id)).count();
            assert!((800..1200).contains(&taken), "part {part} takes {taken} of 5000");
        }
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for text in ["", "1", "0/5", "6/5", "a/b", "1/0", "-1/5"] {
            assert_eq!(text.parse::<Share>(), Err(ShareError), "{text}");
        }
        assert_eq!("2/5".parse::<Share>().map(|s| s.to_string()), Ok("2/5".to_owned()));
    }
}
