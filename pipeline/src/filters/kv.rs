//! Takes apart texts of the form `key=value key=value`.
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mutate::Style;
use super::tag;
use crate::batch::{Batch, Fate, Filter};
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::{Hash, Placed};
use crate::lang::problems::Problems;
use crate::lang::written::Written;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::ruby::{Dot, Groups, OutOfTime, Replacement, Ruby};
use crate::spec::{plugin, words};
use crate::success::OnSuccess;
use crate::template::Template;
use crate::value::{Map, Text, Value};

/// How deep values are taken apart with `recursive`.
const DEPTH_MAX: usize = 32;

plugin! {
    /// Takes apart texts of the form `key=value key="a value"`, and puts the values into the event.
    ///
    /// ```
    /// filter { kv { source => "message" field_split => "&" include_keys => ["user", "page"] } }
    /// ```
    ///
    /// Values can stand in quotes, `"…"` or `'…'`, and in brackets, `(…)`, `[…]` or `<…>`; a backslash takes a character for
    /// itself. A key that comes again makes a list of the values. `add_field` and the like apply to events in which something
    /// was found.
    filter "kv" => pub(crate) struct KvOptions {
        /// The field to take apart: a text, or a list of texts.
        source: FieldRef = "message",
        /// The field to put all keys into; the event itself when left out.
        target: Option<FieldRef>,
        /// The characters of which each separates one pair from the next. They stand in a `[…]` of a regular expression.
        field_split: Placed<String> = " ",
        /// A regular expression for what separates one pair from the next, in place of `field_split`.
        field_split_pattern: Option<Placed<String>>,
        /// The characters of which each separates a key from its value. They stand in a `[…]` of a regular expression.
        value_split: Placed<String> = "=",
        /// A regular expression for what separates a key from its value, in place of `value_split`.
        value_split_pattern: Option<Placed<String>>,
        /// Whether blanks around what separates key and value belong to neither (`lenient`) or not (`strict`).
        whitespace: Whitespace = "lenient",
        /// What to put before each key; a template.
        prefix: Template = "",
        /// The keys to take; all when empty. They may be templates.
        include_keys: Vec<Template> = [],
        /// The keys to leave out. They may be templates.
        exclude_keys: Vec<Template> = [],
        /// Keys, and the values they get when they are not found.
        default_keys: Hash<Written> = {},
        /// Whether a value that a key has already is added once more.
        allow_duplicate_values: bool = true,
        /// Whether a key without a value gets an empty text.
        allow_empty_values: bool = false,
        /// Whether brackets stand around a value, and do not belong to it.
        include_brackets: bool = true,
        /// Take apart the values, too.
        recursive: bool = false,
        /// The characters to take off both ends of a value.
        trim_value: Option<Placed<String>>,
        /// The characters to take off both ends of a key.
        trim_key: Option<Placed<String>>,
        /// The characters to take out of a value.
        remove_char_value: Option<Placed<String>>,
        /// The characters to take out of a key.
        remove_char_key: Option<Placed<String>>,
        /// How to write values.
        transform_value: Option<Transform>,
        /// How to write keys.
        transform_key: Option<Transform>,
        /// How many milliseconds one event may take; 0: as long as it takes.
        timeout_millis: u64 = 30000,
        /// The tag to add when an event takes longer.
        tag_on_timeout: String = "_kv_filter_timeout",
        /// The tags to add when something else goes wrong: a key that cannot be set.
        tag_on_failure: Vec<String> = ["_kv_filter_error"],
    }
    accepted {
        "ecs_compatibility" => "keys go where `target` says",
    }
    validate = check_patterns
}

words! {
    /// Whether blanks around what separates key and value belong to them.
    pub(crate) enum Whitespace {
        /// They do not.
        Lenient = "lenient",
        /// They do.
        Strict = "strict",
    }
}

words! {
    /// How a text is written.
    pub(crate) enum Transform {
        /// In small letters.
        Lowercase = "lowercase",
        /// In capitals.
        Uppercase = "uppercase",
        /// With a capital first and the rest small.
        Capitalize = "capitalize",
    }
}

impl Transform {
    fn apply(self, text: &Text) -> Text {
        let style = match self {
            Self::Lowercase => Style::Lower,
            Self::Uppercase => Style::Upper,
            Self::Capitalize => Style::Capital,
        };
        style.apply(text)
    }
}

