//! Holds values by name, in order.
//!
//! Events of one source have their first fields together: a map made by [`Map::beside`] only holds what is its own, and
//! shares the rest until somebody changes it.
use super::{Name, Value};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The most entries of a map that are searched one by one; above it an index is kept.
const SCAN_MAX: usize = 24;
/// How many entries a map that shares others has room for at first.
const OWN_ROOM: usize = 1;
/// Memory for more entries is not used again by another map, which hardly needs as much.
const AGAIN_MAX: usize = 64;

/// Values by name. Small maps are scanned, which beats hashing; large ones keep an index, so that no input
/// makes a search slow.
#[derive(Clone, Default)]
pub struct Map {
    entries: Vec<(Name, Value)>,
    side: Option<Arc<Side>>,
}

/// What a map has beside its entries.
#[derive(Clone, Debug)]
enum Side {
    /// Where each entry is.
    Index(HashMap<Name, usize>),
    Shared(Shared),
}

/// Entries that other maps have, too. In order, the first of them is before the first own one, the rest is behind it.
#[derive(Clone, Debug)]
struct Shared {
    entries: Vec<(Name, Value)>,
    /// For how many own entries a map is made beside them.
    room: usize,
}

impl Map {
    /// An empty map.
    pub const fn new() -> Self {
        Self { entries: Vec::new(), side: None }
    }

    /// An empty map with room for `n` entries.
    pub fn with_capacity(n: usize) -> Self {
        Self { entries: Vec::with_capacity(n), side: None }
    }

    /// Makes of a map what many others can have a part of.
    pub(crate) fn into_shared(mut self) -> Self {
        self.own_all();
        if self.entries.len() > SCAN_MAX {
            return self;
        }
        let shared = Shared { entries: self.entries, room: OWN_ROOM };
        Self { entries: Vec::new(), side: Some(Arc::new(Side::Shared(shared))) }
    }

    /// The same with shared entries of its own, for another thread: threads that count the same users of one place get in
    /// each other's way. Maps beside it have room for so many own entries.
    pub(crate) fn unshared(&self, room: usize) -> Self {
        let side = match self.side.as_deref() {
            Some(Side::Shared(shared)) => {
                Some(Side::Shared(Shared { entries: shared.entries.clone(), room: room.max(1) }))
            }
            other => other.cloned(),
        };
        Self { entries: self.entries.clone(), side: side.map(Arc::new) }
    }

    /// How many entries it has that it does not share.
    pub(crate) fn own_len(&self) -> usize {
        self.entries.len()
    }

    /// A map of all entries of `shared`, and behind its first one `name`; gives the value back if there is such an entry
    /// already, or if `shared` is not of [`Map::into_shared`]. The memory of `old` is used again.
    pub(crate) fn beside(shared: &Self, name: Name, value: Value, old: Self) -> Result<Self, Value> {
        let Some(Side::Shared(Shared { entries: all, room })) = shared.side.as_deref() else {
            return Err(value);
        };
        if all.is_empty() || !shared.entries.is_empty() || scan(all, &name).is_some() {
            return Err(value);
        }
        let mut entries = old.entries;
        entries.clear();
        if entries.capacity() > AGAIN_MAX {
            entries = Vec::new();
        }
        entries.reserve_exact(*room);
        entries.push((name, value));
        Ok(Self { entries, side: shared.side.clone() })
    }

    /// Whether it shares the entries that `other` shares.
    pub(crate) fn shares_with(&self, other: &Self) -> bool {
        matches!((&self.side, &other.side), (Some(one), Some(other)) if Arc::ptr_eq(one, other))
    }

    /// A map of nothing but the entries that it shares, if it does.
    pub(crate) fn only_shared(&self) -> Option<Self> {
        let side = self.side.as_ref().filter(|side| matches!(***side, Side::Shared(_)))?;
        Some(Self { entries: Vec::new(), side: Some(side.clone()) })
    }

