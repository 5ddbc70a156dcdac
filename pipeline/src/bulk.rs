//! Writes the bodies of Elasticsearch's `_bulk` requests and reads their answers; decides what to do, does nothing.
use crate::event::Event;
use crate::json::write_str;
use crate::runtime::load::Load;
use crate::template::Template;
use serde::Deserialize;
use std::collections::HashMap;

/// What every document is told.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// `index` or `create`.
    pub(crate) action: &'static str,
    pub(crate) index: Template,
    pub(crate) document_id: Option<Template>,
    pub(crate) pipeline: Option<Template>,
    pub(crate) routing: Option<Template>,
}

impl Shape {
    /// As [`Template::period_s`], of all of it.
    fn period_s(&self) -> i64 {
        let others = [&self.document_id, &self.pipeline, &self.routing];
        others.into_iter().flatten().chain([&self.index]).map(Template::period_s).min().unwrap_or(0)
    }
}

/// The body of one request.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) text: Vec<u8>,
    /// How many events are in it.
    pub(crate) events: usize,
}

/// Limits of one request; at least one event is in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    pub(crate) events: usize,
}

/// Writes the events from the `from`th on, as many as the limits allow, into `buffer`, which is emptied.
pub(crate) fn body(shape: &Shape, load: &Load, from: usize, limits: Limits, mut buffer: Vec<u8>) -> Body {
    buffer.clear();
    let mut body = Body { text: buffer, events: 0 };
    let period_s = shape.period_s();
    let mut action = Vec::new();
    let mut action_of = None;
    for event in load.iter().skip(from).take(limits.events.max(1)) {
        let before = body.text.len();
        // Without fields in it, the action is the same for a second, an hour, a day.
        let period = event.timestamp().filter(|_| period_s > 0).map(|at| at.as_second().div_euclid(period_s));
        if period.is_none() || period != action_of {
            action.clear();
            write_action(shape, event, &mut action);
            action_of = period;
        }
        body.text.extend_from_slice(&action);
        event.write_json(&mut body.text);
        body.text.push(b'\n');
        if body.text.len() > limits.bytes && body.events > 0 {
            body.text.truncate(before);
            break;
        }
        body.events += 1;
    }
    body
}

fn write_action(shape: &Shape, event: &Event, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(shape.action.as_bytes());
    out.extend_from_slice(b"\":{\"_index\":");
    write_str(&shape.index.render(event), out);
    let others = [("_id", &shape.document_id), ("pipeline", &shape.pipeline), ("routing", &shape.routing)];
    for (name, template) in others {
        let Some(template) = template else { continue };
        out.push(b',');
        write_str(name, out);
        out.push(b':');
        write_str(&template.render(event), out);
    }
    out.extend_from_slice(b"}}\n");
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Every document was taken.
    Taken,
    /// What became of each document, in order.
    Each(Vec<Verdict>),
    /// The request was too large, or something in it cannot be read: send less at once. A single document for which
    /// this is said is refused for this reason.
    SendLess(String),
    /// Nothing was taken for this reason; the same may be taken later.
    Later(String),
}

/// What became of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Taken,
    /// It may be taken later.
    Later(String),
    /// It will never be taken.
    Refused(String),
}

