//! Shows which resources are chosen and in which form.
use super::super::resources::Thousandths;
use super::super::tests::offer;
use super::*;
use bytes::Bytes;
use proptest::prelude::*;

fn claim(reserve: bool) -> Claim {
    Claim {
        roles: vec!["a".into(), "b".into()],
        framework: "logs".into(),
        principal: Some("p".into()),
        reserve,
    }
}

fn needs() -> Needs {
    Needs::new(0.2, 128.0, 0.0)
}

fn piece(name: &str, thousandths: u64, reserved: Reserved) -> Piece {
    let amount = Thousandths(thousandths);
    Piece { name: name.into(), amount, ranges: vec![], reserved, wire: Bytes::new() }
}

/// Processors and memory, of each so many thousandths.
fn both(cpus: u64, mem: u64, reserved: &Reserved) -> Vec<Piece> {
    vec![piece("cpus", cpus, reserved.clone()), piece("mem", mem, reserved.clone())]
}

fn ours() -> Reserved {
    Reserved::Labelled("logs".into())
}

fn of_role(role: &str, pieces: Vec<Piece>) -> (String, Vec<Offer>) {
    let offer = Offer { role: role.into(), pieces, ..offer(&format!("o-{role}"), "agent", 0.0) };
    (role.into(), vec![offer])
}

fn forms(taken: &Taken) -> Vec<Form> {
    taken.portions().map(|portion| portion.form).collect()
}

#[test]
fn a_first_launch_reserves_what_it_takes() {
    let taken = claim(true).plan("a", both(4_000, 900_000, &Reserved::No), &needs()).unwrap();
    assert_eq!(forms(&taken), [Form::Reserved; 4]);
    assert!(taken.unreserve.is_empty());
    let reservation = taken.reservation.unwrap();
    assert_eq!((reservation.role.as_str(), reservation.framework.as_str()), ("a", "logs"));
    assert_eq!(reservation.principal.as_deref(), Some("p"));
}

#[test]
fn a_later_launch_uses_what_was_reserved_and_reserves_nothing() {
    let mut pieces = both(4_000, 900_000, &Reserved::No);
    pieces.extend(both(210, 129_000, &ours()));
    let taken = claim(true).plan("a", pieces, &needs()).unwrap();
    assert_eq!(forms(&taken), [Form::AsOffered; 4]);
    assert!(taken.portions().all(|portion| portion.piece.reserved == ours()));
    assert!(taken.unreserve.is_empty());
}

#[test]
fn a_reservation_that_no_longer_fits_is_given_up_and_made_anew() {
    for (cpus, mem) in [(150, 129_000), (300, 129_000), (210, 200_000)] {
        let mut pieces = both(4_000, 900_000, &Reserved::No);
        pieces.extend(both(cpus, mem, &ours()));
        let taken = claim(true).plan("a", pieces, &needs()).unwrap();
        assert!(forms(&taken).iter().all(|form| *form == Form::Reserved));
        assert_eq!(taken.unreserve, both(cpus, mem, &ours()));
    }
}

#[test]
fn a_reservation_is_kept_when_what_it_lacks_is_not_there() {
    let short = claim(true).plan("a", both(100, 129_000, &ours()), &needs()).unwrap_err();
    assert_eq!(short.0, "offer has 0.1 cpus, the executor needs 0.21");
}

#[test]
fn a_reservation_is_given_up_when_reserving_was_turned_off() {
    let taken = claim(false).plan("a", both(210, 129_000, &ours()), &needs()).unwrap();
    assert_eq!(forms(&taken), [Form::Unreserved; 4]);
    assert_eq!(taken.unreserve, both(210, 129_000, &ours()));
    assert_eq!(taken.reservation, None);
}

