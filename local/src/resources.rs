//! Computes with resources: reads them from the wire, compares, adds, subtracts and prints them.
//!
//! Amounts are integers (scalars in thousandths, as in Mesos), so that nothing is lost or won by rounding. Allocation
//! (`allocation_info`) is not part of a resource here: the owner of a set of resources knows for which role it holds them.

use proto::mesos::v1 as mesos;
use std::collections::BTreeSet;
use std::fmt;

use mesos::resource::{ReservationInfo, reservation_info};

mod ranges;
#[cfg(test)]
mod tests;

use ranges::Ranges;

/// A set of resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resources {
    pieces: Vec<Piece>,
}

/// How much there is of one kind.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    /// Everything but the amount and the allocation; reservations in the refined form.
    kind: mesos::Resource,
    amount: Amount,
}

#[derive(Clone, Debug, PartialEq)]
enum Amount {
    /// Thousandths.
    Scalar(i64),
    Ranges(Ranges),
    Set(BTreeSet<String>),
}

/// How resources are written for a framework.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style<'a> {
    /// The role to put into `allocation_info`; none leaves it out.
    pub(crate) allocated_to: Option<&'a str>,
    /// Reservations as `reservations`; otherwise as `role` and `reservation`.
    pub(crate) refined: bool,
}

impl Style<'_> {
    /// As agents describe their own resources.
    pub(crate) const PLAIN: Style<'static> = Style { allocated_to: None, refined: true };
}

impl Resources {
    /// Reads resources, merging equal kinds; says what is wrong with the first bad one.
    pub(crate) fn read(wire: &[mesos::Resource]) -> Result<Self, String> {
        let mut all = Self::default();
        for resource in wire {
            let piece = Piece::read(resource)
                .map_err(|problem| format!("Invalid resource '{}': {problem}", resource.name))?;
            all.put(piece);
        }
        Ok(all)
    }

    /// Writes resources in the form that the receiver expects.
    pub(crate) fn write(&self, style: Style<'_>) -> Vec<mesos::Resource> {
        self.pieces.iter().map(|piece| piece.write(style)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether all of `other` is in here.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        other.pieces.iter().all(|wanted| {
            self.pieces.iter().any(|piece| piece.kind == wanted.kind && piece.amount.contains(&wanted.amount))
        })
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for piece in &other.pieces {
            self.put(piece.clone());
        }
    }

    /// Takes `other` out; what is not there stays out (never below nothing).
    pub(crate) fn subtract(&mut self, other: &Self) {
        for taken in &other.pieces {
            for piece in &mut self.pieces {
                if piece.kind == taken.kind {
                    piece.amount.subtract(&taken.amount);
                }
            }
        }
        self.pieces.retain(|piece| !piece.amount.is_empty());
    }

    /// The part that a role may use: unreserved, or reserved for it or for a role above it.
    pub(crate) fn usable_by(&self, role: &str) -> Self {
        self.only(|kind| match kind.reservations.last() {
            None => true,
            Some(reservation) => {
                let owner = reservation.role();
                role == owner || role.strip_prefix(owner).is_some_and(|rest| rest.starts_with('/'))
            }
        })
    }

    /// The part without kinds that a framework with few capabilities cannot understand.
    pub(crate) fn understood(&self, refined: bool, revocable: bool, shared: bool) -> Self {
        self.only(|kind| {
            (refined || kind.reservations.len() < 2)
                && (revocable || kind.revocable.is_none())
                && (shared || kind.shared.is_none())
        })
    }

    /// The thousandths of a scalar, over all reservations.
    pub(crate) fn thousandths(&self, name: &str) -> i64 {
        self.pieces
            .iter()
            .filter(|piece| piece.kind.name == name)
            .map(|piece| match piece.amount {
                Amount::Scalar(thousandths) => thousandths,
                Amount::Ranges(_) | Amount::Set(_) => 0,
            })
            .sum()
    }

    /// Whether revocable and other resources of one name are both in here.
    pub(crate) fn mixes_revocable(&self) -> bool {
        self.pieces.iter().any(|a| {
            a.kind.revocable.is_some()
                && self.pieces.iter().any(|b| b.kind.revocable.is_none() && a.kind.name == b.kind.name)
        })
    }

    /// The resources as they are after an UNRESERVE, or were before a RESERVE.
    pub(crate) fn without_last_reservation(&self) -> Result<Self, String> {
        let mut out = Self::default();
        for piece in &self.pieces {
            let mut piece = piece.clone();
            match piece.kind.reservations.pop() {
                Some(popped) if popped.r#type() == reservation_info::Type::Dynamic => out.put(piece),
                _ => return Err(format!("'{piece}' is not dynamically reserved")),
            }
        }
        Ok(out)
    }

    /// The same amounts with nothing reserved.
    pub(crate) fn unreserved(&self) -> Self {
        let mut out = Self::default();
        for piece in &self.pieces {
            let mut piece = piece.clone();
            piece.kind.reservations.clear();
            out.put(piece);
        }
        out
    }

    /// The innermost reservations of all pieces.
    pub(crate) fn last_reservations(&self) -> impl Iterator<Item = Option<&ReservationInfo>> {
        self.pieces.iter().map(|piece| piece.kind.reservations.last())
    }

    fn only(&self, keep: impl Fn(&mesos::Resource) -> bool) -> Self {
        Self { pieces: self.pieces.iter().filter(|piece| keep(&piece.kind)).cloned().collect() }
    }

    fn put(&mut self, new: Piece) {
        match self.pieces.iter_mut().find(|piece| piece.kind == new.kind) {
            Some(piece) => piece.amount.add(&new.amount),
            None => self.pieces.push(new),
        }
    }
}

/// The roles named by the `allocation_info` of resources; a resource without one names none.
pub(crate) fn allocation_roles(wire: &[mesos::Resource]) -> BTreeSet<&str> {
    wire.iter()
        .filter_map(|resource| resource.allocation_info.as_ref())
        .filter_map(|info| info.role.as_deref())
        .collect()
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pieces.is_empty() {
            return f.write_str("{}");
        }
        for (i, piece) in self.pieces.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            piece.fmt(f)?;
        }
        Ok(())
    }
}

