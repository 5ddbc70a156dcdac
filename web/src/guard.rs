//! Keeps other sites out: a check of the host against DNS rebinding, one against cross-site writes, strict headers.
use crate::problem::Problem;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use std::net::{IpAddr, SocketAddr};

/// From where the server can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only from this machine: then only names of this machine are hosts, so that no other site can take its place.
    Loopback,
    /// From the network, under names that we do not know.
    Network,
}

impl Reach {
    /// The reach of a server that listens on `address`.
    pub(crate) fn of(address: SocketAddr) -> Self {
        if address.ip().is_loopback() { Self::Loopback } else { Self::Network }
    }
}

/// Refuses requests under a foreign host name, and writes that another site's page makes.
pub(crate) async fn refuse_strangers(State(reach): State<Reach>, request: Request, next: Next) -> Response {
    match stranger(reach, request.method(), request.uri(), request.headers()) {
        Some(reason) => Problem::new(StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    }
}

/// Adds headers that keep a browser from doing more with our answers than we mean.
pub(crate) async fn strict_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in STRICT {
        headers.insert(name.clone(), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    response
}

const STRICT: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

fn stranger(reach: Reach, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let host = text(header::HOST).or_else(|| uri.authority().map(|a| a.as_str()));
    if reach == Reach::Loopback && !host.is_none_or(is_this_machine) {
        let host = host.unwrap_or_default();
        return Some(format!(
            "`{host}` is no name of this machine, and this server listens on it only; use `localhost` or `127.0.0.1`"
        ));
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let refused = Some("a page of another site may not change anything here".to_owned());
    // Browsers say from where a request comes; programs send neither header.
    match text(HeaderName::from_static("sec-fetch-site")) {
        Some("same-origin" | "none") => return None,
        Some(_) => return refused,
        None => {}
    }
    let origin = headers.get(header::ORIGIN)?;
    let origin_host = origin.to_str().ok().and_then(|o| o.split_once("://")).map(|(_, authority)| authority);
    if origin_host.is_some() && origin_host == host { None } else { refused }
}

/// Whether a `Host` names this machine by a name that only this machine resolves.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ipv6, _)) => ipv6,
        None => host.split(':').next().unwrap_or(host),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reach: Reach, method: Method, pairs: &[(&'static str, &str)]) -> bool {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        stranger(reach, &method, &Uri::from_static("/configs"), &headers).is_some()
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_are_hosts() {
        for host in [
            "localhost",
            "localhost:9092",
            "127.0.0.1:9092",
            "127.1.2.3",
            "[::1]:9092",
            "a.localhost",
            "LOCALHOST.",
        ] {
            assert!(!refused(Reach::Loopback, Method::GET, &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9092",
            "10.0.0.1",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ] {
            assert!(refused(Reach::Loopback, Method::GET, &[("host", host)]), "{host}");
            assert!(!refused(Reach::Network, Method::GET, &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn other_sites_may_read_what_a_browser_lets_them_but_never_write() {
        let here = ("host", "localhost:9092");
        for (headers, write_refused) in [
            (vec![here], false),
            (vec![here, ("sec-fetch-site", "same-origin")], false),
            (vec![here, ("sec-fetch-site", "none")], false),
            (vec![here, ("sec-fetch-site", "cross-site")], true),
            (vec![here, ("sec-fetch-site", "same-site")], true),
            (vec![here, ("origin", "http://localhost:9092")], false),
            (vec![here, ("origin", "http://localhost:9093")], true),
            (vec![here, ("origin", "https://evil.example")], true),
            (vec![here, ("origin", "null")], true),
        ] {
            for method in [Method::POST, Method::PUT, Method::DELETE] {
                assert_eq!(refused(Reach::Loopback, method, &headers), write_refused, "{headers:?}");
            }
            assert!(!refused(Reach::Loopback, Method::GET, &headers));
        }
    }
}