fn check_patterns(options: &KvOptions, problems: &mut Problems) {
    for (name, given) in
        [("field_split", Some(&options.field_split)), ("value_split", Some(&options.value_split))]
            .into_iter()
            .chain([
                ("field_split_pattern", options.field_split_pattern.as_ref()),
                ("value_split_pattern", options.value_split_pattern.as_ref()),
            ])
    {
        let Some(given) = given else { continue };
        if given.is_empty() {
            problems
                .error(given.span, format!("`{name}` is empty"))
                .hint("write what stands between one and the other, or leave the option out");
        }
    }
    for given in [&options.field_split_pattern, &options.value_split_pattern].into_iter().flatten() {
        if let Err(mistake) = Ruby::compile(given, Dot::NotNewline) {
            mistake.report(given, problems);
        }
    }
    let sets = [Some(&options.field_split), Some(&options.value_split)].into_iter().chain([
        options.trim_value.as_ref(),
        options.trim_key.as_ref(),
        options.remove_char_value.as_ref(),
        options.remove_char_key.as_ref(),
    ]);
    for given in sets.flatten().filter(|given| !given.is_empty()) {
        if Ruby::compile(&format!("[{}]", given.value), Dot::NotNewline).is_err() {
            problems
                .error(given.span, "these characters cannot stand in a `[…]` of a regular expression")
                .hint("write a backslash before `[`, `]`, `\\`, `^` and `-`");
        }
    }
}

impl FilterOptions for KvOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        let ruby = |pattern: &str| {
            Ruby::compile(pattern, Dot::NotNewline).map_err(|mistake| format!("`{pattern}`: {mistake}"))
        };
        let trim = |set: &Option<Placed<String>>| {
            set.as_ref().map(|set| ruby(&format!("^[{0}]+|[{0}]+$", set.value))).transpose()
        };
        let remove = |set: &Option<Placed<String>>| {
            set.as_ref().map(|set| ruby(&format!("[{}]", set.value))).transpose()
        };
        Ok(Box::new(Kv {
            scan: ruby(&scan_pattern(self))?,
            value_split: ruby(&value_split(self))?,
            key: Trimming {
                trim: trim(&self.trim_key)?,
                remove: remove(&self.remove_char_key)?,
                transform: self.transform_key,
            },
            value: Trimming {
                trim: trim(&self.trim_value)?,
                remove: remove(&self.remove_char_value)?,
                transform: self.transform_value,
            },
            options: self.clone(),
            on_success: OnSuccess::new(on_success),
        }))
    }
}

fn field_split(options: &KvOptions) -> String {
    match &options.field_split_pattern {
        Some(pattern) => format!("(?:{})", pattern.value),
        None => format!("[{}]", options.field_split.value),
    }
}

fn value_split(options: &KvOptions) -> String {
    let split = match &options.value_split_pattern {
        Some(pattern) => format!("(?:{})", pattern.value),
        None => format!("[{}]", options.value_split.value),
    };
    match options.whitespace {
        Whitespace::Lenient => format!("(?: *{split} *)"),
        Whitespace::Strict => split,
    }
}

/// The expression for one pair: the key is its first group, the value the first of the others that took part.
fn scan_pattern(options: &KvOptions) -> String {
    let (field, value) = (field_split(options), value_split(options));
    let until = |pattern: &str| format!(r"((?:(?!{pattern})(?:\\.|.))+)");
    let without = |set: &str| format!(r"((?:\\.|[^{set}])+)");
    let by_pattern = options.field_split_pattern.is_some() || options.value_split_pattern.is_some();
    let key = match by_pattern {
        true => until(&format!("(?:{value}|{field})")),
        false => without(&format!("{}{}", options.value_split.value, options.field_split.value)),
    };
    let mut values = vec![format!("\"{}?\"", without("\"")), format!("'{}?'", without("'"))];
    if options.include_brackets {
        for (open, close) in [(r"\(", r"\)"), (r"\[", r"\]"), ("<", ">")] {
            values.push(format!("{open}{}?{close}", without(close)));
        }
    }
    values.push(match options.field_split_pattern {
        Some(_) => until(&field),
        None => without(&options.field_split.value),
    });
    format!("{key}{value}(?:{})?(?:{field}|$)", values.join("|"))
}

struct Kv {
    options: KvOptions,
    scan: Ruby,
    value_split: Ruby,
    key: Trimming,
    value: Trimming,
    on_success: OnSuccess,
}

/// What is done to each key, or to each value.
struct Trimming {
    trim: Option<Ruby>,
    remove: Option<Ruby>,
    transform: Option<Transform>,
}

impl Trimming {
    fn apply(&self, text: Text, deadline: Instant, groups: &mut Groups) -> Result<Text, OutOfTime> {
        let nothing = Replacement::parse("");
        let mut text = text;
        for ruby in [&self.trim, &self.remove].into_iter().flatten() {
            if let Some(less) = ruby.replace_all(&text, &nothing, rest(deadline), groups)? {
                text = less.into();
            }
        }
        Ok(self.transform.map_or(text.clone(), |transform| transform.apply(&text)))
    }
}

