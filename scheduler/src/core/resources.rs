//! Compares what is offered with what is needed, in whole thousandths over all entries, reserved ones first.
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An amount of a resource in thousandths: Mesos counts three decimals, and whole numbers add up exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Thousandths(pub u64);

impl Thousandths {
    /// Rounds what came as a double; what is negative or not a number counts as nothing.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    pub fn of(amount: f64) -> Self {
        let scaled = (amount * 1000.0).round();
        if scaled.is_finite() && scaled > 0.0 && scaled < 9.0e18 { Self(scaled as u64) } else { Self(0) }
    }

    /// The double that Mesos wants.
    #[allow(clippy::cast_precision_loss, reason = "amounts are far below 2^53 thousandths")]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_f64().fmt(f)
    }
}

/// For whom an entry is set aside. What is set aside for us goes first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reserved {
    /// For the framework of this name, by a label on a dynamic reservation.
    Labelled(String),
    /// For our role.
    Role,
    /// For a role above ours: it can be set aside further.
    Above,
    /// For nobody.
    #[default]
    No,
}

/// One entry of an offer. `wire` is the entry as Mesos sent it: what is taken of it goes back unchanged but for its
/// amount, so that reservations, disks and providers survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// `cpus`, `mem`, `disk`, `ports`, …
    pub name: String,
    /// How much of it; of ranges: how many numbers they hold.
    pub amount: Thousandths,
    /// The ranges, both ends included; empty: it is a scalar.
    pub ranges: Vec<(u64, u64)>,
    /// For whom it is set aside.
    pub reserved: Reserved,
    /// The entry as it came, opaque here.
    pub wire: Bytes,
}

/// In which form a portion is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As it was offered.
    #[default]
    AsOffered,
    /// Without the reservation that is ours.
    Unreserved,
    /// Reserved for us in the same call.
    Reserved,
}

/// A part of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// Of which piece; its own amount is what was offered.
    pub piece: Piece,
    /// How much is taken.
    pub amount: Thousandths,
    /// Which numbers are taken of ranges, both ends included.
    pub ranges: Vec<(u64, u64)>,
    /// In which form.
    pub form: Form,
}

/// As whom resources are reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// For which role.
    pub role: String,
    /// Who reserves; Mesos wants it iff the framework has one.
    pub principal: Option<String>,
    /// The framework's name, which the label says.
    pub framework: String,
}

/// What an executor and its task need. The real need sits on the executor, a token amount on the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Charged to the executor.
    pub executor: Vec<(String, Thousandths)>,
    /// Charged to the task.
    pub task: Vec<(String, Thousandths)>,
}

impl Needs {
    /// The needs of an executor of this size; resources of which nothing is needed are left out.
    pub fn new(cpus: f64, mem: f64, disk: f64) -> Self {
        let entry = |name: &str, amount: f64| (name.to_owned(), Thousandths::of(amount));
        let mut executor = vec![entry("cpus", cpus), entry("mem", mem), entry("disk", disk)];
        executor.retain(|(_, amount)| amount.0 > 0);
        Self { executor, task: vec![entry("cpus", 0.01), entry("mem", 1.0)] }
    }

    /// The same and so many ports.
    #[must_use]
    pub fn with_ports(mut self, ports: u16) -> Self {
        if ports > 0 {
            self.executor.push(("ports".to_owned(), Thousandths(u64::from(ports) * 1000)));
        }
        self
    }
}

/// What is taken of an offer for one launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// For the executor.
    pub executor: Vec<Portion>,
    /// For the task.
    pub task: Vec<Portion>,
    /// Reservations of ours that are given up first, whole.
    pub unreserve: Vec<Piece>,
    /// As whom the portions of the form [`Form::Reserved`] are reserved then.
    pub reservation: Option<Reservation>,
}

impl Taken {
    /// Everything that is taken.
    pub fn portions(&self) -> impl Iterator<Item = &Portion> {
        self.executor.iter().chain(&self.task)
    }

    /// Whether reservations are made or given up for it.
    pub fn converts(&self) -> bool {
        !self.unreserve.is_empty() || self.portions().any(|portion| portion.form == Form::Reserved)
    }

