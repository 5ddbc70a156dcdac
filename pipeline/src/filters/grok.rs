//! Finds named things in a field by grok patterns.
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tag;
use crate::batch::{Batch, Fate, Filter};
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::{FieldRef, Root};
use crate::grok::expand::{Style, expand};
use crate::grok::library::Library;
use crate::grok::matcher::{Found, Matcher};
use crate::lang::kinds::{Hash, Placed};
use crate::lang::problems::Problems;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::ruby::{self, Groups, OutOfTime};
use crate::spec::{plugin, words};
use crate::success::OnSuccess;
use crate::value::{Names, Text, Value};

plugin! {
    /// Finds named things in a line of text: `match => { "message" => "%{IP:client} %{WORD:verb}" }`.
    ///
    /// ```
    /// filter { grok { match => { "message" => "%{IP:client} %{WORD:verb} %{NUMBER:took:float}" } } }
    /// ```
    ///
    /// A pattern is a regular expression of Ruby's syntax in which `%{NAME}` stands for a pattern that has a name,
    /// `%{NAME:field}` keeps what it finds as a field, and `%{NAME:field:int}` or `%{NAME:field:float}` keeps it as a
    /// number. A field may be `[outer][inner]`. `(?<field>…)` keeps what a group finds.
    ///
    /// `%{NAME=pattern}` and `%{NAME:field=pattern}` define a pattern where it is used.
    ///
    /// The stock patterns are those of Logstash: `COMBINEDAPACHELOG`, `SYSLOGLINE`, `TIMESTAMP_ISO8601`, `LOGLEVEL` and many
    /// more. Their fields have their classic names, or with `ecs_compatibility => v8` those of the Elastic Common Schema.
    ///
    /// A text or a list that is there already becomes a list of the old and the new, unless its field stands in `overwrite`;
    /// anything else that is there stays. An event that no pattern fits gets the tag `_grokparsefailure` and goes on.
    filter "grok" => pub(crate) struct GrokOptions {
        /// Fields, and the pattern or patterns to try on each.
        r#match: Placed<Hash<Vec<Placed<String>>>>,
        /// Patterns of your own: names, and what they stand for.
        pattern_definitions: Hash<Placed<String>> = {},
        /// Directories with files of patterns of your own, one on each line: a name, a blank, the pattern. A file, or several by
        /// `*` and `?` in the last part of a path, will do, too.
        patterns_dir: Vec<String> = [],
        /// Which files of those directories to read; `*` and `?` stand for any characters and any one character.
        patterns_files_glob: String = "*",
        /// Stop at the first pattern that fits. Otherwise all are tried, and for each field the last decides whether it failed.
        break_on_match: bool = true,
        /// Keep only what has a field's name; otherwise `%{NAME}` is kept as the field `NAME`.
        named_captures_only: bool = true,
        /// Keep what was found empty.
        keep_empty_captures: bool = false,
        /// Fields to replace when they are there already.
        overwrite: Vec<FieldRef> = [],
        /// The field to put all found fields into.
        target: Option<FieldRef>,
        /// The tags to add when no pattern fits.
        tag_on_failure: Vec<String> = ["_grokparsefailure"],
        /// How many milliseconds a pattern may try a text; 0: as long as it takes.
        timeout_millis: u64 = 30000,
        /// Whether that is the time of each pattern, or of all patterns for a text together.
        timeout_scope: TimeoutScope = "pattern",
        /// The tags to add when a pattern took too long.
        tag_on_timeout: Vec<String> = ["_groktimeout"],
        /// Which names the fields of the stock patterns have: the classic ones, or those of the Elastic Common Schema. With the
        /// latter a field `host` that holds a text becomes `[host][name]` where a pattern has another field in `host`.
        ecs_compatibility: Ecs = "disabled",
    }
    unsupported {
        "singles" => "remove it: it has no effect",
    }
    validate = check_patterns
}

