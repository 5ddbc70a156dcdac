//! Holds sets of whole numbers as sorted, separate ranges (ports).

use proto::mesos::v1 as mesos;
use std::fmt;

/// Sorted; no two ranges touch. Both ends belong to a range.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub(super) fn read(wire: &mesos::value::Ranges) -> Result<Self, String> {
        let mut all = Self::default();
        for range in &wire.range {
            if range.begin > range.end {
                return Err("Invalid ranges resource: begin is after end".into());
            }
            let one = Self(vec![(range.begin, range.end)]);
            if all.0.iter().any(|(begin, end)| range.begin <= *end && *begin <= range.end) {
                return Err("Invalid ranges resource: overlapping ranges".into());
            }
            all.add(&one);
        }
        Ok(all)
    }

    pub(super) fn write(&self) -> mesos::value::Ranges {
        mesos::value::Ranges {
            range: self.0.iter().map(|&(begin, end)| mesos::value::Range { begin, end }).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|want| self.0.iter().any(|have| have.0 <= want.0 && want.1 <= have.1))
    }

    pub(super) fn add(&mut self, other: &Self) {
        let mut all: Vec<(u64, u64)> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (begin, end) in all {
            match merged.last_mut() {
                Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                _ => merged.push((begin, end)),
            }
        }
        self.0 = merged;
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        for &(begin, end) in &other.0 {
            let mut left = Vec::with_capacity(self.0.len() + 1);
            for &(a, b) in &self.0 {
                if b < begin || end < a {
                    left.push((a, b));
                    continue;
                }
                if a < begin {
                    left.push((a, begin - 1));
                }
                if end < b {
                    left.push((end + 1, b));
                }
            }
            self.0 = left;
        }
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(begin, end)| format!("{begin}-{end}")).collect();
        write!(f, "[{}]", parts.join(", "))
    }
}
