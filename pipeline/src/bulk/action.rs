//! Writes what a `_bulk` request says of one event: the action, where the document goes, and the document.
use crate::event::Event;
use crate::field::FieldRef;
use crate::json::{EventWriter, write_str, write_value};
use crate::template::Template;
use crate::value::{Map, Value};

/// Where an event may say by itself how it is to be indexed.
const CONTROL: [&str; 2] = ["@metadata", "_ingest_document"];
/// Where an event may name its ingest pipeline.
const TARGET_PIPELINE: [&str; 2] = ["@metadata", "target_ingest_pipeline"];

/// What every document is told.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) verb: Verb,
    pub(crate) target: Target,
    pub(crate) document_id: Option<Template>,
    pub(crate) pipeline: Option<Template>,
    pub(crate) routing: Option<Template>,
    pub(crate) version: Option<Template>,
    pub(crate) version_type: Option<&'static str>,
    /// The id of the parent, and the field that holds the relation.
    pub(crate) parent: Option<(Template, Option<FieldRef>)>,
    pub(crate) update: Update,
    /// Whether an event whose index cannot be filled in is refused.
    pub(crate) refuse_unfilled: bool,
}

/// What is done.
#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Always(Action),
    /// As each event says.
    Of(Template),
}

/// What can be done with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Index,
    Create,
    Update,
    Delete,
}

/// Where documents go.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Into this index; an event may say otherwise when it is the built-in one.
    Index { name: Template, built_in: bool },
    /// Into a data stream.
    Stream(DataStream),
}

/// The parts of a data stream's name.
#[derive(Clone, Debug)]
pub(crate) struct DataStream {
    pub(crate) kind: String,
    pub(crate) dataset: String,
    pub(crate) namespace: String,
    /// Whether an event's own `data_stream` fields choose the stream.
    pub(crate) auto_routing: bool,
    /// Whether an event's `data_stream` fields are made to say where it went.
    pub(crate) sync_fields: bool,
}

/// How documents are updated.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) doc_as_upsert: bool,
    pub(crate) upsert: Option<Template>,
    pub(crate) script: Option<Template>,
    /// The name of the script in the request: `source`, `id`, `file`.
    pub(crate) script_as: &'static str,
    pub(crate) script_lang: String,
    pub(crate) script_var_name: String,
    pub(crate) scripted_upsert: bool,
    pub(crate) retry_on_conflict: u32,
}

