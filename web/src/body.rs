//! Reads the bodies of requests, with a limit and a deadline.
use crate::problem::Problem;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The longest body, in bytes: 1 MiB.
pub(crate) const BODY_MAX: usize = 1 << 20;
/// How much more of a body that is too long is read and thrown away, so that its sender gets to read the answer.
const DRAIN_MAX: usize = 8 << 20;
/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// Reads a JSON body of a given form.
pub(crate) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let media = media_type(request.headers());
    if media != "application/json" && !(media.starts_with("application/") && media.ends_with("+json")) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("the body is `{media}`; send `Content-Type: application/json`"),
        ));
    }
    let bytes = whole(request).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("the body is not as expected: {error}")))
}

/// The media type of a body in lower case, without parameters; empty if none is given.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// Reads a whole body.
pub(crate) async fn whole(request: Request) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has more than {BODY_MAX} bytes (1 MiB)"),
        )
    };
    let mut stream = request.into_body().into_data_stream();
    let read = async {
        let (mut all, mut length) = (BytesMut::new(), 0usize);
        while let Some(chunk) = stream.next().await {
            let chunk =
                chunk.map_err(|error| Problem::bad_request(format!("the body broke off: {error}")))?;
            length = length.saturating_add(chunk.len());
            if length <= BODY_MAX {
                all.extend_from_slice(&chunk);
            } else if length > BODY_MAX + DRAIN_MAX {
                break;
            }
        }
        if length > BODY_MAX { Err(too_large()) } else { Ok(all.freeze()) }
    };
    tokio::time::timeout(BODY_DEADLINE, read).await.unwrap_or_else(|_| {
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 30 s"))
    })
}
