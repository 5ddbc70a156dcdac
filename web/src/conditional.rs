//! Decides what `If-Match` and `If-None-Match` ask for.
use crate::edit::Expect;
use crate::problem::Problem;
use axum::response::{IntoResponse, Response};
use config::document::Revision;
use http::StatusCode;
use http::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use sha2::{Digest, Sha256};

/// The tags of one condition.
#[derive(Debug, PartialEq, Eq)]
enum Tags {
    /// `*`
    Any,
    /// The tags without quotes, and whether they are strong.
    Some(Vec<(String, bool)>),
}

/// The tag of a document.
pub(crate) fn document_tag(revision: Revision) -> String {
    format!("\"{revision}\"")
}

/// The tag of a body.
fn body_tag(body: &[u8]) -> String {
    let hex: String = Sha256::digest(body).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Answers a GET with `value` as JSON, with a tag of its content; 304 when the reader has it already.
pub(crate) fn json(headers: &HeaderMap, value: &impl serde::Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the answer cannot be written as JSON: {error}"),
        )
    })?;
    let tag = body_tag(&body);
    tagged_json(headers, &tag, body)
}

/// Answers a GET with a JSON body that has this tag.
pub(crate) fn tagged_json(headers: &HeaderMap, tag: &str, body: Vec<u8>) -> Result<Response, Problem> {
    let mut response = match reads(headers, tag)? {
        true => (StatusCode::OK, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
            .into_response(),
        false => StatusCode::NOT_MODIFIED.into_response(),
    };
    set_tag(&mut response, tag);
    Ok(response)
}

/// Sets the `ETag` of a response.
pub(crate) fn set_tag(response: &mut Response, tag: &str) {
    if let Ok(value) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, value);
    }
}

/// Whether a GET of something with this tag gets its body; refused when `If-Match` names another one.
pub(crate) fn reads(headers: &HeaderMap, tag: &str) -> Result<bool, Problem> {
    let bare = tag.trim_matches('"');
    if let Some(tags) = condition(headers, IF_MATCH)?
        && !tags.matches(bare, true)
    {
        return Err(Problem::new(StatusCode::PRECONDITION_FAILED, format!("it has the ETag {tag}")));
    }
    Ok(!condition(headers, IF_NONE_MATCH)?.is_some_and(|tags| tags.matches(bare, false)))
}

/// What a PUT or DELETE expects of a document that is at `current` now.
pub(crate) fn expectation(headers: &HeaderMap, current: Option<Revision>) -> Result<Expect, Problem> {
    let if_match = condition(headers, IF_MATCH)?;
    let now = current.map(|r| r.to_string());
    match condition(headers, IF_NONE_MATCH)? {
        Some(Tags::Any) if if_match.is_none() => return Ok(Expect::Absent),
        Some(tags) if now.as_ref().is_some_and(|now| tags.matches(now, false)) => {
            return Err(Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "the config has the ETag that must not match",
            ));
        }
        _ => {}
    }
    match if_match {
        None => Ok(Expect::Any),
        Some(Tags::Any) => Ok(Expect::Present),
        Some(Tags::Some(tags)) => {
            let strong: Vec<Revision> = tags
                .iter()
                .filter(|(_, strong)| *strong)
                .filter_map(|(tag, _)| tag.parse().ok().map(Revision))
                .collect();
            let chosen = strong.iter().find(|r| Some(**r) == current).or(strong.first());
            chosen.map(|r| Expect::At(*r)).ok_or_else(|| changed(current))
        }
    }
}

/// The refusal of an edit of something that is not at the revision that was expected.
pub(crate) fn changed(current: Option<Revision>) -> Problem {
    let detail = match current {
        Some(revision) => {
            format!("the config was changed meanwhile; its ETag is \"{revision}\". Read it again, then edit")
        }
        None => "there is no such config, so that it cannot have that ETag".to_owned(),
    };
    let problem = Problem::new(StatusCode::PRECONDITION_FAILED, detail);
    match current.and_then(|r| HeaderValue::from_str(&document_tag(r)).ok()) {
        Some(tag) => problem.with_header(ETAG, tag),
        None => problem,
    }
}

impl Tags {
    fn matches(&self, tag: &str, strongly: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Some(tags) => tags.iter().any(|(t, strong)| t == tag && (*strong || !strongly)),
        }
    }
}

fn condition(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Problem> {
    let mut tags = Vec::new();
    let mut seen = false;
    for value in headers.get_all(&name) {
        seen = true;
        let malformed =
            || Problem::bad_request(format!("`{name}` is neither `*` nor a list of quoted ETags"));
        let text = value.to_str().map_err(|_| malformed())?;
        if text.trim() == "*" {
            return Ok(Some(Tags::Any));
        }
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (tag, strong) = part.strip_prefix("W/").map_or((part, true), |tag| (tag, false));
            let bare = tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')).ok_or_else(malformed)?;
            tags.push((bare.to_owned(), strong));
        }
    }
    Ok(seen.then_some(Tags::Some(tags)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn writers_expect_what_their_conditions_say() {
        let at = |r| Some(Revision(r));
        for (pairs, current, expected) in [
            (vec![], at(7), Some(Expect::Any)),
            (vec![(IF_MATCH, "*")], at(7), Some(Expect::Present)),
            (vec![(IF_MATCH, "\"7\"")], at(7), Some(Expect::At(Revision(7)))),
            (vec![(IF_MATCH, "\"6\", \"7\"")], at(7), Some(Expect::At(Revision(7)))),
            (vec![(IF_MATCH, "\"6\"")], at(7), Some(Expect::At(Revision(6)))),
            (vec![(IF_MATCH, "W/\"7\"")], at(7), None),
            (vec![(IF_MATCH, "\"abc\"")], at(7), None),
            (vec![(IF_MATCH, "7")], at(7), None),
            (vec![(IF_NONE_MATCH, "*")], None, Some(Expect::Absent)),
            (vec![(IF_NONE_MATCH, "\"7\"")], at(7), None),
            (vec![(IF_NONE_MATCH, "\"6\"")], at(7), Some(Expect::Any)),
        ] {
            assert_eq!(expectation(&headers(&pairs), current).ok(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn readers_get_a_body_only_when_they_lack_it() {
        assert!(reads(&headers(&[]), "\"7\"").unwrap());
        assert!(!reads(&headers(&[(IF_NONE_MATCH, "\"6\", W/\"7\"")]), "\"7\"").unwrap());
        assert!(!reads(&headers(&[(IF_NONE_MATCH, "*")]), "\"7\"").unwrap());
        assert!(reads(&headers(&[(IF_MATCH, "\"6\"")]), "\"7\"").is_err());
    }
}
