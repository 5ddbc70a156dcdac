//! Makes answers and reads requests, with a limit on their size.

use super::content::{Encoding, Refusal};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use std::io;

/// The body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
/// An answer.
pub(crate) type Answer = Response<Body>;

/// The largest request that is read.
const LARGEST_REQUEST: usize = 64 * 1024 * 1024;

/// Reads the whole body of a request.
pub(crate) async fn read(body: hyper::body::Incoming) -> Result<Bytes, Refusal> {
    match Limited::new(body, LARGEST_REQUEST).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(problem) => Err((400, format!("Failed to read the body: {problem}"))),
    }
}

/// An answer with a body in one piece.
pub(crate) fn whole(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let full = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(full);
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A text for people.
pub(crate) fn text(status: u16, text: impl Into<String>) -> Answer {
    whole(status, "text/plain; charset=utf-8", text.into())
}

/// Just a status.
pub(crate) fn empty(status: u16) -> Answer {
    let mut answer = whole(status, "", Bytes::new());
    answer.headers_mut().remove(CONTENT_TYPE);
    answer
}

/// A message in its encoding.
pub(crate) fn encoded(encoding: Encoding, bytes: Vec<u8>) -> Answer {
    whole(200, encoding.media_type(), bytes)
}

/// 405, saying which method is right.
pub(crate) fn wrong_method(expected: &'static str, given: &http::Method) -> Answer {
    let problem =
        format!("405 Method Not Allowed. Expecting one of {{ '{expected}' }}, but received '{given}'.");
    let mut answer = text(405, problem);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(expected));
    answer
}

/// 307 to another master.
pub(crate) fn redirect(location: &str) -> Answer {
    let mut answer = empty(307);
    if let Ok(location) = HeaderValue::from_str(location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}
