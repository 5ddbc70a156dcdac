//! Reads a message as a line of comma-separated values, and writes an event as one.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::msgpack::all_fields;
use super::plain::keep_original;
use crate::codec::{Charset, Codec, Decode, Encode, Maker, from_text, to_text};
use crate::csv::Dialect;
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::filters::csv::{Type, converted, quote};
use crate::lang::kinds::{Hash, Placed};
use crate::lang::problems::Problems;
use crate::plugins::CodecOptions;
use crate::ruby;
use crate::spec::plugin;
use crate::value::{Map, Text, Value};
use bytes::Bytes;

/// The tag of an event whose message is no line of values.
const FAILURE: &str = "_csvparsefailure";

plugin! {
    /// Reads each message as a line of comma-separated values, and writes an event as such a line.
    ///
    /// ```
    /// input { file { path => "/var/log/orders.csv" codec => csv { columns => ["id", "name"] convert => { "id" => "integer" } } } }
    /// ```
    ///
    /// A value in quotes may hold separators, and quotes, doubled. A value that is empty and not quoted is null. What is no
    /// such line becomes a message with the tag `_csvparsefailure`. Empty lines are left out.
    codec "csv" => pub(crate) struct CsvOptions {
        /// The names of the columns. Columns beyond them are named `column4` and so on. When writing: the fields to write;
        /// all of them when left out.
        columns: Vec<String> = [],
        /// What separates the columns.
        separator: Placed<String> = ",",
        /// The character that quotes a value; `\x00` for none.
        quote_char: Placed<String> = "\"",
        /// Write the names of the columns before the first event.
        include_headers: bool = false,
        /// Whether columns without a name get one; else they are left out.
        autogenerate_column_names: bool = true,
        /// Leave out columns that are empty.
        skip_empty_columns: bool = false,
        /// Take the names of the columns from the first line of each file or connection.
        autodetect_column_names: bool = false,
        /// Columns, and the type they are to have.
        convert: Hash<Type> = {},
        /// The character set of what is read, by Ruby's name.
        charset: Charset = "UTF-8",
        /// The field to put the columns into; the event itself when left out.
        target: Option<FieldRef>,
        /// With `v1` or `v8` the field `[event][original]` holds the line, too.
        ecs_compatibility: Ecs = "disabled",
    }
    validate = check
}

fn check(options: &CsvOptions, problems: &mut Problems) {
    if options.separator.is_empty() {
        problems
            .error(options.separator.span, "the separator is empty")
            .hint("write what separates the columns");
    }
    if quote(&options.quote_char).is_err() {
        problems
            .error(options.quote_char.span, "a quote is one character")
            .hint("write `\\x00` if nothing is quoted");
    }
}

impl CodecOptions for CsvOptions {
    fn build(&self) -> Result<Codec, String> {
        let quote = quote(&self.quote_char).map_err(|()| "a quote is one character".to_owned())?;
        let dialect = Dialect { separator: self.separator.value.clone(), quote };
        let shared =
            Arc::new(Shared { original: self.ecs_compatibility.original(), dialect, options: self.clone() });
        Ok(Codec::both(Csv { shared, detected: OnceLock::new(), headed: AtomicBool::new(false) }))
    }
}

struct Shared {
    options: CsvOptions,
    dialect: Dialect,
    original: Option<FieldRef>,
}

struct Csv {
    shared: Arc<Shared>,
    /// The names of the columns that the first line had.
    detected: OnceLock<Vec<String>>,
    /// Whether the names of the columns were written.
    headed: AtomicBool,
}

impl Decode for Csv {
    fn decode(&self, message: Bytes, events: &mut Maker<'_>) {
        self.read(to_text(message, self.shared.options.charset), events);
    }

    fn decode_text(&self, message: Text, events: &mut Maker<'_>) {
        self.read(from_text(message, self.shared.options.charset), events);
    }

    fn for_source(&self) -> Option<Arc<dyn Decode>> {
        let detects = self.shared.options.autodetect_column_names && self.shared.options.columns.is_empty();
        let own =
            || Csv { shared: self.shared.clone(), detected: OnceLock::new(), headed: AtomicBool::new(false) };
        detects.then(|| Arc::new(own()) as Arc<dyn Decode>)
    }
}

impl Csv {
    fn read(&self, text: Text, events: &mut Maker<'_>) {
        let Shared { options, dialect, original } = self.shared.as_ref();
        let values = match dialect.row(&text) {
            Ok(Some(values)) => values,
            // Logstash stumbles over an empty line.
            Ok(None) => return,
            Err(_) => return events.failed(text, FAILURE),
        };
        let mut names = options.columns.as_slice();
        if options.autodetect_column_names && names.is_empty() {
            let mut first = false;
            let name = |value: &Option<Text>| value.as_deref().unwrap_or_default().to_owned();
            names = self.detected.get_or_init(|| {
                first = true;
                values.iter().map(name).collect()
            });
            if first {
                return;
            }
        }
        let mut event = events.targeted(options.target.as_ref(), self.columns(names, values));
        if let Some(original) = original {
            keep_original(&mut event, original, text);
        }
        events.event(event);
    }

    fn columns(&self, names: &[String], values: Vec<Option<Text>>) -> Map {
        let options = &self.shared.options;
        let mut fields = Map::new();
        for (at, value) in values.into_iter().enumerate() {
            let empty = value.as_ref().is_none_or(|text| text.is_empty());
            let given = names.get(at);
            if (options.skip_empty_columns && empty)
                || (given.is_none() && !options.autogenerate_column_names)
            {
                continue;
            }
            let name = given.cloned().unwrap_or_else(|| format!("column{}", at + 1));
            let convert = options.convert.0.iter().find(|(column, _)| *column == name).map(|(_, to)| *to);
            let value = match (convert, value) {
                (_, None) => Value::Null,
                (None, Some(text)) => Value::Str(text),
                (Some(to), Some(text)) => converted(to, text),
            };
            fields.insert(name.as_str(), value);
        }
        fields
    }