words! {
    /// What `timeout_millis` is for.
    pub(crate) enum TimeoutScope {
        /// Each pattern.
        Pattern = "pattern",
        /// All patterns that are tried on a text.
        Event = "event",
    }
}

fn check_patterns(options: &GrokOptions, problems: &mut Problems) {
    if options.r#match.0.is_empty() {
        problems
            .error(options.r#match.span, "no pattern is given")
            .hint("write `match => { \"message\" => \"…\" }`");
    }
    let mut library = options.library();
    if !options.patterns_dir.is_empty() {
        library.leave_open();
    }
    let before = problems.errors();
    for (_, definition) in &options.pattern_definitions.0 {
        // A definition that only works within another pattern is possible, so that only its names are looked at.
        if let Err(mistake) = expand(definition, &library, options.style()) {
            mistake.report(definition, problems);
        }
    }
    let sound = problems.errors() == before;
    for (field, patterns) in &options.r#match.0 {
        for pattern in patterns {
            if let Err(error) = FieldRef::parse(field) {
                problems.error(pattern.span, error.to_string());
            }
            let mut warnings = Vec::new();
            let compiled = Matcher::compile(pattern, &library, options.style(), &mut |w| warnings.push(w));
            warnings.into_iter().for_each(|warning| warning.warn(pattern, problems));
            match compiled {
                // What a bad definition causes was said where it stands.
                Err(mistake) if sound => mistake.report(pattern, problems),
                _ => {}
            }
        }
    }
}

impl GrokOptions {
    fn style(&self) -> Style<'_> {
        Style {
            keep_unnamed: !self.named_captures_only,
            target: self.target.as_ref(),
            overwrite: &self.overwrite,
        }
    }

    /// The stock patterns and those of `pattern_definitions`.
    fn library(&self) -> Library {
        let mut library = Library::stock(self.ecs_compatibility);
        self.define_own(&mut library);
        library
    }

    fn define_own(&self, library: &mut Library) {
        for (name, pattern) in &self.pattern_definitions.0 {
            library.define(name.as_str(), pattern.value.trim_end_matches(['\r', '\n']));
        }
    }

    /// All patterns, those of files too.
    fn whole_library(&self) -> Result<Library, String> {
        let mut library = Library::stock(self.ecs_compatibility);
        for directory in &self.patterns_dir {
            read_patterns(Path::new(directory), &self.patterns_files_glob, &mut library)
                .map_err(|error| format!("the patterns in {directory} cannot be read: {error}"))?;
        }
        self.define_own(&mut library);
        Ok(library)
    }

    fn patience(&self) -> Duration {
        match self.timeout_millis {
            0 => Duration::from_secs(365 * 24 * 3600),
            millis => Duration::from_millis(millis),
        }
    }
}

/// Reads the files of a directory whose names fit `glob`, in the order of their names. `path` may also be a file, or have a
/// glob as its last part.
pub(crate) fn read_patterns(path: &Path, glob: &str, library: &mut Library) -> std::io::Result<()> {
    let last = path.file_name().map(|name| name.to_string_lossy());
    if path.is_file() {
        return read_file(path, library);
    }
    let (directory, glob) = match (path.parent(), &last) {
        (Some(parent), Some(last)) if !path.exists() && last.contains(['*', '?']) => (parent, last.as_ref()),
        _ => (path, glob),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if fits(glob, &entry.file_name().to_string_lossy()) && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    files.iter().try_for_each(|file| read_file(file, library))
}

fn read_file(path: &Path, library: &mut Library) -> std::io::Result<()> {
    library.define_all(&String::from_utf8_lossy(&std::fs::read(path)?));
    Ok(())
}

/// Whether `name` fits `glob`, in which `*` stands for any characters and `?` for any one.
fn fits(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<char>, Vec<char>) = (glob.chars().collect(), name.chars().collect());
    let (mut g, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(c) if *c == '?' || name.get(n) == Some(c) => {
                g += 1;
                n += 1;
            }
            _ => match star {
                // The last `*` takes one character more.
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    g = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    glob.iter().skip(g).all(|c| *c == '*')
}

impl FilterOptions for GrokOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        Ok(Box::new(self.grok(on_success)?))
    }
}

