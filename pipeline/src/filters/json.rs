//! Parses JSON that stands in a field.
use std::sync::Arc;

use super::tag;
use crate::batch::{Batch, Fate, Filter};
use crate::event::{Event, TIMESTAMP_FAILURE, moment};
use crate::field::FieldRef;
use crate::json;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::ruby;
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::value::{Map, Timestamp, Value};

plugin! {
    /// Parses JSON that stands in a field, and puts what it holds into the event.
    ///
    /// ```
    /// filter { json { source => "message" target => "document" remove_field => "message" } }
    /// ```
    ///
    /// Fields that are there already are replaced; a name such as `[a][b]` is a path. A field `@timestamp` in the JSON becomes
    /// the event's if it can be read as a moment; else the event's is the present, it gets the tag `_timestampparsefailure`, and
    /// the text is kept as `_@timestamp`. `tags` must be texts: otherwise what stands behind them is left out, and the event
    /// tagged. An event without the source field is left as it is.
    filter "json" => pub(crate) struct JsonOptions {
        /// The field that holds the text.
        source: FieldRef,
        /// The field to put the result into. Left out, the result must be an object, whose fields go into the event itself.
        target: Option<FieldRef>,
        /// Leave an event alone, without a tag, when its text is not JSON.
        skip_on_invalid_json: bool = false,
        /// The tags to add when the text is not JSON.
        tag_on_failure: Vec<String> = ["_jsonparsefailure"],
    }
    accepted {
        "ecs_compatibility" => "fields keep the names that they have in the JSON",
    }
}

impl FilterOptions for JsonOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        Ok(Box::new(Json { options: self.clone(), on_success: OnSuccess::new(on_success) }))
    }
}

struct Json {
    options: JsonOptions,
    on_success: OnSuccess,
}

impl Filter for Json {
    fn run(&mut self, batch: &mut Batch) {
        batch.each(|event| {
            self.work(event);
            Fate::Keep
        });
    }
}

impl Json {
    fn work(&self, event: &mut Event) {
        let parsed = match event.get(&self.options.source) {
            None | Some(Value::Null | Value::Bool(false)) => return,
            // Nothing at all is nothing, and no mistake.
            Some(Value::Str(text)) if text.trim().is_empty() => Some(Value::Null),
            Some(Value::Str(text)) => json::parse_exactly(text).ok(),
            // What is no text was parsed before.
            Some(_) => None,
        };
        let done = match (parsed, &self.options.target) {
            (None, _) if self.options.skip_on_invalid_json => return,
            (None, _) => false,
            (Some(parsed), Some(target)) => event.set(target, parsed).is_ok(),
            (Some(Value::Map(map)), None) => put(event, map),
            (Some(_), None) => false,
        };
        if !done || !self.on_success.try_apply(event) {
            tag(event, &self.options.tag_on_failure);
        }
    }
}

/// Puts the fields of an object into the event; `false` when one of them cannot be, and those behind it are left out.
fn put(event: &mut Event, mut map: Map) -> bool {
    let timestamp = map.remove("@timestamp");
    for (name, value) in map {
        let put = match name.as_str() {
            "@metadata" => event.set(&FieldRef::top("@metadata"), value).is_ok(),
            "tags" if !are_tags(&value) => false,
            path if path.contains(['[', ']']) => {
                FieldRef::parse(path).is_ok_and(|field| event.set(&field, value).is_ok())
            }
            _ => {
                event.fields_mut().insert(name, value);
                true
            }
        };
        if !put {
            return false;
        }
    }
    if let Some(value) = timestamp.filter(|value| !matches!(value, Value::Null | Value::Bool(false))) {
        put_timestamp(event, value);
    }
    true
}

fn put_timestamp(event: &mut Event, value: Value) {
    let field = FieldRef::top("@timestamp");
    if event.set(&field, moment(&value)).is_err() {
        let _a_moment_fits = event.set(&field, Value::Time(Timestamp::now()));
        event.add_tag(TIMESTAMP_FAILURE);
        event.fields_mut().insert("_@timestamp", Value::Str(ruby::to_s(&value)));
    }
}

fn are_tags(value: &Value) -> bool {
    match value {
        Value::Str(_) | Value::Null => true,
        Value::List(items) => items.iter().all(|item| matches!(item, Value::Str(_))),
        _ => false,
    }
}
