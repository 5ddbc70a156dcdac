//! Looks values up in a dictionary.
mod dictionary;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, Fate, Filter};
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::{Hash, Placed};
use crate::lang::problems::Problems;
use crate::lang::written::Written;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::ruby::{self, Groups};
use crate::spec::{plugin, words};
use crate::success::OnSuccess;
use crate::template::Template;
use crate::value::{Text, Value};
use dictionary::{Dictionary, DictionaryFile, Matching};

plugin! {
    /// Looks up what a field holds in a dictionary, and puts what stands there into another field.
    ///
    /// ```
    /// filter {
    ///   translate { source => "status" target => "meaning" dictionary => { "200" => "OK" "404" => "Not Found" } fallback => "?" }
    /// }
    /// ```
    ///
    /// The dictionary is written here or in a file: JSON (`.json`), YAML (`.yml`, `.yaml`) or CSV with two columns (`.csv`).
    /// `add_field` and the like apply to events for which something was found, or a `fallback` was taken.
    filter "translate" => pub(crate) struct TranslateOptions {
        /// The field to look up. Of a list the first item counts, unless `iterate_on` names it.
        source: Option<Placed<FieldRef>>,
        /// The old name of `source`.
        field: Option<Placed<FieldRef>>,
        /// The field to put what is found into: `translation`, or the source itself with `ecs_compatibility => v1`.
        target: Option<Placed<FieldRef>>,
        /// The old name of `target`.
        destination: Option<Placed<FieldRef>>,
        /// What to look up, and what stands there.
        dictionary: Hash<Written> = {},
        /// A file that holds the dictionary.
        dictionary_path: Option<Placed<String>>,
        /// After how many seconds it is looked again whether the file changed; 0 or less: never.
        refresh_interval: f64 = 300,
        /// What becomes of entries that the changed file no longer has.
        refresh_behaviour: Refresh = "merge",
        /// Whether the whole value must be an entry; else every entry that is found in it is replaced.
        exact: bool = true,
        /// Whether entries are regular expressions, of which the first that is found counts.
        regex: bool = false,
        /// Whether a target that is there already is replaced; it is when it is the source.
        r#override: Option<Placed<bool>>,
        /// What to put into the target when nothing is found; a template.
        fallback: Option<Template>,
        /// A list to go through: the source itself, whose items are looked up, or a list of maps that have the source.
        iterate_on: Option<FieldRef>,
        /// What `target` is when it is left out.
        ecs_compatibility: Ecs = "disabled",
    }
    accepted {
        "yaml_dictionary_code_point_limit" => "a dictionary may be as large as memory allows",
        "yaml_load_strategy" => "a dictionary is read as a whole",
    }
    validate = check
}

words! {
    /// What becomes of old entries when the dictionary is read again.
    pub(crate) enum Refresh {
        /// They stay.
        Merge = "merge",
        /// They go.
        Replace = "replace",
    }
}

fn check(options: &TranslateOptions, problems: &mut Problems) {
    for (name, old_name, new, old) in [
        ("source", "field", &options.source, &options.field),
        ("target", "destination", &options.target, &options.destination),
    ] {
        match (new, old) {
            (Some(_), Some(old)) => {
                problems
                    .error(old.span, format!("`{name}` and its old name `{old_name}` cannot be given both"))
                    .hint(format!("remove `{old_name}`"));
            }
            (None, Some(old)) => {
                problems
                    .warning(old.span, format!("`{old_name}` is an old name"))
                    .hint(format!("write `{name}`"));
            }
            _ => {}
        }
    }
    if let Some(path) = &options.dictionary_path {
        if !options.dictionary.0.is_empty() {
            problems
                .error(path.span, "`dictionary` and `dictionary_path` cannot be given both")
                .hint("write all entries into the file, or into `dictionary`");
        }
        if let Err(why) = DictionaryFile::form(&path.value) {
            problems.error(path.span, why).hint("its name must end with `.json`, `.yml`, `.yaml` or `.csv`");
        }
    }
    if let Some(given) = &options.r#override
        && !given.value
        && options.lookup().is_ok_and(|(source, target)| source == target)
    {
        problems
            .error(given.span, "a field that is replaced by what is found for it is replaced")
            .hint("remove `override`, or name another `target`");
    }
}

impl TranslateOptions {
    fn interval(&self) -> Duration {
        Duration::try_from_secs_f64(self.refresh_interval).unwrap_or_default()
    }

    /// The field to look up, and the one to put what is found into.
    fn lookup(&self) -> Result<(FieldRef, FieldRef), String> {
        let source = self.source.as_ref().or(self.field.as_ref());
        let source = source.ok_or("the option `source` is missing")?.value.clone();
        let target = self.target.as_ref().or(self.destination.as_ref()).map(|target| target.value.clone());
        let target = target
            .unwrap_or_else(|| self.ecs_compatibility.choose(FieldRef::top("translation"), source.clone()));
        Ok((source, target))
    }
}