impl GrokOptions {
    fn grok(&self, on_success: &Arc<CommonFilter>) -> Result<Grok, String> {
        let library = self.whole_library()?;
        let compile = |pattern: &Placed<String>| {
            Matcher::compile(pattern, &library, self.style(), &mut |_| {})
                .map(|matcher| Pattern { names: matcher.plain_names(), matcher })
                .map_err(|mistake| format!("the pattern `{}` cannot be used: {mistake}", pattern.value))
        };
        let mut rules = Vec::new();
        for (field, patterns) in &self.r#match.0 {
            rules.push(Rule {
                field: FieldRef::parse(field).map_err(|error| error.to_string())?,
                patterns: patterns.iter().map(compile).collect::<Result<_, _>>()?,
            });
        }
        Ok(Grok { rules, options: self.clone(), on_success: OnSuccess::new(on_success) })
    }
}

struct Grok {
    rules: Vec<Rule>,
    options: GrokOptions,
    on_success: OnSuccess,
}

/// The patterns for one field.
struct Rule {
    field: FieldRef,
    patterns: Vec<Pattern>,
}

struct Pattern {
    matcher: Matcher,
    /// As [`Matcher::plain_names`].
    names: Option<Names>,
}

impl Filter for Grok {
    fn run(&mut self, batch: &mut Batch) {
        let mut groups = Groups::new();
        batch.each(|event| {
            match self.work(event, &mut groups) {
                Ok(true) => self.on_success.apply(event),
                Ok(false) => tag(event, &self.options.tag_on_failure),
                Err(OutOfTime) => tag(event, &self.options.tag_on_timeout),
            }
            Fate::Keep
        });
    }
}

impl Grok {
    fn work(&mut self, event: &mut Event, groups: &mut Groups) -> Result<bool, OutOfTime> {
        let mut matched = false;
        let options = &self.options;
        for rule in &mut self.rules {
            let found = match event.get(&rule.field) {
                Some(Value::List(items)) => {
                    let texts: Vec<Text> = items.iter().map(ruby::to_s).collect();
                    let mut found = false;
                    for text in &texts {
                        match try_all(options, &mut rule.patterns, text, event, groups)? {
                            Tried::Refused => {
                                found = false;
                                break;
                            }
                            tried => found |= tried == Tried::Fits,
                        }
                    }
                    found
                }
                // An absent field is an empty text, which some patterns fit.
                value => {
                    let text = value.map(ruby::to_s).unwrap_or_default();
                    try_all(options, &mut rule.patterns, &text, event, groups)? == Tried::Fits
                }
            };
            matched |= found;
            if found && self.options.break_on_match {
                break;
            }
        }
        Ok(matched)
    }
}

/// Tries the patterns on a text. When all are tried it is the last that decides, as in Logstash.
fn try_all(
    options: &GrokOptions,
    patterns: &mut [Pattern],
    text: &Text,
    event: &mut Event,
    groups: &mut Groups,
) -> Result<Tried, OutOfTime> {
    let mut patience = options.patience();
    let start = (options.timeout_scope == TimeoutScope::Event).then(Instant::now);
    let mut tried = Tried::Misses;
    for pattern in patterns {
        if let Some(start) = start {
            patience = options.patience().saturating_sub(start.elapsed());
        }
        tried = Tried::Misses;
        if pattern.matcher.matches(text, patience, groups)? {
            if !keep_all(options, pattern, text, event, groups) {
                return Ok(Tried::Refused);
            }
            tried = Tried::Fits;
            if options.break_on_match {
                break;
            }
        }
    }
    Ok(tried)
}

