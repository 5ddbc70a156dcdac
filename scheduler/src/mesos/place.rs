//! Reads where an agent is: host, fault domain and attributes, each attribute as text.
use crate::core::cluster::{Place, Unavailability};
use crate::ids::Moment;
use proto::mesos::v1;
use std::time::Duration;

/// The place of an agent, from what an offer or the operator API says of it.
pub(super) fn place(host: String, domain: Option<v1::DomainInfo>, attributes: Vec<v1::Attribute>) -> Place {
    let (region, zone) = match domain.and_then(|domain| domain.fault_domain) {
        Some(fault) => (Some(fault.region.name), Some(fault.zone.name)),
        None => (None, None),
    };
    let attributes = attributes.into_iter().map(attribute).collect();
    Place { host, region, zone, attributes }
}

/// When an agent's machine is planned to be away.
pub(super) fn unavailability(planned: &v1::Unavailability) -> Unavailability {
    let nanoseconds = |n: i64| Duration::from_nanos(u64::try_from(n).unwrap_or(0));
    Unavailability {
        start: Moment(0).after(nanoseconds(planned.start.nanoseconds)),
        duration: planned.duration.as_ref().map(|duration| nanoseconds(duration.nanoseconds)),
    }
}

/// The name and the value as agents print it: `4`, `[1-9, 20-29]`, `{a, b}` or the text itself.
fn attribute(attribute: v1::Attribute) -> (String, String) {
    let value = if let Some(scalar) = attribute.scalar {
        scalar.value.to_string()
    } else if let Some(ranges) = attribute.ranges {
        let ranges: Vec<String> =
            ranges.range.iter().map(|range| format!("{}-{}", range.begin, range.end)).collect();
        format!("[{}]", ranges.join(", "))
    } else if let Some(set) = attribute.set {
        format!("{{{}}}", set.item.join(", "))
    } else {
        attribute.text.map(|text| text.value).unwrap_or_default()
    };
    (attribute.name, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::value::{Range, Ranges, Scalar, Set, Text, Type};

    #[test]
    fn attributes_of_every_kind_are_read_as_text() {
        let named = |name: &str, kind: Type| v1::Attribute {
            name: name.into(),
            r#type: kind as i32,
            ..v1::Attribute::default()
        };
        let ranges = vec![Range { begin: 1, end: 9 }, Range { begin: 20, end: 29 }];
        let attributes = vec![
            v1::Attribute { text: Some(Text { value: "r1".into() }), ..named("rack", Type::Text) },
            v1::Attribute { scalar: Some(Scalar { value: 1.5 }), ..named("level", Type::Scalar) },
            v1::Attribute { ranges: Some(Ranges { range: ranges }), ..named("vlan", Type::Ranges) },
            v1::Attribute {
                set: Some(Set { item: vec!["a".into(), "b".into()] }),
                ..named("tags", Type::Set)
            },
        ];
        let place = place("h".into(), None, attributes);
        let expected = [("rack", "r1"), ("level", "1.5"), ("vlan", "[1-9, 20-29]"), ("tags", "{a, b}")];
        assert_eq!(place.attributes, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!((place.region, place.zone), (None, None));
    }

    #[test]
    fn a_planned_absence_without_a_duration_has_no_end() {
        let start = v1::TimeInfo { nanoseconds: 5_000_000_000 };
        let planned = unavailability(&v1::Unavailability { start, duration: None });
        assert_eq!(planned, Unavailability { start: Moment(5000), duration: None });
    }
}