#[test]
fn what_an_operator_reserved_for_the_role_is_used_as_it_is_and_what_a_role_above_has_is_refined() {
    let mut pieces = both(210, 0, &Reserved::Role);
    pieces.extend(both(0, 900_000, &Reserved::Above));
    let taken = claim(true).plan("a", pieces, &needs()).unwrap();
    let forms: Vec<_> = taken.portions().map(|p| (p.piece.name.as_str(), p.form)).collect();
    let expected = [("cpus", Form::AsOffered), ("mem", Form::Reserved)];
    assert_eq!(forms, [expected, expected].concat());
}

#[test]
fn what_another_framework_reserved_is_left_alone() {
    let short = claim(true).plan("a", both(4_000, 900_000, &Reserved::Labelled("else".into())), &needs());
    assert_eq!(
        short.unwrap_err().0,
        "offer has 0 cpus, the executor needs 0.21; offer has 0 mem, the executor needs 129"
    );
}

#[test]
fn nothing_is_reserved_for_the_role_of_everybody() {
    let taken = claim(true).plan("*", both(4_000, 900_000, &Reserved::No), &needs()).unwrap();
    assert_eq!((forms(&taken), taken.reservation), (vec![Form::AsOffered; 4], None));
}

#[test]
fn of_several_roles_the_one_with_most_reserved_is_chosen_and_else_the_first_one_named() {
    let claim = claim(false);
    let role = |offered: &[_]| claim.choose(offered, &needs(), |_| false).unwrap().role;
    let plain = |role: &str| of_role(role, both(4_000, 900_000, &Reserved::No));
    let reserved = |role: &str| of_role(role, both(210, 129_000, &Reserved::Role));
    assert_eq!(role(&[plain("a"), plain("b")]), "a");
    assert_eq!(role(&[plain("b"), plain("a")]), "a");
    assert_eq!(role(&[plain("a"), reserved("b")]), "b");
    assert_eq!(role(&[of_role("a", both(100, 900_000, &Reserved::Role)), plain("b")]), "b");
}

#[test]
fn when_no_role_has_enough_it_is_said_of_each() {
    let offered =
        [of_role("a", both(100, 900_000, &Reserved::No)), of_role("b", both(4_000, 64_000, &Reserved::Role))];
    assert_eq!(
        claim(false).choose(&offered, &needs(), |_| false).unwrap_err().0,
        "role a: offer has 0.1 cpus, the executor needs 0.21; role b: offer has 64 mem, the executor needs 129"
    );
}

proptest! {
    /// Whatever an offer is made of, the operations that follow work on what it holds: nothing is used as reserved that
    /// is neither offered so nor reserved in the same call, and reservations of ours are kept whole or given up whole.
    #[test]
    fn every_form_fits_what_was_offered(
        parts in prop::collection::vec((0..4usize, any::<bool>(), 0..400u64), 0..8), reserve in any::<bool>(),
    ) {
        let kinds = [ours(), Reserved::Role, Reserved::Above, Reserved::No];
        let pieces: Vec<Piece> = parts.iter().map(|(kind, cpus, amount)| {
            let (name, amount) = if *cpus { ("cpus", *amount) } else { ("mem", amount * 1000) };
            piece(name, amount, kinds[*kind].clone())
        }).collect();
        let claim = claim(reserve);
        let Ok(taken) = claim.plan("a", pieces.clone(), &needs()) else {
            prop_assert!(take(&pieces, &needs()).is_err());
            return Ok(());
        };
        let ours: Vec<Piece> = pieces.into_iter().filter(|piece| claim.is_ours(piece)).collect();
        let given_up = !taken.unreserve.is_empty();
        prop_assert!(!given_up || taken.unreserve == ours);
        for portion in taken.portions() {
            let is_ours = claim.is_ours(&portion.piece);
            match portion.form {
                Form::AsOffered => prop_assert!(!is_ours || !given_up),
                Form::Unreserved => prop_assert!(is_ours && given_up && !reserve),
                Form::Reserved => {
                    prop_assert!(reserve && portion.piece.reserved != Reserved::Role && (!is_ours || given_up));
                }
            }
        }
        prop_assert!(taken.reservation.is_some() || taken.portions().all(|p| p.form != Form::Reserved));
    }
}
