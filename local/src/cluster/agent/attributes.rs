//! Reads attributes in the notation of `mesos-agent --attributes`.

use proto::mesos::v1 as mesos;

/// A number is a scalar, `[1-2, 5-6]` are ranges, anything else is text.
pub(super) fn read(name: &str, value: &str) -> mesos::Attribute {
    let attribute = |kind: mesos::value::Type| mesos::Attribute {
        name: name.to_owned(),
        r#type: kind.into(),
        ..Default::default()
    };
    if let Some(range) = ranges(value) {
        let ranges = Some(mesos::value::Ranges { range });
        return mesos::Attribute { ranges, ..attribute(mesos::value::Type::Ranges) };
    }
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            let scalar = Some(mesos::value::Scalar { value: number });
            mesos::Attribute { scalar, ..attribute(mesos::value::Type::Scalar) }
        }
        _ => {
            let text = Some(mesos::value::Text { value: value.to_owned() });
            mesos::Attribute { text, ..attribute(mesos::value::Type::Text) }
        }
    }
}

fn ranges(value: &str) -> Option<Vec<mesos::value::Range>> {
    let inside = value.trim().strip_prefix('[')?.strip_suffix(']')?;
    let range = |text: &str| {
        let (begin, end) = text.trim().split_once('-')?;
        Some(mesos::value::Range { begin: begin.trim().parse().ok()?, end: end.trim().parse().ok()? })
    };
    inside.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesos::value::Type;

    #[test]
    fn attributes_have_the_type_that_their_text_looks_like() {
        for (text, kind) in [
            ("r1", Type::Text),
            ("3.5", Type::Scalar),
            ("[1-2, 5-6]", Type::Ranges),
            ("[a-b]", Type::Text),
            ("nan", Type::Text),
            ("", Type::Text),
        ] {
            assert_eq!(read("rack", text).r#type(), kind, "{text:?}");
        }
        assert_eq!(read("ports", "[1-2, 5-6]").ranges.unwrap().range.len(), 2);
    }
}