    fn write(&self, values: impl Iterator<Item = Option<String>>, out: &mut Vec<u8>) {
        let Dialect { separator, quote } = &self.shared.dialect;
        for (nth, value) in values.enumerate() {
            if nth > 0 {
                out.extend_from_slice(separator.as_bytes());
            }
            let Some(value) = value else { continue };
            out.extend_from_slice(quoted(&value, separator, *quote).as_bytes());
        }
        out.push(b'\n');
    }
}

/// A value in quotes if it needs them, as Ruby writes it: when it is empty, begins or ends with a blank, or holds a
/// separator, a quote or the end of a line.
fn quoted(value: &str, separator: &str, quote: Option<char>) -> String {
    let Some(quote) = quote else { return value.to_owned() };
    let blank = |c: char| c.is_ascii_whitespace();
    let needs = value.is_empty()
        || value.starts_with(blank)
        || value.ends_with(blank)
        || value.contains(separator)
        || value.contains([quote, '\n', '\r']);
    if needs {
        format!("{quote}{}{quote}", value.replace(quote, &format!("{quote}{quote}")))
    } else {
        value.to_owned()
    }
}

impl Encode for Csv {
    fn encode(&self, event: &Event, out: &mut Vec<u8>) {
        let options = &self.shared.options;
        let text = |value: &Value| (*value != Value::Null).then(|| ruby::to_s(value).to_string());
        let headed = !options.include_headers || self.headed.swap(true, Ordering::Relaxed);
        if options.columns.is_empty() {
            let all = all_fields(event);
            if !headed {
                self.write(all.iter().map(|(name, _)| Some(name.to_string())), out);
            }
            self.write(all.iter().map(|(_, value)| text(value)), out);
        } else {
            if !headed {
                self.write(options.columns.iter().map(|name| Some(name.clone())), out);
            }
            let field =
                |name: &String| FieldRef::parse(name).ok().and_then(|field| event.get(&field)).and_then(text);
            self.write(options.columns.iter().map(field), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::trial::codecs::{self as trial, encoded, shown};

    #[test]
    fn a_line_of_values_is_an_event_of_columns() {
        assert_eq!(
            shown("csv", &[b"big,bird,\"sesame, street\""]),
            [r#"{"column1":"big","column2":"bird","column3":"sesame, street"}"#]
        );
        let codec =
            "csv { columns => ['a', 'b'] autogenerate_column_names => false skip_empty_columns => true }";
        assert_eq!(shown(codec, &[b"1,,3"]), [r#"{"a":"1"}"#]);
        let codec = "csv { separator => ';' quote_char => \"'\" target => '[t]' }";
        assert_eq!(shown(codec, &[b"a,b;'c;d'"]), [r#"{"t":{"column1":"a,b","column2":"c;d"}}"#]);
        let codec = "csv { quote_char => '\\x00' }";
        assert_eq!(shown(codec, &[b"a,\"b\" c"]), [r#"{"column1":"a","column2":"\"b\" c"}"#]);
        let codec = "csv { columns => [a, b, c] convert => { a => integer b => float c => boolean } }";
        assert_eq!(shown(codec, &[b"12,1.5,false"]), [r#"{"a":12,"b":1.5,"c":false}"#]);
        assert_eq!(shown("csv", &[b"a\"b"]), [r#"{"message":"a\"b","tags":["_csvparsefailure"]}"#]);
        assert_eq!(shown("csv", &[b""]), [""; 0]);
    }

    #[test]
    fn the_first_line_of_each_source_names_the_columns_when_asked_for() {
        let codec = "csv { autodetect_column_names => true }";
        assert_eq!(shown(codec, &[b"size,animal", b"big,bird"]), [r#"{"size":"big","animal":"bird"}"#]);
    }

    #[test]
    fn the_original_is_kept_where_ecs_is_wanted() {
        let codec = "csv { ecs_compatibility => v1 target => '[t]' }";
        assert_eq!(
            shown(codec, &[b"a,b"]),
            [r#"{"t":{"column1":"a","column2":"b"},"event":{"original":"a,b"}}"#]
        );
    }

    #[test]
    fn events_are_written_as_lines_of_values() {
        let text = |codec: &str, event: &str| String::from_utf8(encoded(codec, event)).unwrap();
        let event = r#"{"a":"x","b":"y, \"z\"","c":null,"d":1.5,"@timestamp":"2026-01-02T03:04:05Z"}"#;
        assert_eq!(
            text("csv { include_headers => true columns => ['a','b','c','d','e'] }", event),
            "a,b,c,d,e\nx,\"y, \"\"z\"\"\",,1.5,\n"
        );
        assert_eq!(
            text("csv", "{\"a\":\"x\",\"@timestamp\":\"2026-01-02T03:04:05Z\"}"),
            "2026-01-02T03:04:05.000Z,x,1\n"
        );
    }

    #[test]
    fn the_names_are_written_once() {
        let encode = trial::codec("csv { include_headers => true columns => 'a' }").encode.unwrap();
        let mut out = Vec::new();
        for event in trial::decoded("json", &[b"[{\"a\":1},{\"a\":2}]"]) {
            encode.encode(&event, &mut out);
        }
        assert_eq!(out, b"a\n1\n2\n");
    }
}
