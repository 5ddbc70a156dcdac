//! Reads the names of documents out of addresses, and writes them into addresses.
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is encoded in a name: all but the characters that no address gives a meaning.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why an address holds no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadName {
    /// The bytes after decoding are no text.
    #[error("the name in the address is not UTF-8 after percent-decoding")]
    NotText,
    /// A `%` without two hexadecimal digits.
    #[error(
        "the address holds a `%` without two hexadecimal digits after it; write `%25` for a percent sign"
    )]
    BadEscape,
}

/// The name in `path` after `base` and a slash: decoded once, slashes raw or as `%2F`. `None` when the path is the
/// base itself, with or without a slash at its end.
pub(crate) fn in_path(path: &str, base: &str) -> Result<Option<String>, BadName> {
    match path.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')) {
        None | Some("") => Ok(None),
        Some(name) => decode(name).map(Some),
    }
}

/// The name in a query string: the value of its first `name`. A `+` stands for itself, since names hold no blanks.
pub(crate) fn in_query(query: &str, parameter: &str) -> Result<Option<String>, BadName> {
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == parameter))
        .map(|(_, value)| decode(value))
        .transpose()
}

/// Writes a name as one part of a path, or as a value in a query.
pub(crate) fn encode(name: &str) -> String {
    utf8_percent_encode(name, ENCODED).to_string()
}

fn decode(text: &str) -> Result<String, BadName> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let hex = |at: usize| after.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
        if !(hex(0) && hex(1)) {
            return Err(BadName::BadEscape);
        }
        rest = after;
    }
    percent_decode_str(text).decode_utf8().map(|name| name.into_owned()).map_err(|_| BadName::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_with_slashes_raw_or_encoded() {
        for (path, name) in [
            ("/configs", Ok(None)),
            ("/configs/", Ok(None)),
            ("/configs/nginx", Ok(Some("nginx"))),
            ("/configs/web/nginx:1.27", Ok(Some("web/nginx:1.27"))),
            ("/configs/web%2Fnginx%3A1.27", Ok(Some("web/nginx:1.27"))),
            ("/configs/host:5000/a%2fb", Ok(Some("host:5000/a/b"))),
            ("/configs/100%25", Ok(Some("100%"))),
            ("/configs/%2525", Ok(Some("%25"))),
            ("/configs/a+b", Ok(Some("a+b"))),
            ("/configs/%C3%BC", Ok(Some("ü"))),
            ("/configs/%FF", Err(BadName::NotText)),
            ("/configs/%2", Err(BadName::BadEscape)),
            ("/configs/50%off", Err(BadName::BadEscape)),
        ] {
            assert_eq!(in_path(path, "/configs"), name.map(|n| n.map(str::to_owned)), "{path}");
        }
        assert_eq!(in_query("a=b&name=web%2Fnginx&name=x", "name"), Ok(Some("web/nginx".into())));
        assert_eq!(in_query("names=x", "name"), Ok(None));
    }

    proptest! {
        #[test]
        fn every_name_survives_the_way_through_an_address(name in "\\PC{1,40}") {
            let encoded = encode(&name);
            prop_assert!(encoded.is_ascii() && !encoded.contains(['/', '?', '#', ' ', '&', '+']));
            prop_assert_eq!(in_path(&format!("/configs/{encoded}"), "/configs"), Ok(Some(name.clone())));
            prop_assert_eq!(in_query(&format!("x=1&name={encoded}"), "name"), Ok(Some(name)));
        }

        #[test]
        fn no_path_makes_decoding_panic(path in "\\PC{0,60}|(%[0-9a-fA-F%]{0,3}|/|a){0,20}") {
            if let Ok(Some(name)) = in_path(&format!("/configs/{path}"), "/configs") {
                prop_assert!(!name.is_empty());
            }
        }
    }
}
