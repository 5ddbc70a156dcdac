//! Reads the entries of offers and writes what is taken of them, with and without reservations.
use crate::core::resources::{Form, Piece, Portion, Reservation, Reserved, Thousandths};
use bytes::Bytes;
use prost::Message;
use proto::mesos::v1;
use v1::resource::{ReservationInfo, reservation_info};

/// The key of the label on reservations of ours; its value is the framework's name.
const LABEL: &str = "logherd";

/// An entry that an executor can be charged with, of an offer for `role`: ours for good, not a volume, not a disk of its
/// own, and not set aside by another framework.
pub(super) fn piece(resource: &v1::Resource, role: &str) -> Option<Piece> {
    let special = resource.revocable.is_some() || resource.shared.is_some() || resource.disk.is_some();
    if special {
        return None;
    }
    let amount = amount(resource)?;
    let ranges = ranges(resource).collect();
    let (name, reserved) = (resource.name.clone(), reserved(resource, role)?);
    Some(Piece { name, amount, ranges, reserved, wire: Bytes::from(resource.encode_to_vec()) })
}

/// How much there is of a scalar, or how many numbers of ranges.
pub(super) fn amount(resource: &v1::Resource) -> Option<Thousandths> {
    match (&resource.scalar, &resource.ranges) {
        (Some(scalar), _) => Some(Thousandths::of(scalar.value)),
        (None, Some(_)) => {
            let numbers = ranges(resource).map(|(begin, end)| (end - begin).saturating_add(1));
            Some(Thousandths(numbers.fold(0, u64::saturating_add).saturating_mul(1000)))
        }
        (None, None) => None,
    }
}

fn ranges(resource: &v1::Resource) -> impl Iterator<Item = (u64, u64)> {
    resource.ranges.iter().flat_map(|ranges| &ranges.range).map(ends)
}

fn ends(range: &v1::value::Range) -> (u64, u64) {
    (range.begin, range.end.max(range.begin))
}

/// For whom an entry is set aside; `None`: for another framework.
fn reserved(resource: &v1::Resource, role: &str) -> Option<Reserved> {
    let old = resource.reservation.is_some() || resource.role.as_ref().is_some_and(|role| role != "*");
    Some(match resource.reservations.last() {
        None if old => Reserved::Role,
        None => Reserved::No,
        Some(info) if has_labels(info) => Reserved::Labelled(labelled(info)?.to_owned()),
        Some(info) if info.role() == role => Reserved::Role,
        Some(_) => Reserved::Above,
    })
}

fn has_labels(info: &ReservationInfo) -> bool {
    info.labels.as_ref().is_some_and(|labels| !labels.labels.is_empty())
}

/// Which framework of this kind a reservation names.
pub(super) fn labelled(info: &ReservationInfo) -> Option<&str> {
    let labels = info.labels.as_ref().map(|labels| labels.labels.as_slice()).unwrap_or_default();
    labels.iter().find(|label| label.key == LABEL).and_then(|label| label.value.as_deref())
}

/// An entry as it came.
pub(super) fn whole(piece: &Piece) -> Option<v1::Resource> {
    v1::Resource::decode(piece.wire.clone()).ok()
}

/// An entry as it came, but for the amount, and the reservation that is given up or made in the same call.
pub(super) fn resource(portion: &Portion, reservation: Option<&Reservation>) -> Option<v1::Resource> {
    let mut resource = whole(&portion.piece)?;
    if portion.piece.ranges.is_empty() {
        resource.scalar = Some(v1::value::Scalar { value: portion.amount.as_f64() });
    } else {
        let range = portion.ranges.iter().map(|&(begin, end)| v1::value::Range { begin, end }).collect();
        resource.ranges = Some(v1::value::Ranges { range });
    }
    if portion.form != Form::AsOffered && matches!(portion.piece.reserved, Reserved::Labelled(_)) {
        resource.reservations.pop();
    }
    if let (Form::Reserved, Some(reservation)) = (portion.form, reservation) {
        resource.reservations.push(info(reservation));
    }
    Some(resource)
}