    /// The same, with every portion as it was offered.
    #[must_use]
    pub fn as_offered(mut self) -> Self {
        for portion in self.executor.iter_mut().chain(&mut self.task) {
            portion.form = Form::AsOffered;
        }
        Self { unreserve: Vec::new(), reservation: None, ..self }
    }

    /// The ports among it.
    pub fn ports(&self) -> Vec<u64> {
        let ports = self.portions().filter(|portion| portion.piece.name == "ports");
        ports.flat_map(|portion| &portion.ranges).flat_map(|(begin, end)| *begin..=*end).collect()
    }
}

/// What an offer lacks, for people: "offer has 0.1 cpus, the executor needs 0.21".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage(pub String);

/// Takes what `needs` names out of `pieces`, or says everything that is missing.
pub fn take(pieces: &[Piece], needs: &Needs) -> Result<Taken, Shortage> {
    let mut missing = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (name, _) in needs.executor.iter().chain(&needs.task) {
        if seen.contains(&name.as_str()) {
            continue;
        }
        seen.push(name);
        let offered: u64 = pieces.iter().filter(|p| p.name == *name).map(|p| p.amount.0).sum();
        let needed: u64 =
            needs.executor.iter().chain(&needs.task).filter(|(n, _)| n == name).map(|(_, a)| a.0).sum();
        if offered < needed {
            let (offered, needed) = (Thousandths(offered), Thousandths(needed));
            missing.push(format!("offer has {offered} {name}, the executor needs {needed}"));
        }
    }
    if !missing.is_empty() {
        return Err(Shortage(missing.join("; ")));
    }
    let mut left: Vec<Left> = pieces.iter().cloned().map(Left::of).collect();
    left.sort_by(|a, b| a.piece.reserved.cmp(&b.piece.reserved));
    let executor = portions(&mut left, &needs.executor);
    Ok(Taken { executor, task: portions(&mut left, &needs.task), ..Taken::default() })
}

/// Whether pieces hold as much as is needed.
pub fn holds<'a>(pieces: impl Iterator<Item = &'a Piece> + Clone, needs: &Needs) -> bool {
    needs.executor.iter().chain(&needs.task).all(|(name, _)| {
        let all = |of: &[(String, Thousandths)]| -> u64 {
            of.iter().filter(|(of, _)| of == name).map(|(_, amount)| amount.0).sum()
        };
        let offered: u64 =
            pieces.clone().filter(|piece| piece.name == *name).map(|piece| piece.amount.0).sum();
        offered >= all(&needs.executor) + all(&needs.task)
    })
}

/// What is left of a piece.
struct Left {
    amount: u64,
    ranges: Vec<(u64, u64)>,
    piece: Piece,
}

impl Left {
    fn of(piece: Piece) -> Self {
        Self { amount: piece.amount.0, ranges: piece.ranges.clone(), piece }
    }

    fn cut(&mut self, amount: u64) -> Portion {
        self.amount -= amount;
        let ranges = first_numbers(&mut self.ranges, amount / 1000);
        Portion { piece: self.piece.clone(), amount: Thousandths(amount), ranges, form: Form::default() }
    }
}

fn portions(left: &mut [Left], wanted: &[(String, Thousandths)]) -> Vec<Portion> {
    let mut taken = Vec::new();
    for (name, amount) in wanted {
        let mut open = amount.0;
        for rest in left.iter_mut().filter(|rest| rest.piece.name == *name) {
            let now = open.min(rest.amount);
            if now > 0 {
                open -= now;
                taken.push(rest.cut(now));
            }
        }
        debug_assert_eq!(open, 0, "the sums were compared before");
    }
    taken
}