impl Piece {
    fn read(wire: &mesos::Resource) -> Result<Self, String> {
        if wire.name.is_empty() {
            return Err("Empty resource name".into());
        }
        let amount = Amount::read(wire)?;
        let mut kind = wire.clone();
        (kind.scalar, kind.ranges, kind.set, kind.allocation_info) = (None, None, None, None);
        refine(&mut kind)?;
        check_reservations(&kind.reservations)?;
        Ok(Self { kind, amount })
    }

    fn write(&self, style: Style<'_>) -> mesos::Resource {
        let mut wire = self.kind.clone();
        match &self.amount {
            Amount::Scalar(thousandths) => {
                wire.scalar = Some(mesos::value::Scalar { value: *thousandths as f64 / 1000.0 });
            }
            Amount::Ranges(ranges) => wire.ranges = Some(ranges.write()),
            Amount::Set(items) => {
                wire.set = Some(mesos::value::Set { item: items.iter().cloned().collect() })
            }
        }
        wire.allocation_info =
            style.allocated_to.map(|role| mesos::resource::AllocationInfo { role: Some(role.to_owned()) });
        if !style.refined {
            unrefine(&mut wire);
        }
        wire
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind.name)?;
        if !self.kind.reservations.is_empty() {
            let roles: Vec<&str> = self.kind.reservations.iter().map(ReservationInfo::role).collect();
            write!(f, "(reservations: [{}])", roles.join(", "))?;
        }
        match &self.amount {
            Amount::Scalar(thousandths) => write!(f, ":{}", *thousandths as f64 / 1000.0),
            Amount::Ranges(ranges) => write!(f, ":{ranges}"),
            Amount::Set(items) => write!(f, ":{{{}}}", items.iter().cloned().collect::<Vec<_>>().join(", ")),
        }
    }
}

