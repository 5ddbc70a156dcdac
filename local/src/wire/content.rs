//! Decides by Mesos' exact rules which encodings a request has and wants.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

/// How messages are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// A status code and a text for people.
pub(crate) type Refusal = (u16, String);

/// The encoding of a request's body. Compared as a whole: no parameters, no other case.
pub(crate) fn of_body(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let Some(given) = headers.get(CONTENT_TYPE) else {
        return Err((400, "Expecting 'Content-Type' to be present".into()));
    };
    [Encoding::Protobuf, Encoding::Json]
        .into_iter()
        .find(|encoding| given.as_bytes() == encoding.media_type().as_bytes())
        .ok_or_else(|| (415, "Expecting 'Content-Type' of application/json or application/x-protobuf".into()))
}

/// The encoding of the answer: JSON whenever it is acceptable, also when nothing is said.
pub(crate) fn of_answer(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let Some(accept) = headers.get(ACCEPT) else { return Ok(Encoding::Json) };
    let accept = accept.to_str().unwrap_or("");
    [Encoding::Json, Encoding::Protobuf]
        .into_iter()
        .find(|encoding| accepts(accept, encoding.media_type()))
        .ok_or_else(|| {
            (406, "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'".into())
        })
}

fn accepts(accept: &str, media_type: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().unwrap_or("");
        let refused = parts.any(|parameter| {
            parameter.strip_prefix("q=").and_then(|q| q.parse::<f64>().ok()).is_some_and(|q| q <= 0.0)
        });
        let matches = named == "*/*"
            || named == media_type
            || named
                .strip_suffix("/*")
                .is_some_and(|kind| media_type.split_once('/').is_some_and(|m| m.0 == kind));
        matches && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_content_type_counts_only_exactly() {
        assert_eq!(of_body(&headers(CONTENT_TYPE, "application/x-protobuf")), Ok(Encoding::Protobuf));
        assert_eq!(of_body(&headers(CONTENT_TYPE, "application/json")), Ok(Encoding::Json));
        for other in ["text/plain", "application/x-protobuf; charset=utf-8", "Application/X-Protobuf"] {
            assert_eq!(of_body(&headers(CONTENT_TYPE, other)).unwrap_err().0, 415, "{other}");
        }
        assert_eq!(of_body(&HeaderMap::new()).unwrap_err().0, 400);
    }

    #[test]
    fn json_wins_whenever_it_is_acceptable() {
        for json in
            ["*/*", "application/*", "application/x-protobuf, application/json", "text/html, */*;q=0.1"]
        {
            assert_eq!(of_answer(&headers(ACCEPT, json)), Ok(Encoding::Json), "{json}");
        }
        assert_eq!(of_answer(&HeaderMap::new()), Ok(Encoding::Json));
        for protobuf in ["application/x-protobuf", "application/x-protobuf, application/json;q=0"] {
            assert_eq!(of_answer(&headers(ACCEPT, protobuf)), Ok(Encoding::Protobuf), "{protobuf}");
        }
        assert_eq!(of_answer(&headers(ACCEPT, "text/html")).unwrap_err().0, 406);
    }
}