fn info(reservation: &Reservation) -> ReservationInfo {
    let label = v1::Label { key: LABEL.to_owned(), value: Some(reservation.framework.clone()) };
    ReservationInfo {
        principal: reservation.principal.clone(),
        labels: Some(v1::Labels { labels: vec![label] }),
        role: Some(reservation.role.clone()),
        r#type: Some(reservation_info::Type::Dynamic as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(reservations: Vec<ReservationInfo>) -> v1::Resource {
        v1::Resource {
            name: "cpus".into(),
            r#type: v1::value::Type::Scalar as i32,
            scalar: Some(v1::value::Scalar { value: 4.0 }),
            reservations,
            ..v1::Resource::default()
        }
    }

    fn by(role: &str, label: Option<(&str, &str)>) -> ReservationInfo {
        let label = label.map(|(key, value)| v1::Label { key: key.into(), value: Some(value.into()) });
        ReservationInfo {
            role: Some(role.into()),
            labels: label.map(|label| v1::Labels { labels: vec![label] }),
            r#type: Some(reservation_info::Type::Dynamic as i32),
            ..ReservationInfo::default()
        }
    }

    fn portion(piece: Piece, form: Form) -> Portion {
        Portion { piece, amount: Thousandths(210), ranges: vec![], form }
    }

    fn reservation() -> Reservation {
        Reservation { role: "ops/logs".into(), principal: Some("p".into()), framework: "logs".into() }
    }

    #[test]
    fn for_whom_an_entry_is_set_aside_is_told_by_its_last_reservation() {
        let reserved = |infos| piece(&cpus(infos), "ops/logs").map(|piece| piece.reserved);
        assert_eq!(reserved(vec![]), Some(Reserved::No));
        assert_eq!(reserved(vec![by("ops", None)]), Some(Reserved::Above));
        assert_eq!(reserved(vec![by("ops", None), by("ops/logs", None)]), Some(Reserved::Role));
        let ours = by("ops/logs", Some(("logherd", "logs")));
        assert_eq!(reserved(vec![by("ops", None), ours]), Some(Reserved::Labelled("logs".into())));
        assert_eq!(reserved(vec![by("ops/logs", Some(("service", "database")))]), None);
    }

    #[test]
    fn a_reservation_is_refined_and_taken_off_again() {
        let plain = piece(&cpus(vec![by("ops", None)]), "ops/logs").unwrap();
        let written = resource(&portion(plain, Form::Reserved), Some(&reservation())).unwrap();
        assert_eq!(written.scalar, Some(v1::value::Scalar { value: 0.21 }));
        assert_eq!(written.reservations, [by("ops", None), info(&reservation())]);
        assert_eq!((written.role.as_deref(), written.reservation.as_ref()), (None, None));

        let ours = piece(&written, "ops/logs").unwrap();
        assert_eq!(whole(&ours), Some(written.clone()));
        let again = resource(&portion(ours.clone(), Form::Reserved), Some(&reservation())).unwrap();
        assert_eq!(again.reservations, written.reservations);
        let off = resource(&portion(ours, Form::Unreserved), None).unwrap();
        assert_eq!(off.reservations, [by("ops", None)]);
    }

    #[test]
    fn ports_are_ranges_in_and_out() {
        let range = vec![v1::value::Range { begin: 31_000, end: 31_009 }];
        let ports = v1::Resource {
            name: "ports".into(),
            r#type: v1::value::Type::Ranges as i32,
            ranges: Some(v1::value::Ranges { range }),
            ..v1::Resource::default()
        };
        let piece = piece(&ports, "logherd").unwrap();
        assert_eq!((piece.amount.0, piece.ranges.as_slice()), (10_000, &[(31_000, 31_009)][..]));
        let ranges = vec![(31_000, 31_001)];
        let two = Portion { piece, amount: Thousandths(2000), ranges, form: Form::AsOffered };
        let range = vec![v1::value::Range { begin: 31_000, end: 31_001 }];
        let expected = v1::Resource { ranges: Some(v1::value::Ranges { range }), ..ports };
        assert_eq!(resource(&two, None), Some(expected));
    }
}
