//! Writes the bodies of Elasticsearch's `_bulk` requests and reads their answers; decides what to do, does nothing.
mod action;
pub(crate) mod cluster;
mod rendered;
pub(crate) mod setup;

pub(crate) use action::{Action, DataStream, Shape, Target, Update, Verb};
pub(crate) use rendered::Renderer;

use crate::event::Event;
use crate::json::EventWriter;
use crate::runtime::load::Load;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::HashMap;
use std::fmt;

/// The body of one request.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) text: Vec<u8>,
    /// How many events it takes account of.
    pub(crate) events: usize,
    /// Those of them that are not in it, by number, because they cannot be sent; and why.
    pub(crate) unfit: Vec<(usize, String)>,
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
    let body = Body { text: buffer, events: 0, unfit: Vec::new() };
    match load.rendered() {
        Some(rendered) => rendered::gather(rendered, from, limits, body),
        None => write(shape, load, from, limits, body),
    }
}

/// Writes a body from its events.
fn write(shape: &Shape, load: &Load, from: usize, limits: Limits, mut body: Body) -> Body {
    let mut documents = Documents::new(shape);
    for event in load.iter().skip(from).take(limits.events.max(1)) {
        let before = body.text.len();
        if let Err(why) = documents.write(event, &mut body.text) {
            body.unfit.push((body.events, why));
        } else if body.text.len() > limits.bytes && before > 0 {
            body.text.truncate(before);
            break;
        }
        body.events += 1;
    }
    body
}

/// Writes documents, one after the other.
struct Documents<'s> {
    shape: &'s Shape,
    period_s: i64,
    /// The last line before a document, and for which period it is.
    line: Vec<u8>,
    line_of: Option<i64>,
    action: Action,
    writer: EventWriter,
}

impl<'s> Documents<'s> {
    fn new(shape: &'s Shape) -> Self {
        Self {
            shape,
            period_s: shape.period_s(),
            line: Vec::new(),
            line_of: None,
            action: Action::Index,
            writer: EventWriter::default(),
        }
    }

    /// Adds what is said of one event. An error is why it cannot be sent; nothing is added then.
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), String> {
        // Without fields in it, the line is the same for a second, an hour, a day.
        let own = self.period_s == 0 || !event.metadata().is_empty();
        let period = event.timestamp().filter(|_| !own).map(|at| at.as_second().div_euclid(self.period_s));
        if period.is_none() || period != self.line_of {
            self.line.clear();
            self.line_of = None;
            self.action = self.shape.write_action(event, &mut self.line)?;
            self.line_of = period;
        }
        out.extend_from_slice(&self.line);
        self.shape.write_document(self.action, event, &mut self.writer, out);
        Ok(())
    }
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

impl Answer {
    /// Whether the server has enough for now, or is not well: something is to be sent again.
    pub(crate) fn says_later(&self) -> bool {
        match self {
            Self::Taken | Self::SendLess(_) => false,
            Self::Later(_) => true,
            Self::Each(verdicts) => verdicts.iter().any(|verdict| matches!(verdict, Verdict::Later(_))),
        }
    }
}

/// What became of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Taken,
    /// It may be taken later.
    Later(String),
    /// It will never be taken.
    Refused(String),
    /// It will never be taken, and nobody wants to keep it.
    Dropped(String),
}

#[derive(Debug, PartialEq)]
struct Reply {
    errors: bool,
    items: Vec<HashMap<String, Item>>,
}

/// Where it was said before that there are no errors, which is what servers do, nobody wants to know about each document.
impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReplyVisitor)
    }
}

struct ReplyVisitor;

impl<'de> Visitor<'de> for ReplyVisitor {
    type Value = Reply;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer to a bulk request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reply, A::Error> {
        let (mut errors, mut items) = (None, Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "errors" => errors = Some(map.next_value()?),
                "items" if errors != Some(false) => items = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let errors = errors.ok_or_else(|| de::Error::missing_field("errors"))?;
        Ok(Reply { errors, items })
    }
}

#[derive(Debug, Deserialize, PartialEq)]
struct Item {
    status: u16,
    #[serde(default)]
    error: Option<Cause>,
}

#[derive(Debug, Deserialize, PartialEq)]
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

/// What becomes of documents that are not taken.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The statuses that are for good; documents with others are sent again.
    pub(crate) refused: Vec<u16>,
    /// The kinds of errors whose documents are dropped.
    pub(crate) dropped: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { refused: vec![400, 404], dropped: Vec::new() }
    }
}

