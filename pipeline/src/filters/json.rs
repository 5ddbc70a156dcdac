//! Parses JSON that stands in a field.
use std::sync::Arc;

use super::tag;
use crate::batch::{Batch, Fate, Filter};
use crate::event::{Event, TIMESTAMP_FAILURE};
use crate::field::FieldRef;
use crate::json;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::value::{Map, Timestamp, Value};

/// The tag of an event whose JSON has `tags` that are no texts; they move to `_tags`.
const TAGS_FAILURE: &str = "_tagsparsefailure";

plugin! {
    /// Parses JSON that stands in a field, and puts what it holds into the event.
    ///
    /// Fields that are there already are replaced. A field `@timestamp` in the JSON becomes the event's if it can be read
    /// as a moment; else the event gets the tag `_timestampparsefailure`, and the text is kept as `_@timestamp`. An event
    /// without the source field is left as it is.
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
        let text = match event.get(&self.options.source) {
            None | Some(Value::Null) => return,
            // What has parts was parsed before, and is no text.
            Some(Value::List(_) | Value::Map(_)) => return tag(event, &self.options.tag_on_failure),
            Some(value) => value.to_text(),
        };
        let done = match json::parse(&text) {
            Err(_) if self.options.skip_on_invalid_json => return,
            Err(_) => false,
            Ok(parsed) => match (&self.options.target, parsed) {
                (Some(target), parsed) => event.set(target, parsed).is_ok(),
                (None, Value::Map(map)) => {
                    put(event, map);
                    true
                }
                (None, _) => false,
            },
        };
        if done {
            self.on_success.apply(event);
        } else {
            tag(event, &self.options.tag_on_failure);
        }
    }
}

/// Puts the fields of an object into the event.
fn put(event: &mut Event, map: Map) {
    for (name, value) in map {
        match name.as_str() {
            "@timestamp" => put_timestamp(event, value),
            "@metadata" => {
                // Something that is no map has no place there, and would not be written out in any case.
                let _not_a_map = event.set(&FieldRef::top("@metadata"), value);
            }
            "tags" if !are_tags(&value) => {
                event.add_tag(TAGS_FAILURE);
                event.fields_mut().insert("_tags", value);
            }
            _ => {
                event.fields_mut().insert(name, value);
            }
        }
    }
}

fn put_timestamp(event: &mut Event, value: Value) {
    let field = FieldRef::top("@timestamp");
    if event.set(&field, value.clone()).is_err() {
        let now = event.timestamp().unwrap_or_else(Timestamp::now);
        let _a_moment_fits = event.set(&field, Value::Time(now));
        event.add_tag(TIMESTAMP_FAILURE);
        event.fields_mut().insert("_@timestamp", Value::Str(value.to_text()));
    }
}

fn are_tags(value: &Value) -> bool {
    match value {
        Value::Str(_) | Value::Null => true,
        Value::List(items) => items.iter().all(|item| matches!(item, Value::Str(_))),
        _ => false,
    }
}
