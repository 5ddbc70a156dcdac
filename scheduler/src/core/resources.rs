//! Compares what is offered with what is needed, in whole thousandths over all entries, reserved ones first.
use bytes::Bytes;
use std::fmt;

/// An amount of a resource in thousandths: Mesos counts three decimals, and whole numbers add up exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// One scalar entry of an offer. `wire` is the entry as Mesos sent it: what is taken of it goes back unchanged but for
/// its amount, so that reservations, disks and providers survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// `cpus`, `mem`, `disk`, …
    pub name: String,
    /// How much of it.
    pub amount: Thousandths,
    /// Whether it is reserved for our role.
    pub reserved: bool,
    /// The entry as it came, opaque here.
    pub wire: Bytes,
}

/// A part of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// Of which piece; its own amount is what was offered.
    pub piece: Piece,
    /// How much is taken.
    pub amount: Thousandths,
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
}

/// What is taken of an offer for one launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// For the executor.
    pub executor: Vec<Portion>,
    /// For the task.
    pub task: Vec<Portion>,
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
    let mut left: Vec<(Piece, u64)> = pieces.iter().map(|p| (p.clone(), p.amount.0)).collect();
    left.sort_by_key(|(piece, _)| !piece.reserved);
    Ok(Taken { executor: portions(&mut left, &needs.executor), task: portions(&mut left, &needs.task) })
}

fn portions(left: &mut [(Piece, u64)], wanted: &[(String, Thousandths)]) -> Vec<Portion> {
    let mut taken = Vec::new();
    for (name, amount) in wanted {
        let mut open = amount.0;
        for (piece, rest) in left.iter_mut().filter(|(piece, _)| piece.name == *name) {
            let now = open.min(*rest);
            if now > 0 {
                *rest -= now;
                open -= now;
                taken.push(Portion { piece: piece.clone(), amount: Thousandths(now) });
            }
        }
        debug_assert_eq!(open, 0, "the sums were compared before");
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(name: &str, amount: f64, reserved: bool) -> Piece {
        Piece { name: name.into(), amount: Thousandths::of(amount), reserved, wire: Bytes::new() }
    }

    #[test]
    fn a_shortage_names_every_resource_that_is_missing() {
        let offered = [piece("cpus", 0.1, false), piece("mem", 64.0, false)];
        let short = take(&offered, &Needs::new(0.2, 128.0, 0.0)).unwrap_err();
        assert_eq!(
            short.0,
            "offer has 0.1 cpus, the executor needs 0.21; offer has 64 mem, the executor needs 129"
        );
    }

    #[test]
    fn reserved_entries_are_used_before_unreserved_ones() {
        let offered = [piece("cpus", 1.0, false), piece("cpus", 0.15, true), piece("mem", 500.0, false)];
        let taken = take(&offered, &Needs::new(0.2, 128.0, 0.0)).unwrap();
        let cpus: Vec<_> = taken
            .executor
            .iter()
            .filter(|p| p.piece.name == "cpus")
            .map(|p| (p.piece.reserved, p.amount.0))
            .collect();
        assert_eq!(cpus, [(true, 150), (false, 50)]);
    }

    #[test]
    fn doubles_that_are_off_by_a_hair_still_fit() {
        let offered = [piece("cpus", 0.1 + 0.2 - 0.09, false), piece("mem", 129.0, false)];
        assert!(take(&offered, &Needs::new(0.2, 128.0, 0.0)).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_was_needed_and_never_more_than_an_entry_holds(
            amounts in prop::collection::vec((0u64..3000, any::<bool>()), 0..6), need in 0u64..4000,
        ) {
            let offered: Vec<Piece> = amounts.iter().enumerate().map(|(i, (a, r))| Piece {
                name: "cpus".into(), amount: Thousandths(*a), reserved: *r, wire: Bytes::from(vec![i as u8]),
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
