//! What events show of the request that brought them.
use super::HttpOptions;
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::value::{Map, Value};
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;

/// The headers of a request as events show them. The password is not among them.
pub(super) fn headers_of(head: &Parts) -> Map {
    let mut fields = Map::new();
    for (name, value) in head.headers.iter().filter(|(name, _)| **name != AUTHORIZATION) {
        let name = match name.as_str() {
            "accept" => "http_accept".to_owned(),
            "host" => "http_host".to_owned(),
            "user-agent" => "http_user_agent".to_owned(),
            other => other.replace('-', "_"),
        };
        fields.insert(name.as_str(), Value::from(String::from_utf8_lossy(value.as_bytes()).as_ref()));
    }
    for always in ["http_accept", "http_host", "http_user_agent"] {
        if fields.get(always).is_none() {
            fields.insert(always, Value::Null);
        }
    }
    fields.insert("request_method", Value::from(head.method.as_str()));
    fields.insert("request_path", Value::from(head.uri.to_string()));
    fields.insert("http_version", Value::from(format!("{:?}", head.version)));
    fields
}

/// What the fields of events are called.
pub(super) struct Names {
    ecs: Ecs,
    host: FieldRef,
    headers: FieldRef,
}

impl Names {
    pub(super) fn new(options: &HttpOptions) -> Self {
        let ecs = options.ecs_compatibility;
        let host = || ecs.choose(FieldRef::top("host"), FieldRef::from_names(&["host", "ip"]));
        let deep = ["@metadata", "input", "http", "request", "headers"];
        let headers = || ecs.choose(FieldRef::top("headers"), FieldRef::from_names(&deep));
        Self {
            ecs,
            host: options.remote_host_target_field.clone().unwrap_or_else(host),
            headers: options.request_headers_target_field.clone().unwrap_or_else(headers),
        }
    }

    pub(super) fn set(&self, event: &mut Event, headers: &Map, from: &str) {
        let mut set = |field: &FieldRef, value: Value| {
            // Where something else stands in its way the event goes without.
            let _set = event.set(field, value);
        };
        if self.ecs.choose(false, true) {
            for (header, field) in [
                ("http_version", &["http", "version"][..]),
                ("http_user_agent", &["user_agent", "original"]),
                ("request_method", &["http", "method"]),
                ("request_path", &["url", "path"]),
                ("content_length", &["http", "request", "body", "bytes"]),
                ("content_type", &["http", "request", "mime_type"]),
            ] {
                if let Some(value) = headers.get(header).filter(|value| **value != Value::Null) {
                    set(&FieldRef::from_names(field), value.clone());
                }
            }
            if let Some(Value::Str(host)) = headers.get("http_host") {
                let (domain, port) = domain_and_port(host);
                set(&FieldRef::from_names(&["url", "domain"]), Value::from(domain));
                if let Some(port) = port {
                    set(&FieldRef::from_names(&["url", "port"]), Value::Int(port));
                }
            }
        }
        set(&self.headers, Value::Map(headers.clone()));
        set(&self.host, Value::from(from));
    }
}

/// `example.com:8080` and `[::1]:8080` in their parts.
pub(super) fn domain_and_port(host: &str) -> (&str, Option<i64>) {
    let Some((domain, port)) = host.rsplit_once(':') else { return (host, None) };
    let whole = domain.strip_prefix('[').and_then(|domain| domain.strip_suffix(']'));
    match (whole, port.parse().ok()) {
        (Some(whole), Some(port)) => (whole, Some(port)),
        (None, Some(port)) if !domain.contains(':') => (domain, Some(port)),
        _ => (host, None),
    }
}