impl FilterOptions for TranslateOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        let matching = match (self.exact, self.regex) {
            (true, false) => Matching::Exact,
            (true, true) => Matching::Regex,
            (false, _) => Matching::Parts,
        };
        let (source, target) = self.lookup()?;
        let (entries, file) = match &self.dictionary_path {
            Some(path) => {
                let file = DictionaryFile::new(PathBuf::from(&path.value), self.interval())?;
                (file.read()?, Some(file))
            }
            None => (
                self.dictionary.0.iter().map(|(entry, value)| (entry.clone(), value.0.clone())).collect(),
                None,
            ),
        };
        let overrides = self.r#override.as_ref().map_or(source == target, |given| given.value);
        Ok(Box::new(Translate {
            dictionary: Dictionary::new(entries, matching)?,
            file,
            keep_old: self.refresh_behaviour == Refresh::Merge,
            overrides,
            iterate_on: self.iterate_on.clone(),
            fallback: self.fallback.clone(),
            source,
            target,
            on_success: OnSuccess::new(on_success),
        }))
    }
}

struct Translate {
    dictionary: Dictionary,
    file: Option<DictionaryFile>,
    keep_old: bool,
    overrides: bool,
    iterate_on: Option<FieldRef>,
    fallback: Option<Template>,
    source: FieldRef,
    target: FieldRef,
    on_success: OnSuccess,
}

impl Filter for Translate {
    fn run(&mut self, batch: &mut Batch) {
        self.refresh();
        let mut groups = Groups::new();
        batch.each(|event| {
            if self.translate(event, &mut groups) {
                // What cannot be added is left out, with what stands behind it: so does Logstash.
                let _added = self.on_success.try_apply(event);
            }
            Fate::Keep
        });
    }
}

impl Translate {
    /// Reads the file again when it changed; when it cannot be read the entries stay as they were.
    fn refresh(&mut self) {
        let Some(changed) = self.file.as_mut().and_then(DictionaryFile::changed) else { return };
        if let Err(why) = changed.and_then(|entries| self.dictionary.update(entries, self.keep_old)) {
            tracing::warn!(why, "going on with the dictionary read before");
        }
    }

    /// Whether something was found, or the source is its own target.
    fn translate(&self, event: &mut Event, groups: &mut Groups) -> bool {
        match &self.iterate_on {
            Some(list) if *list != self.source => event.has(list) && self.each_map(event, list, groups),
            iterate_on => {
                if (!self.overrides && event.has(&self.target)) || !event.has(&self.source) {
                    return false;
                }
                let found = match iterate_on {
                    Some(_) => self.each_item(event, groups),
                    None => self.one(event, groups),
                };
                found || self.source == self.target
            }
        }
    }

    fn one(&self, event: &mut Event, groups: &mut Groups) -> bool {
        let text = match event.get(&self.source) {
            Some(Value::List(items)) => items.first().map(ruby::to_s).unwrap_or_default(),
            Some(value) => ruby::to_s(value),
            None => return false,
        };
        let found = self.dictionary.find(&text, groups).or_else(|| self.instead(event));
        found.is_some_and(|found| event.set(&self.target, found).is_ok())
    }

    /// Looks up each item of the source.
    fn each_item(&self, event: &mut Event, groups: &mut Groups) -> bool {
        let items: Vec<Text> = match event.get(&self.source) {
            Some(Value::List(items)) => items.iter().map(ruby::to_s).collect(),
            Some(Value::Null) | None => Vec::new(),
            Some(Value::Map(map)) if map.is_empty() => Vec::new(),
            Some(value) => vec![ruby::to_s(value)],
        };
        let instead = self.instead(event);
        let found: Vec<Value> = items
            .iter()
            .map(|item| self.dictionary.find(item, groups).or_else(|| instead.clone()).unwrap_or_default())
            .collect();
        let any = found.iter().any(|value| !matches!(value, Value::Null | Value::Bool(false)));
        event.set(&self.target, Value::List(found)).is_ok() && any
    }

    /// Looks up the source in each map of a list, and puts what is found into that map.
    fn each_map(&self, event: &mut Event, list: &FieldRef, groups: &mut Groups) -> bool {
        let count = match event.get(list) {
            Some(Value::List(items)) => items.len(),
            _ => 0,
        };
        let mut any = false;
        for at in 0..count {
            let within = |field: &FieldRef| {
                let path: Vec<String> =
                    list.names().into_iter().chain([at.to_string()]).chain(field.names()).collect();
                FieldRef::from_names(&path.iter().map(String::as_str).collect::<Vec<_>>())
            };
            let text = match event.get(&within(&self.source)) {
                None | Some(Value::Null) => continue,
                Some(value) => ruby::to_s(value),
            };
            let found = self.dictionary.find(&text, groups).or_else(|| self.instead(event));
            any |= found.is_some_and(|found| event.set(&within(&self.target), found).is_ok());
        }
        any
    }

    fn instead(&self, event: &Event) -> Option<Value> {
        self.fallback.as_ref().map(|fallback| Value::Str(fallback.render(event)))
    }
}