impl Action {
    /// The action of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "index" => Self::Index,
            "create" => Self::Create,
            "update" => Self::Update,
            "delete" => Self::Delete,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl Shape {
    /// As [`Template::period_s`], of all that is written before a document.
    pub(crate) fn period_s(&self) -> i64 {
        let Target::Index { name, .. } = &self.target else { return 0 };
        if !matches!(self.verb, Verb::Always(Action::Index | Action::Create)) || self.parent.is_some() {
            return 0;
        }
        let others = [&self.document_id, &self.pipeline, &self.routing, &self.version];
        others.into_iter().flatten().chain([name]).map(Template::period_s).min().unwrap_or(0)
    }

    /// Whether it makes no difference when a later event is indexed before this one. Where a document is created, its id says
    /// that it is this very event; where the server makes the id, no other event is the same document.
    pub(crate) fn may_be_overtaken(&self, event: &Event) -> bool {
        let has_version = self.version.is_some() || self.parent.is_some();
        let names_one = || self.document_id.is_some() || self.own_id(event);
        match &self.verb {
            Verb::Always(Action::Create) => !has_version,
            Verb::Always(Action::Index) => !has_version && !names_one(),
            Verb::Always(Action::Update | Action::Delete) | Verb::Of(_) => false,
        }
    }

    fn own_id(&self, event: &Event) -> bool {
        if event.metadata().is_empty() {
            return false;
        }
        let control = event.get(&FieldRef::from_names(&CONTROL)).and_then(Value::as_map);
        control.and_then(|control| control.get("id")).is_some_and(|id| *id != Value::Null)
    }

    /// Adds the line before the document of an event. An error is why the event cannot be sent.
    pub(crate) fn write_action(&self, event: &Event, out: &mut Vec<u8>) -> Result<Action, String> {
        let action = match &self.verb {
            Verb::Always(action) => *action,
            Verb::Of(template) => {
                let name = template.render(event);
                Action::named(&name).ok_or_else(|| format!("there is no action `{name}`"))?
            }
        };
        let control = event.get(&FieldRef::from_names(&CONTROL)).and_then(Value::as_map);
        let own = |name: &str| control.and_then(|control| control.get(name)).filter(|v| **v != Value::Null);
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(action.name().as_bytes());
        out.extend_from_slice(b"\":{\"_index\":");
        write_str(&self.index(event, own("index"))?, out);
        let filled = |template: &Option<Template>| template.as_ref().map(|t| Value::Str(t.render(event)));
        let or_own =
            |template: &Option<Template>, name: &str| filled(template).or_else(|| own(name).cloned());
        let pipeline = or_own(&self.pipeline, "pipeline").or_else(|| {
            let named = event.get(&FieldRef::from_names(&TARGET_PIPELINE))?;
            Some(Value::Str(Template::parse(&named.to_text()).render(event)))
        });
        let pipeline = pipeline.filter(|name| !name.to_text().is_empty());
        let routing = match &self.parent {
            Some((parent, Some(_))) => Some(Value::Str(parent.render(event))),
            _ => or_own(&self.routing, "routing"),
        };
        let parent = match &self.parent {
            Some((parent, None)) => Some(Value::Str(parent.render(event))),
            _ => None,
        };
        let is_stream = matches!(self.target, Target::Stream(_));
        let version = if is_stream { None } else { or_own(&self.version, "version").map(as_number) };
        let version_type = if is_stream {
            None
        } else {
            self.version_type.map(Value::from).or_else(|| own("version_type").cloned())
        };
        let retry = (action == Action::Update).then(|| Value::Int(self.update.retry_on_conflict.into()));
        for (name, value) in [
            ("_id", or_own(&self.document_id, "id")),
            ("pipeline", pipeline),
            ("routing", routing),
            ("parent", parent),
            ("version", version),
            ("version_type", version_type),
            ("retry_on_conflict", retry),
        ] {
            let Some(value) = value else { continue };
            out.push(b',');
            write_str(name, out);
            out.push(b':');
            write_value(&value, out);
        }
        out.extend_from_slice(b"}}\n");
        Ok(action)
    }

    fn index(&self, event: &Event, own: Option<&Value>) -> Result<String, String> {
        let name = match &self.target {
            Target::Index { built_in: true, .. } if own.is_some() => {
                return Ok(own.map(|own| own.to_text().as_str().to_owned()).unwrap_or_default());
            }
            Target::Index { name, .. } => name.render(event).as_str().to_owned(),
            Target::Stream(stream) => stream.name(event),
        };
        match name.split_once("%{") {
            Some((_, rest)) if self.refuse_unfilled && rest.contains('}') => Err(format!(
                "Badly formatted index, after interpolation still contains placeholder: [{name}]"
            )),
            _ => Ok(name),
        }
    }

    /// Adds the line with the document; a deletion has none.
    pub(crate) fn write_document(
        &self,
        action: Action,
        event: &Event,
        writer: &mut EventWriter,
        out: &mut Vec<u8>,
    ) {
        let changed = self.changed(event);
        let event = changed.as_ref().unwrap_or(event);
        match action {
            Action::Delete => return,
            Action::Index | Action::Create => event.write_json_by(writer, out),
            Action::Update => self.write_update(event, out),
        }
        out.push(b'\n');
    }

    /// The event as it is to be written, if that is not as it is.
    fn changed(&self, event: &Event) -> Option<Event> {
        match (&self.target, &self.parent) {
            (Target::Stream(stream), _) if stream.sync_fields => stream.synced(event),
            (_, Some((parent, Some(join)))) => {
                let mut changed = event.clone();
                let name = event.get(join).cloned().unwrap_or_default();
                let relation = [("name", name), ("parent", Value::Str(parent.render(event)))];
                // Where something else stands in its way the relation cannot be told.
                let _set = changed.set(join, Value::Map(relation.into_iter().collect::<Map>()));
                Some(changed)
            }
            _ => None,
        }
    }

    fn write_update(&self, event: &Event, out: &mut Vec<u8>) {
        let update = &self.update;
        // A text that is no JSON is left out: the server would refuse the whole request.
        let upsert = update.upsert.as_ref().map(|upsert| upsert.render(event));
        let upsert = upsert.filter(|text| serde_json::from_str::<serde_json::Value>(text).is_ok());
        let Some(script) = update.script.as_ref().map(|script| script.render(event)) else {
            out.extend_from_slice(b"{\"doc\":");
            event.write_json(out);
            if update.doc_as_upsert {
                out.extend_from_slice(b",\"doc_as_upsert\":true");
            } else {
                write_upsert(upsert.as_deref(), out);
            }
            out.push(b'}');
            return;
        };
        out.extend_from_slice(b"{\"script\":{\"params\":{");
        write_str(&update.script_var_name, out);
        out.push(b':');
        event.write_json(out);
        out.extend_from_slice(b"},");
        write_str(update.script_as, out);
        out.push(b':');
        write_str(&script, out);
        // A stored script knows its language.
        if !update.script_lang.is_empty() && update.script_as != "id" {
            out.extend_from_slice(b",\"lang\":");
            write_str(&update.script_lang, out);
        }
        out.push(b'}');
        if update.scripted_upsert {
            out.extend_from_slice(b",\"scripted_upsert\":true,\"upsert\":{}");
        } else if update.doc_as_upsert {
            out.extend_from_slice(b",\"upsert\":");
            event.write_json(out);
        } else {
            write_upsert(upsert.as_deref(), out);
        }
        out.push(b'}');
    }
}

fn write_upsert(upsert: Option<&str>, out: &mut Vec<u8>) {
    if let Some(upsert) = upsert {
        out.extend_from_slice(b",\"upsert\":");
        // On one line, whatever it was written on.
        out.extend(upsert.bytes().map(|byte| if byte == b'\n' || byte == b'\r' { b' ' } else { byte }));
    }
}

fn as_number(value: Value) -> Value {
    match value.to_text().parse::<i64>() {
        Ok(number) => Value::Int(number),
        Err(_) => value,
    }
}

impl DataStream {
    fn own<'e>(&self, event: &'e Event) -> Option<&'e Map> {
        event.fields().get("data_stream").and_then(Value::as_map)
    }

    fn name(&self, event: &Event) -> String {
        let own = self.own(event).filter(|_| self.auto_routing);
        let part = |name: &str, otherwise: &str| match own.and_then(|own| own.get(name)) {
            Some(Value::Null) | None => otherwise.to_owned(),
            Some(value) => value.to_text().as_str().to_owned(),
        };
        let kind = part("type", &self.kind);
        format!("{kind}-{}-{}", part("dataset", &self.dataset), part("namespace", &self.namespace))
    }

    /// The event with `data_stream` fields that say where it goes; `None` when it has them.
    fn synced(&self, event: &Event) -> Option<Event> {
        let mut fields = self.own(event).cloned().unwrap_or_default();
        let mut changed = self.own(event).is_none();
        let parts = [("type", &self.kind), ("dataset", &self.dataset), ("namespace", &self.namespace)];
        for (name, value) in parts {
            let stays = match fields.get(name) {
                None | Some(Value::Null) => false,
                Some(own) => self.auto_routing || own.to_text().as_str() == value.as_str(),
            };
            if !stays {
                fields.insert(name, value.as_str().into());
                changed = true;
            }
        }
        if !changed {
            return None;
        }
        let mut event = event.clone();
        event.fields_mut().insert("data_stream", Value::Map(fields));
        Some(event)
    }
}
