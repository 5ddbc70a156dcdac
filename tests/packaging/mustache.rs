//! Renders as much of Mustache as packages use: values, and sections that are there or not.
use serde_json::Value;

/// The template with the values of `options` in place. A name that is not there is an error, as it is a slip.
pub(crate) fn render(template: &str, options: &Value) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, tag)) = rest.split_once("{{") {
        out.push_str(before);
        let end = if tag.starts_with('{') { "}}}" } else { "}}" };
        let (name, after) = tag.split_once(end).ok_or_else(|| format!("`{{{{{tag:.20}` has no end"))?;
        rest = after;
        let name = name.trim_start_matches('{').trim();
        match name.strip_prefix(['#', '^']) {
            Some(section) => {
                let closing = format!("{{{{/{section}}}}}");
                let (inner, after) =
                    rest.split_once(closing.as_str()).ok_or_else(|| format!("`{section}` is not closed"))?;
                rest = after;
                if is_true(value(options, section)?) == name.starts_with('#') {
                    out.push_str(&render(inner, options)?);
                }
            }
            None => match value(options, name)? {
                Value::String(text) => {
                    let quoted = Value::from(text.as_str()).to_string();
                    out.push_str(quoted.trim_matches('"'));
                }
                Value::Null | Value::Object(_) | Value::Array(_) => {
                    return Err(format!("`{name}` is no value"));
                }
                plain => out.push_str(&plain.to_string()),
            },
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn value<'a>(options: &'a Value, name: &str) -> Result<&'a Value, String> {
    let found = name.split('.').try_fold(options, |value, part| value.get(part));
    found.ok_or_else(|| format!("there is no option `{name}`"))
}

fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && value != ""
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_and_sections_are_put_in_place() {
        let options = json!({"a": {"b": "x\"y", "n": 3, "off": false, "none": ""}});
        let with = |template: &str| render(template, &options);
        assert_eq!(with("{{a.b}} {{{a.b}}} {{a.n}}").unwrap(), r#"x\"y x\"y 3"#);
        assert_eq!(
            with("{{#a.n}}[{{a.n}}]{{/a.n}}{{#a.off}}no{{/a.off}}{{^a.none}}yes{{/a.none}}").unwrap(),
            "[3]yes"
        );
        for wrong in ["{{a.c}}", "{{a.b", "{{#a.b}}", "{{a}}"] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }
}