fn rest(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

impl Filter for Kv {
    fn run(&mut self, batch: &mut Batch) {
        let mut groups = Groups::new();
        batch.each(|event| {
            match self.find(event, &mut groups) {
                Err(OutOfTime) => event.add_tag(&self.options.tag_on_timeout),
                Ok(found) => self.put(event, found),
            }
            Fate::Keep
        });
    }
}

impl Kv {
    fn find(&self, event: &Event, groups: &mut Groups) -> Result<Map, OutOfTime> {
        let patience = match self.options.timeout_millis {
            0 => Duration::from_secs(365 * 24 * 3600),
            millis => Duration::from_millis(millis),
        };
        let wanted = Wanted::of(&self.options, event);
        let mut scan = Scan { kv: self, wanted: &wanted, deadline: Instant::now() + patience, groups };
        let mut found = Map::new();
        match event.get(&self.options.source) {
            Some(Value::Str(text)) => scan.text(text, &mut found, 0)?,
            Some(Value::List(items)) => {
                for text in items.iter().filter_map(Value::as_text) {
                    scan.text(text, &mut found, 0)?;
                }
            }
            _ => {}
        }
        if self.options.default_keys.0.is_empty() {
            return Ok(found);
        }
        let defaults = self.options.default_keys.0.iter().map(|(key, value)| (key.as_str(), value.0.clone()));
        let mut all: Map = defaults.collect();
        for (key, value) in found {
            all.insert(key, value);
        }
        Ok(all)
    }

    fn put(&self, event: &mut Event, found: Map) {
        if found.is_empty() {
            return;
        }
        let put = match &self.options.target {
            Some(target) => event.set(target, Value::Map(found)).is_ok(),
            None => found.into_iter().all(|(key, value)| match key.contains(['[', ']']) {
                true => FieldRef::parse(&key).is_ok_and(|field| event.set(&field, value).is_ok()),
                // No name at all is a name, too.
                false => event.set(&FieldRef::top(&key), value).is_ok(),
            }),
        };
        if !put || !self.on_success.try_apply(event) {
            tag(event, &self.options.tag_on_failure);
        }
    }
}

/// What the templates among the options come to for one event.
struct Wanted {
    include: Vec<Text>,
    exclude: Vec<Text>,
    prefix: Text,
}

impl Wanted {
    fn of(options: &KvOptions, event: &Event) -> Self {
        let fill = |templates: &[Template]| templates.iter().map(|t| t.render(event)).collect();
        Self {
            include: fill(&options.include_keys),
            exclude: fill(&options.exclude_keys),
            prefix: options.prefix.render(event),
        }
    }

    fn takes(&self, key: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|k| *k == *key))
            && !self.exclude.iter().any(|k| *k == *key)
    }
}

/// The search through the texts of one event.
struct Scan<'a> {
    kv: &'a Kv,
    wanted: &'a Wanted,
    deadline: Instant,
    groups: &'a mut Groups,
}

impl Scan<'_> {
    /// Adds the pairs of a text to `found`.
    fn text(&mut self, text: &Text, found: &mut Map, depth: usize) -> Result<(), OutOfTime> {
        if !self.kv.value_split.search(text, 0, rest(self.deadline), self.groups)? {
            return Ok(());
        }
        let mut from = 0;
        while from < text.len() && self.kv.scan.search(text, from, rest(self.deadline), self.groups)? {
            let Some((_, end)) = self.groups.place(0) else { break };
            let key = text.part(self.groups.text(text, 1).unwrap_or_default());
            let mut groups = 2..16;
            let value = groups.find_map(|group| self.groups.text(text, group)).unwrap_or_default();
            self.pair(key, text.part(value), found, depth)?;
            from = end;
        }
        Ok(())
    }

    fn pair(&mut self, key: Text, value: Text, found: &mut Map, depth: usize) -> Result<(), OutOfTime> {
        let options = &self.kv.options;
        if value.is_empty() && !options.allow_empty_values {
            return Ok(());
        }
        let key = self.kv.key.apply(key, self.deadline, self.groups)?;
        if !self.wanted.takes(&key) {
            return Ok(());
        }
        let key: Cow<'_, str> = match self.wanted.prefix.as_str() {
            "" => Cow::Borrowed(&key),
            prefix => Cow::Owned(format!("{prefix}{key}")),
        };
        let value = self.kv.value.apply(value, self.deadline, self.groups)?;
        if !options.allow_duplicate_values && found.get(&key).is_some_and(|old| includes(old, &value)) {
            return Ok(());
        }
        let mut inner = Map::new();
        if options.recursive && depth < DEPTH_MAX {
            self.text(&value, &mut inner, depth + 1)?;
        }
        let value = if inner.is_empty() { Value::Str(value) } else { Value::Map(inner) };
        match found.get_mut(&key) {
            Some(Value::List(values)) => values.push(value),
            Some(old) => {
                let first = std::mem::take(old);
                *old = Value::List(vec![first, value]);
            }
            None => {
                found.insert(key.as_ref(), value);
            }
        }
        Ok(())
    }
}

/// Whether a value is there already, as Ruby's `include?` has it: in a text, any part of it is.
fn includes(old: &Value, value: &Text) -> bool {
    match old {
        Value::Str(text) => text.contains(value.as_str()),
        Value::List(items) => items.iter().any(|item| item.as_text() == Some(value)),
        Value::Map(map) => map.get(value).is_some(),
        _ => false,
    }
}
