//! Cuts long texts.
use std::sync::Arc;

use crate::batch::{Batch, Fate, Filter};
use crate::field::FieldRef;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::value::Value;

plugin! {
    /// Cuts texts that are longer than `length_bytes`, in lists and in nested fields, too.
    ///
    /// ```
    /// filter { truncate { fields => ["message"] length_bytes => 8192 } }
    /// ```
    ///
    /// A character is never cut in half: what is left may be some bytes shorter. `add_field` and the like apply to events of
    /// which something was cut.
    filter "truncate" => pub(crate) struct TruncateOptions {
        /// The fields to look at; all but `@metadata` when left out.
        fields: Option<Vec<FieldRef>>,
        /// The most bytes that a text may have.
        length_bytes: usize,
    }
}

impl FilterOptions for TruncateOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        Ok(Box::new(Truncate { options: self.clone(), on_success: OnSuccess::new(on_success) }))
    }
}

struct Truncate {
    options: TruncateOptions,
    on_success: OnSuccess,
}

impl Filter for Truncate {
    fn run(&mut self, batch: &mut Batch) {
        let length = self.options.length_bytes;
        batch.each(|event| {
            let mut cut = false;
            match &self.options.fields {
                Some(fields) => {
                    for value in fields {
                        cut |= event.get_mut(value).is_some_and(|value| shorten(value, length, Depth::Deep));
                    }
                }
                None => {
                    for (_, value) in event.fields_mut().iter_mut() {
                        cut |= shorten(value, length, Depth::Deep);
                    }
                }
            }
            if cut {
                self.on_success.apply(event);
            }
            Fate::Keep
        });
    }
}

/// How far down texts are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// In all maps, and in the lists in them.
    Deep,
    /// Only here: lists in lists are left alone.
    Here,
}

/// Cuts what is too long; says whether something was.
fn shorten(value: &mut Value, length: usize, depth: Depth) -> bool {
    match value {
        Value::Str(text) if text.len() > length => {
            let end = text.floor_char_boundary(length);
            let start = text.get(..end).unwrap_or_default();
            *value = Value::Str(text.part(start));
            true
        }
        Value::List(items) if depth == Depth::Deep => {
            items.iter_mut().fold(false, |cut, item| shorten(item, length, Depth::Here) | cut)
        }
        Value::Map(map) if depth == Depth::Deep => {
            map.iter_mut().fold(false, |cut, (_, value)| shorten(value, length, Depth::Deep) | cut)
        }
        _ => false,
    }
}