    fn shared(&self) -> &[(Name, Value)] {
        match self.side.as_deref() {
            Some(Side::Shared(shared)) => &shared.entries,
            _ => &[],
        }
    }

    /// Copies what is shared, so that it can be changed.
    fn own_all(&mut self) {
        let Some(side) = self.side.take_if(|side| matches!(**side, Side::Shared(_))) else { return };
        let Side::Shared(shared) = Arc::unwrap_or_clone(side) else { return };
        let mut all = Vec::with_capacity(shared.entries.len() + self.entries.len());
        let (mut shared, mut own) =
            (shared.entries.into_iter(), std::mem::take(&mut self.entries).into_iter());
        all.extend(shared.next());
        all.extend(own.next());
        all.extend(shared);
        all.extend(own);
        self.entries = all;
        if self.entries.len() > SCAN_MAX {
            self.build_index();
        }
    }

    /// Makes room for `n` more entries.
    pub(crate) fn reserve(&mut self, n: usize) {
        self.entries.reserve(n);
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.shared().len() + self.entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.shared().is_empty()
    }

    /// Where `name` is among the own entries.
    fn position(&self, name: &str) -> Option<usize> {
        match self.side.as_deref() {
            Some(Side::Index(index)) => index.get(name).copied(),
            _ => scan(&self.entries, name),
        }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self.position(name) {
            Some(at) => self.entries.get(at).map(|(_, value)| value),
            None => {
                let shared = self.shared();
                scan(shared, name).and_then(|at| shared.get(at)).map(|(_, value)| value)
            }
        }
    }

    /// The value of `name`, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        if scan(self.shared(), name).is_some() {
            self.own_all();
        }
        let at = self.position(name)?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    /// Sets `name`, in place if it is there, else at the end; returns what it was.
    pub fn insert(&mut self, name: impl AsRef<str> + Into<Name>, value: Value) -> Option<Value> {
        if let Some(old) = self.get_mut(name.as_ref()) {
            return Some(std::mem::replace(old, value));
        }
        self.push_new(name.into(), value);
        None
    }

    /// Sets `name` if it is absent; gives the value back otherwise.
    pub fn insert_new(&mut self, name: &Name, value: Value) -> Option<Value> {
        if self.get(name).is_some() {
            return Some(value);
        }
        self.push_new(name.clone(), value);
        None
    }

    /// Adds an entry whose name the caller knows to be absent.
    pub(crate) fn push_new(&mut self, name: Name, value: Value) {
        debug_assert!(self.get(&name).is_none());
        if let Some(side) = &mut self.side
            && matches!(**side, Side::Index(_))
            && let Side::Index(index) = Arc::make_mut(side)
        {
            index.insert(name.clone(), self.entries.len());
        }
        self.entries.push((name, value));
        if self.entries.len() > SCAN_MAX && !matches!(self.side.as_deref(), Some(Side::Index(_))) {
            self.own_all();
            if self.side.is_none() {
                self.build_index();
            }
        }
    }

    /// Removes `name`; the others keep their order.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = match self.position(name) {
            // The first own entry has its place among the shared ones.
            Some(at) if at > 0 || self.shared().is_empty() => at,
            None if scan(self.shared(), name).is_none() => return None,
            _ => {
                self.own_all();
                self.position(name)?
            }
        };
        let (_, value) = self.entries.remove(at);
        self.reindex();
        Some(value)
    }

    /// The entries in order, in four parts.
    pub(crate) fn parts(&self) -> [&[(Name, Value)]; 4] {
        let shared = self.shared();
        if shared.is_empty() {
            return [&self.entries, &[], &[], &[]];
        }
        let (first, rest) = shared.split_at(1);
        let (own_first, own_rest) = self.entries.split_at(self.entries.len().min(1));
        [first, own_first, rest, own_rest]
    }

    /// The entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &Value)> {
        Entries { parts: self.parts(), part: 0, place: 0, left: self.len() }
    }

    /// The entries in order, with their values to change.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&Name, &mut Value)> {
        self.own_all();
        self.entries.iter_mut().map(|(name, value)| (&*name, value))
    }

    /// Keeps the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&Name, &mut Value) -> bool) {
        self.own_all();
        self.entries.retain_mut(|(name, value)| keep(name, value));
        self.reindex();
    }

    /// After entries were removed.
    fn reindex(&mut self) {
        if matches!(self.side.as_deref(), Some(Side::Index(_))) {
            self.side = None;
            if self.entries.len() > SCAN_MAX {
                self.build_index();
            }
        }
    }

    fn build_index(&mut self) {
        let index = self.entries.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        self.side = Some(Arc::new(Side::Index(index)));
    }
}

