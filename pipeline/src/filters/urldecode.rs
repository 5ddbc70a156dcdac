//! Decodes what is percent-encoded.
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::tag;
use crate::batch::{Batch, Fate, Filter};
use crate::codec::{Charset, to_text};
use crate::field::FieldRef;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::value::Value;

plugin! {
    /// Decodes what is percent-encoded: `%20` becomes a blank. A `+` stays what it is.
    ///
    /// ```
    /// filter { urldecode { field => "query" } }
    /// ```
    ///
    /// Texts in lists and in nested fields are decoded, too; names of fields are not.
    filter "urldecode" => pub(crate) struct UrldecodeOptions {
        /// The field to decode.
        field: FieldRef = "message",
        /// Decode every field, not only that one.
        all_fields: bool = false,
        /// The character set of the bytes that come out.
        charset: Charset = "UTF-8",
        /// The tags to add when the text cannot be decoded.
        tag_on_failure: Vec<String> = ["_urldecodefailure"],
    }
}

impl FilterOptions for UrldecodeOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        Ok(Box::new(Urldecode { options: self.clone(), on_success: OnSuccess::new(on_success) }))
    }
}

struct Urldecode {
    options: UrldecodeOptions,
    on_success: OnSuccess,
}

impl Filter for Urldecode {
    fn run(&mut self, batch: &mut Batch) {
        let UrldecodeOptions { field, all_fields, charset, tag_on_failure } = &self.options;
        batch.each(|event| {
            if *all_fields {
                event.fields_mut().iter_mut().for_each(|(_, value)| decode(value, *charset));
            } else if let Some(value) = event.get_mut(field) {
                decode(value, *charset);
            } else if event.set(field, Value::Null).is_err() {
                tag(event, tag_on_failure);
            }
            self.on_success.apply(event);
            Fate::Keep
        });
    }
}

fn decode(value: &mut Value, charset: Charset) {
    match value {
        Value::Str(text) if text.contains('%') || charset != Charset::Utf8 && !text.is_ascii() => {
            let bytes: Vec<u8> = percent_decode_str(text).collect();
            *value = Value::Str(to_text(bytes.into(), charset));
        }
        Value::List(items) => items.iter_mut().for_each(|item| decode(item, charset)),
        Value::Map(map) => map.iter_mut().for_each(|(_, value)| decode(value, charset)),
        _ => {}
    }
}
