//! Makes several events of one that holds a list, or a text of several parts.
use std::sync::Arc;

use crate::batch::{Batch, Filter};
use crate::event::Event;
use crate::field::FieldRef;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::value::Value;

/// The tag of an event whose field holds neither a text nor a list.
const FAILURE: &str = "_split_type_failure";

plugin! {
    /// Makes an event of each item of a list, or of each part of a text.
    ///
    /// ```
    /// filter { split { field => "items" target => "item" } }
    /// ```
    ///
    /// Each of the new events is a copy of the old one, which is gone, with one item in the field. Empty parts make no event.
    /// A text without the terminator stays as it is; an empty one makes no event at all, as in Logstash. An event whose field is absent or holds something else gets the tag
    /// `_split_type_failure`.
    filter "split" => pub(crate) struct SplitOptions {
        /// What stands between the parts of a text: just these characters, unless escapes such as `\n` are asked for
        /// (`config.support_escapes`).
        terminator: String = "\n",
        /// The field that holds the list or the text.
        field: FieldRef = "message",
        /// The field to put the item into; the one that was split when left out.
        target: Option<FieldRef>,
    }
}

impl FilterOptions for SplitOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        Ok(Box::new(Split { options: self.clone(), on_success: OnSuccess::new(on_success) }))
    }
}

struct Split {
    options: SplitOptions,
    on_success: OnSuccess,
}

impl Filter for Split {
    fn run(&mut self, batch: &mut Batch) {
        batch.replace(|event, events| self.split(event, events));
    }
}

impl Split {
    fn split(&self, mut event: Event, events: &mut Vec<Event>) {
        let SplitOptions { terminator, field, target } = &self.options;
        let parts: Vec<Value> = match event.get(field) {
            Some(Value::List(items)) => items.clone(),
            Some(Value::Str(text)) => {
                let part = |part| Value::Str(text.part(part));
                // As Ruby splits: at every character, at any blanks, or at the terminator. Nothing has no parts at all.
                let parts: Vec<Value> = match terminator.as_str() {
                    _ if text.is_empty() => Vec::new(),
                    "" => text.split("").skip(1).map(part).collect(),
                    " " => text.split_ascii_whitespace().map(part).collect(),
                    terminator => text.split(terminator).map(part).collect(),
                };
                if parts.len() == 1 && !(terminator == " " && text.ends_with(' ')) {
                    return events.push(event);
                }
                parts
            }
            _ => {
                event.add_tag(FAILURE);
                return events.push(event);
            }
        };
        if target.is_none() {
            // Large lists are not to be copied into each of their items' events.
            event.remove(field);
        }
        let target = target.as_ref().unwrap_or(field);
        for part in parts {
            if matches!(&part, Value::Null) || part.as_text().is_some_and(|text| text.is_empty()) {
                continue;
            }
            let mut one = event.copied();
            // A path through something that has no fields cannot be set, and Logstash does not say so either.
            let _put = one.set(target, part);
            self.on_success.apply(&mut one);
            events.push(one);
        }
    }
}