#[derive(Deserialize)]
struct Reply {
    errors: bool,
    #[serde(default)]
    items: Vec<HashMap<String, Item>>,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    #[serde(default)]
    error: Option<Cause>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Cause {
    Full {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        reason: Option<String>,
        #[serde(default)]
        caused_by: Option<Box<Cause>>,
    },
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl Cause {
    fn text(&self) -> String {
        match self {
            Cause::Full { kind, reason, caused_by } => {
                let mut text = kind.clone();
                if let Some(reason) = reason {
                    text.push_str(": ");
                    text.push_str(reason);
                }
                if let Some(cause) = caused_by {
                    text.push_str("; ");
                    text.push_str(&cause.text());
                }
                text
            }
            Cause::Text(text) => text.clone(),
            Cause::Other(_) => "an error that cannot be read".to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct WholeError {
    error: Cause,
}

/// Reads the answer to a request with `sent` documents.
pub(crate) fn read_answer(status: u16, text: &[u8], sent: usize) -> Answer {
    let whole = || serde_json::from_slice::<WholeError>(text).ok().map(|e| e.error.text());
    match status {
        200..=299 => match serde_json::from_slice::<Reply>(text) {
            Ok(reply) if !reply.errors => Answer::Taken,
            Ok(reply) if reply.items.len() == sent => Answer::Each(reply.items.iter().map(verdict).collect()),
            Ok(reply) => {
                Answer::Later(format!("{} documents were answered instead of {sent}", reply.items.len()))
            }
            Err(error) => Answer::Later(format!("the answer is not that of a bulk request: {error}")),
        },
        413 => Answer::SendLess("the request is too large (413)".to_owned()),
        // Only from Elasticsearch itself: a proxy that says 400 may say so to everything.
        400 => match whole() {
            Some(reason) => Answer::SendLess(format!("{reason} (400)")),
            None => {
                Answer::Later("the server says 400 Bad Request, but not as Elasticsearch does".to_owned())
            }
        },
        401 | 403 => Answer::Later(format!(
            "access was denied ({status}): {}",
            whole().unwrap_or_else(|| "check `user`, `password` or `api_key`".to_owned())
        )),
        _ => Answer::Later(format!(
            "{} ({status})",
            whole().unwrap_or_else(|| "the request failed".to_owned())
        )),
    }
}

fn verdict(item: &HashMap<String, Item>) -> Verdict {
    let Some((action, item)) = item.iter().next() else {
        return Verdict::Later("a document was not answered".to_owned());
    };
    let reason = || {
        let cause = item.error.as_ref().map_or_else(|| "no reason given".to_owned(), Cause::text);
        format!("{cause} ({})", item.status)
    };
    match item.status {
        200..=299 => Verdict::Taken,
        // It is there already: sent twice because an acknowledgement was lost.
        409 if action == "create" => Verdict::Taken,
        429 | 500..=599 => Verdict::Later(reason()),
        _ => Verdict::Refused(reason()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::chain::Chosen;
    use crate::value::{Text, Timestamp};
    use expect_test::expect;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn load(messages: &[&str]) -> Load {
        let event = |m: &&str| Event::with_message("2026-01-02T03:04:05Z".parse().unwrap(), Text::from(*m));
        let mut load = Load::default();
        load.add(Arc::new(messages.iter().map(event).collect()), Chosen::All);
        load
    }

    fn shape() -> Shape {
        Shape {
            action: "create",
            index: Template::parse("logs-%{+YYYY.MM.dd}"),
            document_id: Some(Template::parse("%{message}")),
            pipeline: None,
            routing: None,
        }
    }

    #[test]
    fn a_body_has_an_action_and_a_document_for_each_event() {
        let body = body(&shape(), &load(&["a\"b"]), 0, Limits { bytes: 1000, events: 10 }, b"old".to_vec());
        expect![[r#"
            {"create":{"_index":"logs-2026.01.02","_id":"a\"b"}}
            {"@timestamp":"2026-01-02T03:04:05.000Z","@version":"1","message":"a\"b"}
        "#]]
        .assert_eq(std::str::from_utf8(&body.text).unwrap());
    }

    #[test]
    fn a_body_stays_within_its_limits_but_has_one_event_at_least() {
        let load = load(&["one", "two", "three"]);
        let sizes = |bytes, events| body(&shape(), &load, 1, Limits { bytes, events }, Vec::new()).events;
        assert_eq!((sizes(1, 10), sizes(200, 10), sizes(10_000, 10), sizes(10_000, 1)), (1, 1, 2, 1));
    }

    #[test]
    fn each_document_is_judged_by_itself() {
        let text = br#"{"took":3,"errors":true,"items":[
            {"index":{"status":201}},
            {"index":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}},
            {"index":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"bad","caused_by":{"type":"x"}}}},
            {"create":{"status":409,"error":{"type":"version_conflict_engine_exception"}}},
            {"index":{"status":404,"error":"gone"}}]}"#;
        let later = Verdict::Later("es_rejected_execution_exception: full (429)".into());
        let refused = Verdict::Refused("mapper_parsing_exception: bad; x (400)".into());
        let gone = Verdict::Refused("gone (404)".into());
        let all = vec![Verdict::Taken, later, refused, Verdict::Taken, gone];
        assert_eq!(read_answer(200, text, 5), Answer::Each(all));
    }

    #[test]
    fn what_is_said_of_the_whole_request_is_never_a_reason_to_lose_all() {
        assert_eq!(read_answer(200, br#"{"errors":false}"#, 5), Answer::Taken);
        assert!(matches!(read_answer(200, b"<html>", 5), Answer::Later(_)));
        assert!(matches!(read_answer(200, br#"{"errors":true,"items":[]}"#, 5), Answer::Later(_)));
        assert!(matches!(read_answer(413, b"", 5), Answer::SendLess(_)));
        assert!(matches!(read_answer(400, b"plain HTTP to an HTTPS port", 5), Answer::Later(_)));
        let bad = br#"{"error":{"type":"illegal_argument_exception","reason":"r"},"status":400}"#;
        assert_eq!(read_answer(400, bad, 5), Answer::SendLess("illegal_argument_exception: r (400)".into()));
        for status in [301, 401, 403, 404, 429, 500, 503] {
            assert!(matches!(read_answer(status, b"", 5), Answer::Later(_)), "{status}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_can_be_read(status in 100_u16..600, text in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Answer::Each(verdicts) = read_answer(status, &text, 2) {
                prop_assert_eq!(verdicts.len(), 2);
            }
        }
    }

    #[test]
    fn the_moment_of_the_event_chooses_the_index() {
        let event = Event::with_message(Timestamp::UNIX_EPOCH, Text::from("x"));
        let mut out = Vec::new();
        write_action(&shape(), &event, &mut out);
        assert!(String::from_utf8(out).unwrap().contains("logs-1970.01.01"));
    }
}