/// Which names a map may have: one that leaves no mark here is absent for sure, without a look at the others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks(u64);

impl Marks {
    /// The marks of the names in a map.
    pub(crate) fn of(map: &Map) -> Self {
        let mut marks = Self::default();
        for (name, _) in map.parts().into_iter().flatten() {
            marks.add(name);
        }
        marks
    }

    /// Adds the mark of a name.
    pub(crate) fn add(&mut self, name: &str) {
        self.0 |= Self::bit(name);
    }

    /// Whether a name may be among them.
    pub(crate) fn may_have(self, name: &str) -> bool {
        self.0 & Self::bit(name) != 0
    }

    /// One of 64 bits by length, first, middle and last byte.
    #[inline]
    fn bit(name: &str) -> u64 {
        let name = name.as_bytes();
        let byte = |at: usize| u32::from(name.get(at).copied().unwrap_or_default());
        let last = name.len().wrapping_sub(1);
        let mixed = byte(0) | byte(last) << 8 | byte(name.len() / 2) << 16 | (name.len() as u32) << 24;
        1 << (mixed.wrapping_mul(0x9e37_79b1) >> 26)
    }
}

/// Names to look for in many maps; what was found in entries that maps share is remembered.
#[derive(Debug, Default)]
pub(crate) struct Names {
    names: Box<[Name]>,
    /// Shared entries, and whether none of the names is among them.
    known: Option<(Arc<Side>, bool)>,
}

impl Names {
    /// Looks for these.
    pub(crate) fn new(names: impl IntoIterator<Item = Name>) -> Self {
        Self { names: names.into_iter().collect(), known: None }
    }

    /// Whether a map has none of them.
    pub(crate) fn absent_in(&mut self, map: &Map) -> bool {
        let absent = |entries: &[(Name, Value)]| entries.iter().all(|(name, _)| !self.names.contains(name));
        let shared_absent = match (&map.side, &self.known) {
            (None, _) => true,
            (Some(side), Some((known, absent))) if Arc::ptr_eq(side, known) => *absent,
            (Some(side), _) => {
                let absent = absent(map.shared());
                if matches!(**side, Side::Shared(_)) {
                    self.known = Some((side.clone(), absent));
                }
                absent
            }
        };
        shared_absent && map.entries.iter().all(|(name, _)| !self.names.contains(name))
    }
}