impl Amount {
    fn read(wire: &mesos::Resource) -> Result<Self, String> {
        let members = (&wire.scalar, &wire.ranges, &wire.set);
        let amount = match (wire.r#type(), members) {
            (mesos::value::Type::Scalar, (Some(scalar), None, None)) => {
                if !scalar.value.is_finite() {
                    return Err("Invalid scalar resource: not a number".into());
                }
                Self::Scalar((scalar.value * 1000.0).round() as i64)
            }
            (mesos::value::Type::Ranges, (None, Some(ranges), None)) => Self::Ranges(Ranges::read(ranges)?),
            (mesos::value::Type::Set, (None, None, Some(set))) => {
                let items: BTreeSet<String> = set.item.iter().cloned().collect();
                if items.len() != set.item.len() {
                    return Err("Invalid set resource: duplicated elements".into());
                }
                Self::Set(items)
            }
            (mesos::value::Type::Text, _) => return Err("Unsupported resource type".into()),
            _ => return Err("the value does not fit the type".into()),
        };
        if matches!(amount, Self::Scalar(thousandths) if thousandths < 0) {
            return Err("Invalid scalar resource: value < 0".into());
        }
        if amount.is_empty() {
            return Err("the value is empty".into());
        }
        Ok(amount)
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(thousandths) => *thousandths <= 0,
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(items) => items.is_empty(),
        }
    }

    fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(have), Self::Scalar(want)) => have >= want,
            (Self::Ranges(have), Self::Ranges(want)) => have.contains(want),
            (Self::Set(have), Self::Set(want)) => have.is_superset(want),
            _ => false,
        }
    }

    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(have), Self::Scalar(more)) => *have += more,
            (Self::Ranges(have), Self::Ranges(more)) => have.add(more),
            (Self::Set(have), Self::Set(more)) => have.extend(more.iter().cloned()),
            _ => {}
        }
    }

    fn subtract(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(have), Self::Scalar(less)) => *have -= less,
            (Self::Ranges(have), Self::Ranges(less)) => have.subtract(less),
            (Self::Set(have), Self::Set(less)) => have.retain(|item| !less.contains(item)),
            _ => {}
        }
    }
}

/// Turns `role` and `reservation` into `reservations`.
fn refine(kind: &mut mesos::Resource) -> Result<(), String> {
    let (role, reservation) = (kind.role.take(), kind.reservation.take());
    let role = role.filter(|role| role != "*");
    match (kind.reservations.is_empty(), role, reservation) {
        (_, None, None) => Ok(()),
        (true, Some(role), reservation) => {
            let dynamic = reservation.is_some();
            let mut entry = reservation.unwrap_or_default();
            let kind_of =
                if dynamic { reservation_info::Type::Dynamic } else { reservation_info::Type::Static };
            (entry.role, entry.r#type) = (Some(role), Some(kind_of.into()));
            kind.reservations.push(entry);
            Ok(())
        }
        (true, None, Some(_)) => Err("Invalid reservation: role \"*\" cannot be dynamically reserved".into()),
        (false, _, _) => Err("'role' and 'reservation' must not be set together with 'reservations'".into()),
    }
}

/// Turns a single entry of `reservations` back into `role` and `reservation`.
fn unrefine(wire: &mut mesos::Resource) {
    let Some(mut entry) = wire.reservations.pop() else {
        wire.role = Some("*".into());
        return;
    };
    wire.role = entry.role.take();
    if entry.r#type() == reservation_info::Type::Dynamic {
        entry.r#type = None;
        wire.reservation = Some(entry);
    }
}

fn check_reservations(stack: &[ReservationInfo]) -> Result<(), String> {
    let mut above: Option<&str> = None;
    for entry in stack {
        let role = entry.role();
        if role.is_empty() || role == "*" {
            return Err("Invalid reservation: a role other than \"*\" is needed".into());
        }
        match (entry.r#type(), above) {
            (reservation_info::Type::Unknown, _) => return Err("Invalid reservation: no type".into()),
            (reservation_info::Type::Static, Some(_)) => {
                return Err("Invalid reservation: a static one cannot refine another".into());
            }
            (_, Some(above)) if role.strip_prefix(above).is_none_or(|rest| !rest.starts_with('/')) => {
                return Err(format!("Invalid refined reservation: role '{role}' is not below '{above}'"));
            }
            _ => {}
        }
        above = Some(role);
    }
    Ok(())
}