/// Cuts the first `count` numbers off.
fn first_numbers(ranges: &mut Vec<(u64, u64)>, mut count: u64) -> Vec<(u64, u64)> {
    let mut first = Vec::new();
    while let Some((begin, end)) = ranges.first_mut().filter(|_| count > 0) {
        let last = (*end).min(begin.saturating_add(count - 1));
        first.push((*begin, last));
        count -= last - *begin + 1;
        if last == *end {
            ranges.remove(0);
        } else {
            *begin = last + 1;
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(name: &str, amount: f64, reserved: Reserved) -> Piece {
        let amount = Thousandths::of(amount);
        Piece { name: name.into(), amount, ranges: vec![], reserved, wire: Bytes::new() }
    }

    fn ports(ranges: &[(u64, u64)], reserved: Reserved) -> Piece {
        let count: u64 = ranges.iter().map(|(begin, end)| end - begin + 1).sum();
        Piece { ranges: ranges.to_vec(), amount: Thousandths(count * 1000), ..piece("ports", 0.0, reserved) }
    }

    #[test]
    fn a_shortage_names_every_resource_that_is_missing() {
        let offered = [piece("cpus", 0.1, Reserved::No), piece("mem", 64.0, Reserved::No)];
        let short = take(&offered, &Needs::new(0.2, 128.0, 0.0)).unwrap_err();
        assert_eq!(
            short.0,
            "offer has 0.1 cpus, the executor needs 0.21; offer has 64 mem, the executor needs 129"
        );
    }

    #[test]
    fn reserved_entries_are_used_before_unreserved_ones() {
        let offered = [
            piece("cpus", 1.0, Reserved::No),
            piece("cpus", 0.15, Reserved::Role),
            piece("mem", 500.0, Reserved::No),
        ];
        let taken = take(&offered, &Needs::new(0.2, 128.0, 0.0)).unwrap();
        let cpus: Vec<_> = taken
            .executor
            .iter()
            .filter(|p| p.piece.name == "cpus")
            .map(|p| (p.piece.reserved.clone(), p.amount.0))
            .collect();
        assert_eq!(cpus, [(Reserved::Role, 150), (Reserved::No, 50)]);
    }

    #[test]
    fn doubles_that_are_off_by_a_hair_still_fit() {
        let offered = [piece("cpus", 0.1 + 0.2 - 0.09, Reserved::No), piece("mem", 129.0, Reserved::No)];
        assert!(take(&offered, &Needs::new(0.2, 128.0, 0.0)).is_ok());
    }

    #[test]
    fn ports_are_taken_from_reserved_ranges_first_and_each_once() {
        let offered = [
            ports(&[(31_000, 31_001), (31_005, 31_009)], Reserved::No),
            ports(&[(80, 80)], Reserved::Role),
            piece("cpus", 1.0, Reserved::No),
            piece("mem", 500.0, Reserved::No),
        ];
        let taken = take(&offered, &Needs::new(0.2, 128.0, 0.0).with_ports(4)).unwrap();
        assert_eq!(taken.ports(), [80, 31_000, 31_001, 31_005]);
        let short = take(&offered, &Needs::new(0.2, 128.0, 0.0).with_ports(9)).unwrap_err();
        assert_eq!(short.0, "offer has 8 ports, the executor needs 9");
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_was_needed_and_never_more_than_an_entry_holds(
            amounts in prop::collection::vec((0u64..3000, any::<bool>()), 0..6), need in 0u64..4000,
        ) {
            let offered: Vec<Piece> = amounts.iter().enumerate().map(|(i, (a, r))| Piece {
                name: "cpus".into(), amount: Thousandths(*a), ranges: vec![],
                reserved: if *r { Reserved::Role } else { Reserved::No }, wire: Bytes::from(vec![i as u8]),
            }).collect();
            let needs = Needs { executor: vec![("cpus".into(), Thousandths(need))], task: vec![("cpus".into(), Thousandths(10))] };
            match take(&offered, &needs) {
                Err(_) => prop_assert!(amounts.iter().map(|(a, _)| a).sum::<u64>() < need + 10),
                Ok(taken) => {
                    prop_assert_eq!(taken.executor.iter().map(|p| p.amount.0).sum::<u64>(), need);
                    prop_assert_eq!(taken.task.iter().map(|p| p.amount.0).sum::<u64>(), 10);
                    for (i, piece) in offered.iter().enumerate() {
                        let of_it: u64 = taken.executor.iter().chain(&taken.task)
                            .filter(|p| p.piece.wire == [i as u8][..]).map(|p| p.amount.0).sum();
                        prop_assert!(of_it <= piece.amount.0);
                    }
                }
            }
        }
    }
}