/// Goes through the entries of a map.
struct Entries<'a> {
    parts: [&'a [(Name, Value)]; 4],
    part: usize,
    place: usize,
    left: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a Name, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.parts.get(self.part)?.get(self.place) {
                Some((name, value)) => {
                    self.place += 1;
                    self.left -= 1;
                    return Some((name, value));
                }
                None => (self.part, self.place) = (self.part + 1, 0),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Entries<'_> {}

fn scan(entries: &[(Name, Value)], name: &str) -> Option<usize> {
    let name = name.as_bytes();
    entries.iter().position(|(n, _)| n.as_bytes() == name)
}
impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl IntoIterator for Map {
    type Item = (Name, Value);
    type IntoIter = std::vec::IntoIter<(Name, Value)>;
    fn into_iter(mut self) -> Self::IntoIter {
        self.own_all();
        self.entries.into_iter()
    }
}

impl<N: AsRef<str> + Into<Name>> FromIterator<(N, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(pairs: I) -> Self {
        let mut map = Map::new();
        for (name, value) in pairs {
            map.insert(name, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What can be done to a map.
    #[derive(Clone, Debug)]
    enum Act {
        Insert(u8, i64),
        InsertNew(u8, i64),
        Change(u8, i64),
        Remove(u8),
        KeepEven,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (any::<u8>(), any::<i64>()).prop_map(|(n, v)| Act::Insert(n, v)),
            2 => (any::<u8>(), any::<i64>()).prop_map(|(n, v)| Act::InsertNew(n, v)),
            1 => (any::<u8>(), any::<i64>()).prop_map(|(n, v)| Act::Change(n, v)),
            2 => any::<u8>().prop_map(Act::Remove),
            1 => Just(Act::KeepEven),
        ]
    }

    fn name(n: u8) -> Name {
        Name::new(format!("field-{}", n % 40))
    }

    fn do_it(map: &mut Map, act: &Act) -> Option<Value> {
        match act {
            Act::Insert(n, v) => map.insert(name(*n), Value::Int(*v)),
            Act::InsertNew(n, v) => map.insert_new(&name(*n), Value::Int(*v)),
            Act::Change(n, v) => map.get_mut(&name(*n)).map(|old| std::mem::replace(old, Value::Int(*v))),
            Act::Remove(n) => map.remove(&name(*n)),
            Act::KeepEven => {
                map.retain(|_, value| matches!(value, Value::Int(i) if *i % 2 == 0));
                None
            }
        }
    }

    proptest! {
        #[test]
        fn a_map_that_shares_entries_is_like_one_that_owns_them(
            first in proptest::collection::btree_set(0_u8..40, 0..6),
            acts in proptest::collection::vec(act(), 0..60),
            before in proptest::collection::vec(act(), 0..90),
        ) {
            let mut old = Map::beside(&Map::new().into_shared(), Name::const_new("a"), Value::Null, Map::new()).unwrap_or_default();
            before.iter().for_each(|act| drop(do_it(&mut old, act)));
            let message = Name::const_new("message");
            let base: Map = first.iter().map(|n| (name(*n), Value::Int(i64::from(*n)))).collect();
            let shared = base.clone().into_shared();
            let (mut sharing, mut owning) = match Map::beside(&shared, message.clone(), Value::Null, old) {
                Ok(sharing) => {
                    let mut owning = Map::new();
                    let mut entries = base.clone().into_iter();
                    let entries = entries.next().into_iter().chain([(message, Value::Null)]).chain(entries);
                    entries.for_each(|(name, value)| owning.push_new(name, value));
                    (sharing, owning)
                }
                Err(_) => (shared.clone(), base.clone()),
            };
            let mut names = Names::new([name(3), name(17)]);
            for act in &acts {
                let marks = Marks::of(&owning);
                prop_assert!(owning.iter().all(|(name, _)| marks.may_have(name)));
                let absent = owning.get("field-3").is_none() && owning.get("field-17").is_none();
                prop_assert_eq!(names.absent_in(&sharing), absent);
                prop_assert_eq!(names.absent_in(&owning), absent);
                prop_assert_eq!(do_it(&mut sharing, act), do_it(&mut owning, act));
                let (one, other): (Vec<_>, Vec<_>) = (sharing.iter().collect(), owning.iter().collect());
                prop_assert_eq!(&one, &other);
                prop_assert_eq!(sharing.len(), one.len());
                prop_assert_eq!(sharing.get("field-3"), owning.get("field-3"));
            }
            prop_assert_eq!(&shared, &base);
            prop_assert_eq!(sharing.into_iter().collect::<Vec<_>>(), owning.into_iter().collect::<Vec<_>>());
        }
    }
}
