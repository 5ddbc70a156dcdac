use super::*;
use proptest::prelude::*;

fn scalar(name: &str, value: f64) -> mesos::Resource {
    mesos::Resource {
        name: name.into(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value }),
        ..Default::default()
    }
}

fn ports(ranges: &[(u64, u64)]) -> mesos::Resource {
    mesos::Resource {
        name: "ports".into(),
        r#type: mesos::value::Type::Ranges.into(),
        ranges: Some(mesos::value::Ranges {
            range: ranges.iter().map(|&(begin, end)| mesos::value::Range { begin, end }).collect(),
        }),
        ..Default::default()
    }
}

fn reserved(mut resource: mesos::Resource, roles: &[&str]) -> mesos::Resource {
    resource.reservations = roles
        .iter()
        .map(|role| ReservationInfo {
            role: Some((*role).into()),
            r#type: Some(reservation_info::Type::Dynamic.into()),
            ..Default::default()
        })
        .collect();
    resource
}

#[test]
fn only_three_decimals_count() {
    let mut have = Resources::read(&[scalar("cpus", 0.3)]).unwrap();
    let tenth = Resources::read(&[scalar("cpus", 0.1)]).unwrap();
    for _ in 0..3 {
        assert!(have.contains(&tenth));
        have.subtract(&tenth);
    }
    assert!(have.is_empty());
}

#[test]
fn a_value_that_does_not_fit_its_type_is_refused() {
    let mut wrong = scalar("cpus", 1.0);
    wrong.r#type = mesos::value::Type::Ranges.into();
    assert!(Resources::read(&[wrong]).is_err());
    for value in [0.0, 0.0001, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Resources::read(&[scalar("cpus", value)]).is_err(), "{value}");
    }
    assert!(Resources::read(&[ports(&[(5, 1)])]).is_err());
    assert!(Resources::read(&[ports(&[(1, 5), (5, 6)])]).is_err());
}

#[test]
fn the_old_form_of_a_reservation_equals_the_refined_one() {
    let mut old = scalar("cpus", 1.0);
    old.role = Some("logs".into());
    old.reservation = Some(ReservationInfo::default());
    let new = reserved(scalar("cpus", 1.0), &["logs"]);
    assert_eq!(
        Resources::read(std::slice::from_ref(&old)).unwrap(),
        Resources::read(std::slice::from_ref(&new)).unwrap()
    );
    let plain = Style { allocated_to: None, refined: false };
    assert_eq!(Resources::read(&[new]).unwrap().write(plain), vec![old]);
}

#[test]
fn a_bad_stack_of_reservations_is_refused() {
    for roles in [&["*"][..], &[""], &["a", "b"], &["a", "ab"], &["a/b", "a"]] {
        assert!(Resources::read(&[reserved(scalar("cpus", 1.0), roles)]).is_err(), "{roles:?}");
    }
    assert!(Resources::read(&[reserved(scalar("cpus", 1.0), &["a", "a/b"])]).is_ok());
    let mut mixed = reserved(scalar("cpus", 1.0), &["a"]);
    mixed.role = Some("a".into());
    assert!(Resources::read(&[mixed]).is_err());
}

#[test]
fn reserved_resources_are_for_their_role_and_the_roles_below() {
    let all = Resources::read(&[scalar("cpus", 1.0), reserved(scalar("mem", 8.0), &["a"])]).unwrap();
    assert_eq!(all.usable_by("b").to_string(), "cpus:1");
    assert_eq!(all.usable_by("ab").to_string(), "cpus:1");
    assert_eq!(all.usable_by("a/c").to_string(), "cpus:1; mem(reservations: [a]):8");
}

fn some_resources() -> impl Strategy<Value = Resources> {
    let role = prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))];
    let one = prop_oneof![
        (prop_oneof![Just("cpus"), Just("mem")], 1_i64..50_000, role)
            .prop_map(|(name, n, role)| (scalar(name, n as f64 / 1000.0), role)),
        (0_u64..200, 0_u64..20).prop_map(|(begin, more)| (ports(&[(begin, begin + more)]), None)),
    ]
    .prop_map(|(resource, role)| role.map_or(resource.clone(), |role| reserved(resource, &[role])));
    proptest::collection::vec(one, 0..6).prop_map(|wire| Resources::read(&wire).unwrap())
}

proptest! {
    #[test]
    fn what_is_taken_out_and_put_back_is_what_was(all in some_resources(), part in some_resources()) {
        if all.contains(&part) {
            let mut rest = all.clone();
            rest.subtract(&part);
            rest.add(&part);
            prop_assert!(rest.contains(&all) && all.contains(&rest));
        }
    }

    #[test]
    fn a_sum_contains_both_and_leaves_the_one_without_the_other(a in some_resources(), b in some_resources()) {
        let mut sum = a.clone();
        sum.add(&b);
        prop_assert!(sum.contains(&a) && sum.contains(&b));
    }

    #[test]
    fn writing_and_reading_changes_nothing(all in some_resources()) {
        for style in [Style::PLAIN, Style { allocated_to: Some("x"), refined: false }] {
            let back = Resources::read(&all.write(style)).unwrap();
            prop_assert!(back.contains(&all) && all.contains(&back));
        }
    }
}