/// Reads the answer to a request with `sent` documents.
pub(crate) fn read_answer(status: u16, text: &[u8], sent: usize, rules: &Rules) -> Answer {
    let whole = || serde_json::from_slice::<WholeError>(text).ok().map(|e| e.error.text());
    match status {
        200..=299 => match serde_json::from_slice::<Reply>(text) {
            Ok(reply) if !reply.errors => Answer::Taken,
            Ok(reply) if reply.items.len() == sent => {
                Answer::Each(reply.items.iter().map(|item| verdict(item, rules)).collect())
            }
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

fn verdict(item: &HashMap<String, Item>, rules: &Rules) -> Verdict {
    let Some((action, item)) = item.iter().next() else {
        return Verdict::Later("a document was not answered".to_owned());
    };
    let reason = || {
        let cause = item.error.as_ref().map_or_else(|| "no reason given".to_owned(), Cause::text);
        format!("{cause} ({})", item.status)
    };
    let kind = match &item.error {
        Some(Cause::Full { kind, .. }) => kind.as_str(),
        _ => "",
    };
    match item.status {
        200..=299 => Verdict::Taken,
        // It is there already: sent twice because an acknowledgement was lost; or a later version of it is there.
        409 if action != "update" => Verdict::Taken,
        409 => Verdict::Refused(reason()),
        _ if rules.dropped.iter().any(|dropped| dropped == kind) => Verdict::Dropped(reason()),
        status if rules.refused.contains(&status) => Verdict::Refused(reason()),
        _ => Verdict::Later(reason()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldRef;
    use crate::runtime::chain::Chosen;
    use crate::template::Template;
    use crate::value::{Text, Timestamp, Value};
    use expect_test::expect;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn load(messages: &[&str]) -> Load {
        let event = |m: &&str| Event::with_message("2026-01-02T03:04:05Z".parse().unwrap(), Text::from(*m));
        let mut load = Load::default();
        load.add(Arc::new(messages.iter().map(event).collect()), Chosen::All);
        load
    }

    pub(super) fn shape() -> Shape {
        let name = Template::parse("logs-%{+YYYY.MM.dd}");
        Shape {
            verb: Verb::Always(Action::Create),
            target: Target::Index { name, built_in: false },
            document_id: Some(Template::parse("%{message}")),
            pipeline: None,
            routing: None,
            version: None,
            version_type: None,
            parent: None,
            update: Update {
                doc_as_upsert: false,
                upsert: None,
                script: None,
                script_as: "source",
                script_lang: "painless".into(),
                script_var_name: "event".into(),
                scripted_upsert: false,
                retry_on_conflict: 1,
            },
            refuse_unfilled: true,
        }
    }

    fn written(shape: &Shape, event: Event) -> String {
        let mut load = Load::default();
        load.add(Arc::new(vec![event]), Chosen::All);
        let body = body(shape, &load, 0, Limits { bytes: 10_000, events: 10 }, Vec::new());
        match body.unfit.first() {
            Some((0, why)) => format!("unfit: {why}"),
            _ => String::from_utf8(body.text).unwrap(),
        }
    }

    fn of_json(json: &str) -> Event {
        let Value::Map(map) = crate::json::parse(&Text::from(json)).unwrap() else { panic!("{json}") };
        Event::from_map("2026-01-02T03:04:05Z".parse().unwrap(), map)
    }

    #[test]
    fn documents_are_updated_by_parts_by_scripts_and_put_in_when_absent() {
        let mut shape = shape();
        shape.verb = Verb::Of(Template::parse("%{[@metadata][do]}"));
        shape.version = Some(Template::parse("%{v}"));
        shape.version_type = Some("external");
        let event =
            |verb: &str| of_json(&format!(r#"{{"message":"m","v":"7","@metadata":{{"do":"{verb}"}}}}"#));
        let head = r#"{"_index":"logs-2026.01.02","_id":"m","version":7,"version_type":"external""#;
        let document = r#"{"@timestamp":"2026-01-02T03:04:05.000Z","message":"m","v":"7","@version":"1"}"#;
        assert_eq!(written(&shape, event("delete")), format!("{{\"delete\":{head}}}}}\n"));
        assert_eq!(written(&shape, event("index")), format!("{{\"index\":{head}}}}}\n{document}\n"));
        assert_eq!(written(&shape, event("explode")), "unfit: there is no action `explode`");
        let update = format!("{{\"update\":{head},\"retry_on_conflict\":1}}}}\n");
        assert_eq!(written(&shape, event("update")), format!("{update}{{\"doc\":{document}}}\n"));
        shape.update.doc_as_upsert = true;
        let expected = format!("{update}{{\"doc\":{document},\"doc_as_upsert\":true}}\n");
        assert_eq!(written(&shape, event("update")), expected);
        shape.update.doc_as_upsert = false;
        shape.update.upsert = Some(Template::parse("{\"n\":\n1}"));
        shape.update.script = Some(Template::parse("ctx._source.n += 1"));
        let script = format!(
            "{{\"script\":{{\"params\":{{\"event\":{document}}},\"source\":\"ctx._source.n += 1\",\"lang\":\"painless\"}},\"upsert\":{{\"n\": 1}}}}\n"
        );
        assert_eq!(written(&shape, event("update")), format!("{update}{script}"));
    }

    #[test]
    fn an_event_may_say_where_it_goes_and_one_whose_index_cannot_be_filled_in_is_unfit() {
        let mut shape = shape();
        shape.document_id = None;
        shape.target = Target::Index { name: Template::parse("logstash"), built_in: true };
        let event = of_json(
            r#"{"@metadata":{"_ingest_document":{"id":"i","index":"own","routing":"r","pipeline":"p","version":3,"version_type":"external_gte"}}}"#,
        );
        let line = r#"{"create":{"_index":"own","_id":"i","pipeline":"p","routing":"r","version":3,"version_type":"external_gte"}}"#;
        assert_eq!(written(&shape, event).lines().next().unwrap(), line);
        let event = of_json(r#"{"@metadata":{"target_ingest_pipeline":"to-%{x}"},"x":1}"#);
        assert!(written(&shape, event).starts_with(r#"{"create":{"_index":"logstash","pipeline":"to-1"}}"#));
        shape.target = Target::Index { name: Template::parse("a-%{none}"), built_in: false };
        assert!(written(&shape, of_json("{}")).contains("still contains placeholder: [a-%{none}]"));
    }

    #[test]
    fn data_streams_are_chosen_by_events_and_told_in_them() {
        let mut shape = shape();
        shape.document_id = None;
        let stream = |auto_routing| DataStream {
            kind: "logs".into(),
            dataset: "generic".into(),
            namespace: "default".into(),
            auto_routing,
            sync_fields: true,
        };
        shape.target = Target::Stream(stream(true));
        let own = r#"{"data_stream":{"dataset":"web","namespace":null}}"#;
        let text = written(&shape, of_json(own));
        assert!(text.starts_with(r#"{"create":{"_index":"logs-web-default"}}"#), "{text}");
        assert!(
            text.contains(r#""data_stream":{"dataset":"web","namespace":"default","type":"logs"}"#),
            "{text}"
        );
        shape.target = Target::Stream(stream(false));
        let text = written(&shape, of_json(own));
        assert!(text.starts_with(r#"{"create":{"_index":"logs-generic-default"}}"#), "{text}");
        assert!(text.contains(r#""dataset":"generic""#), "{text}");
    }

    #[test]
    fn a_child_names_its_parent_in_the_field_of_the_relation() {
        let mut shape = shape();
        shape.document_id = None;
        shape.parent = Some((Template::parse("%{of}"), Some(FieldRef::parse("kind").unwrap())));
        let text = written(&shape, of_json(r#"{"kind":"answer","of":"q1"}"#));
        assert!(
            text.contains(r#""routing":"q1""#) && text.contains(r#""kind":{"name":"answer","parent":"q1"}"#),
            "{text}"
        );
    }

    #[test]
    fn some_errors_are_dropped_others_refused_and_all_others_sent_again() {
        let rules = Rules { refused: vec![400, 404, 403], dropped: vec!["too_late".to_owned()] };
        let item = |action: &str, status: u16, kind: &str| {
            let text = format!(
                r#"{{"errors":true,"items":[{{"{action}":{{"status":{status},"error":{{"type":"{kind}"}}}}}}]}}"#
            );
            match read_answer(200, text.as_bytes(), 1, &rules) {
                Answer::Each(verdicts) => verdicts.into_iter().next().unwrap(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(item("index", 400, "too_late"), Verdict::Dropped("too_late (400)".into()));
        assert_eq!(item("index", 403, "x"), Verdict::Refused("x (403)".into()));
        assert_eq!(item("index", 401, "x"), Verdict::Later("x (401)".into()));
        assert_eq!(item("index", 409, "x"), Verdict::Taken);
        assert_eq!(item("update", 409, "x"), Verdict::Refused("x (409)".into()));
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
        assert_eq!(read_answer(200, text, 5, &Rules::default()), Answer::Each(all));
    }

    #[test]
    fn what_became_of_each_document_is_read_only_where_there_are_errors() {
        let items = r#""items":[{"index":{"status":201,"_id":"x"}},{"index":{"status":503}}]"#;
        let answer = |text: &str| read_answer(200, text.as_bytes(), 2, &Rules::default());
        let each = Answer::Each(vec![Verdict::Taken, Verdict::Later("no reason given (503)".into())]);
        assert_eq!(answer(&format!(r#"{{"took":1,"errors":true,{items}}}"#)), each);
        assert_eq!(answer(&format!(r#"{{{items},"errors":true}}"#)), each);
        assert_eq!(answer(&format!(r#"{{"errors":false,"took":1,{items}}}"#)), Answer::Taken);
        assert_eq!(answer(&format!(r#"{{{items},"errors":false}}"#)), Answer::Taken);
        assert!(matches!(answer(&format!("{{{items}}}")), Answer::Later(_)), "nothing says that all is well");
    }

    #[test]
    fn what_is_said_of_the_whole_request_is_never_a_reason_to_lose_all() {
        assert_eq!(read_answer(200, br#"{"errors":false}"#, 5, &Rules::default()), Answer::Taken);
        assert!(matches!(read_answer(200, b"<html>", 5, &Rules::default()), Answer::Later(_)));
        assert!(matches!(
            read_answer(200, br#"{"errors":true,"items":[]}"#, 5, &Rules::default()),
            Answer::Later(_)
        ));
        assert!(matches!(read_answer(413, b"", 5, &Rules::default()), Answer::SendLess(_)));
        assert!(matches!(
            read_answer(400, b"plain HTTP to an HTTPS port", 5, &Rules::default()),
            Answer::Later(_)
        ));
        let bad = br#"{"error":{"type":"illegal_argument_exception","reason":"r"},"status":400}"#;
        assert_eq!(
            read_answer(400, bad, 5, &Rules::default()),
            Answer::SendLess("illegal_argument_exception: r (400)".into())
        );
        for status in [301, 401, 403, 404, 429, 500, 503] {
            assert!(matches!(read_answer(status, b"", 5, &Rules::default()), Answer::Later(_)), "{status}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_can_be_read(status in 100_u16..600, text in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Answer::Each(verdicts) = read_answer(status, &text, 2, &Rules::default()) {
                prop_assert_eq!(verdicts.len(), 2);
            }
        }
    }

    #[test]
    fn the_moment_of_the_event_chooses_the_index() {
        let event = Event::with_message(Timestamp::UNIX_EPOCH, Text::from("x"));
        let mut out = Vec::new();
        shape().write_action(&event, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("logs-1970.01.01"));
    }
}