/// Puts what was found into the event; `false` when a field cannot be set, and the rest is left out.
fn keep_all(
    options: &GrokOptions,
    pattern: &mut Pattern,
    text: &Text,
    event: &mut Event,
    groups: &Groups,
) -> bool {
    let fields = event.fields_mut();
    fields.reserve(pattern.matcher.fields());
    let into_nothing = pattern.names.as_mut().is_some_and(|names| names.absent_in(fields));
    let mut all = pattern.matcher.found(text, groups);
    all.all(|found| {
        let empty = match &found.value {
            None => true,
            Some(Value::Str(text)) => text.is_empty(),
            Some(_) => false,
        };
        if empty && !options.keep_empty_captures {
            return true;
        }
        match found.field.as_top() {
            Some(name) if into_nothing => {
                event.fields_mut().push_new(name.clone(), found.value.unwrap_or_default());
                true
            }
            _ => {
                if options.ecs_compatibility != Ecs::Disabled {
                    make_room(event, found.field);
                }
                keep(found, event)
            }
        }
    })
}

/// Where `host` is a text, as inputs with classic names set it, it becomes `[host][name]`, so that there is room for
/// `[host][hostname]` and the like.
fn make_room(event: &mut Event, field: &FieldRef) {
    if field.root != Root::Field
        || field.path.len() < 2
        || field.path.first().is_none_or(|n| n.name != "host")
    {
        return;
    }
    if let Some(host @ Value::Str(_)) = event.fields_mut().get_mut("host") {
        let name = std::mem::take(host);
        *host = Value::Map([("name", name)].into_iter().collect());
    }
}

/// What became of the patterns that were tried on a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    Fits,
    Misses,
    /// One fits, and what it found cannot be put into the event.
    Refused,
}

/// Puts one value into the event: into nothing, or behind the text or list that is there. What else is there stays.
fn keep(found: Found<'_>, event: &mut Event) -> bool {
    let Found { field, overwrite, value } = found;
    let value = value.unwrap_or_default();
    if overwrite {
        return event.set(field, value).is_ok();
    }
    // Nearly always there is nothing yet.
    let Some(value) = event.set_new(field, value) else { return true };
    match event.get_mut(field) {
        Some(old @ Value::Null) => {
            *old = value;
            true
        }
        Some(Value::Str(_) | Value::List(_)) => event.append(field, value).is_ok(),
        Some(_) => true,
        None => event.has(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Scope, compile};
    use crate::plan::Step;
    use crate::value::{Map, Timestamp};
    use proptest::prelude::*;

    fn grok(pattern: &str, quick: bool) -> Grok {
        let text = format!("filter {{ grok {{ match => {{ 'message' => '{pattern}' }} }} }}");
        let plan = compile(Scope::Run, &text, &|_| None).unwrap();
        let Some(Step::Plugin(call)) = plan.filters.first() else { panic!("one filter was written") };
        let options: &GrokOptions = call.options.downcast_ref().unwrap();
        let mut grok = options.grok(&Arc::default()).unwrap();
        if !quick {
            grok.rules[0].patterns[0].names = None;
        }
        grok
    }

    proptest! {
        #[test]
        fn fields_that_are_known_to_be_absent_are_kept_as_others_are(
            messages in proptest::collection::vec("[ab]{0,2} [0-9]{0,2} ?[a-z]{0,30}", 1..5),
            shared in proptest::collection::btree_map("[a-d]", "[xy]", 0..4),
            own in proptest::option::of("[a-d]"),
        ) {
            let shared: Map = shared.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str()))).collect();
            let shared = Event::shared_fields(&shared);
            let event = |message: &String| {
                let mut event = Event::with_fields_of(Timestamp::UNIX_EPOCH, &shared, Text::from(message.as_str()), None);
                if let Some(name) = &own {
                    event.fields_mut().insert(name.as_str(), Value::Int(1));
                }
                event
            };
            let pattern = "(?<a>[a-z]+)? %{INT:b:int}(?: (?<c>[a-z]+))?";
            let run = |quick: bool| {
                let mut batch = Batch::new(messages.iter().map(event).collect());
                grok(pattern, quick).run(&mut batch);
                batch.into_events()
            };
            prop_assert_eq!(run(true), run(false));
        }
    }
}
