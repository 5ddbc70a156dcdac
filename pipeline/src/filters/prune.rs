//! Removes the fields that nobody named.
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, Fate, Filter};
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::{Hash, Placed};
use crate::lang::problems::Problems;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::ruby::{Dot, Groups, Ruby};
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::template::Template;
use crate::value::{Name, Value};

/// How long one expression may search in one text.
const PATIENCE: Duration = Duration::from_secs(1);

plugin! {
    /// Removes fields by regular expressions (of Ruby's syntax) for their names or for what they hold.
    ///
    /// ```
    /// filter { prune { whitelist_names => ["^message$", "^host$", "^@"] } }
    /// ```
    ///
    /// Only fields at the top are looked at; `@metadata` stays. With `whitelist_names` every field goes that none of them
    /// matches, `@timestamp` and `@version`, too.
    filter "prune" => pub(crate) struct PruneOptions {
        /// Fill in `%{field}` in names and expressions, for each event.
        interpolate: bool = false,
        /// Names of fields to keep; all others are removed. Empty: all are kept.
        whitelist_names: Vec<Placed<String>> = [],
        /// Names of fields to remove.
        blacklist_names: Vec<Placed<String>> = ["%[{][^}]+[}]"],
        /// Fields, and what must be found in them: a field in which it is not is removed. Of a list the items go in which it
        /// is not.
        whitelist_values: Hash<Placed<String>> = {},
        /// Fields, and what must not be found in them. Of a list the items go in which it is.
        blacklist_values: Hash<Placed<String>> = {},
    }
    validate = check_patterns
}

fn check_patterns(options: &PruneOptions, problems: &mut Problems) {
    let names = options.whitelist_names.iter().chain(&options.blacklist_names);
    let values =
        options.whitelist_values.0.iter().chain(&options.blacklist_values.0).map(|(_, pattern)| pattern);
    for pattern in names.chain(values) {
        let filled_in = options.interpolate && Template::parse(pattern).as_literal().is_none();
        if !filled_in && let Err(mistake) = Ruby::compile(pattern, Dot::NotNewline) {
            mistake.report(pattern, problems);
        }
    }
}

impl FilterOptions for PruneOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        let search = |pattern: &Placed<String>| Search::new(pattern, self.interpolate);
        let searches =
            |patterns: &[Placed<String>]| patterns.iter().map(search).collect::<Result<Vec<_>, String>>();
        let named = |hash: &Hash<Placed<String>>| {
            let each = |(name, pattern): &(String, Placed<String>)| {
                let name = if self.interpolate { Template::parse(name) } else { Template::literal(name) };
                Ok((name, search(pattern)?))
            };
            hash.0.iter().map(each).collect::<Result<Vec<_>, String>>()
        };
        Ok(Box::new(Prune {
            keep: searches(&self.whitelist_names)?,
            remove: searches(&self.blacklist_names)?,
            keep_values: named(&self.whitelist_values)?,
            remove_values: named(&self.blacklist_values)?,
            on_success: OnSuccess::new(on_success),
        }))
    }
}

/// A regular expression, known before or only for each event.
enum Search {
    Fixed(Ruby),
    Filled(Template),
}

impl Search {
    fn new(pattern: &str, interpolate: bool) -> Result<Self, String> {
        let template = Template::parse(pattern);
        if interpolate && template.as_literal().is_none() {
            return Ok(Self::Filled(template));
        }
        Ruby::compile(pattern, Dot::NotNewline).map(Self::Fixed).map_err(|mistake| mistake.to_string())
    }

    /// Whether it is found in `text`. One that is none once it is filled in, or takes too long, is not.
    fn finds(&self, text: &str, event: &Event, groups: &mut Groups) -> bool {
        match self {
            Self::Fixed(ruby) => ruby.search(text, 0, PATIENCE, groups).unwrap_or(false),
            Self::Filled(template) => Ruby::compile(&template.render(event), Dot::NotNewline)
                .is_ok_and(|ruby| ruby.search(text, 0, PATIENCE, groups).unwrap_or(false)),
        }
    }
}

struct Prune {
    keep: Vec<Search>,
    remove: Vec<Search>,
    keep_values: Vec<(Template, Search)>,
    remove_values: Vec<(Template, Search)>,
    on_success: OnSuccess,
}

impl Filter for Prune {
    fn run(&mut self, batch: &mut Batch) {
        let mut groups = Groups::new();
        batch.each(|event| {
            // What goes is told by the event as it came.
            let mut changes = self.by_name(event, &mut groups);
            for (name, search) in &self.keep_values {
                changes.extend(by_value(event, name, &mut groups, |text, groups| {
                    search.finds(text, event, groups)
                }));
            }
            for (name, search) in &self.remove_values {
                changes.extend(by_value(event, name, &mut groups, |text, groups| {
                    !search.finds(text, event, groups)
                }));
            }
            for (field, left) in changes {
                match left {
                    // A list that is there can be replaced.
                    Some(left) => _ = event.set(&field, left).is_ok(),
                    None => _ = event.remove(&field),
                }
            }
            self.on_success.apply(event);
            Fate::Keep
        });
    }
}

/// A field, and what is left of it; nothing when it is removed.
type Change = (FieldRef, Option<Value>);

impl Prune {
    fn by_name(&self, event: &Event, groups: &mut Groups) -> Vec<Change> {
        let goes = |name: &str, groups: &mut Groups| {
            let kept = self.keep.is_empty() || self.keep.iter().any(|s| s.finds(name, event, groups));
            !kept || self.remove.iter().any(|s| s.finds(name, event, groups))
        };
        let mut names: Vec<Name> = event.fields().iter().map(|(name, _)| name.clone()).collect();
        names.push(const { Name::const_new("@timestamp") });
        names.retain(|name| goes(name, groups));
        names.iter().map(|name| (FieldRef::top(name), None)).collect()
    }
}

/// What becomes of a field, or of the items of a list, that are not to stay.
fn by_value(
    event: &Event,
    name: &Template,
    groups: &mut Groups,
    stays: impl Fn(&str, &mut Groups) -> bool,
) -> Option<Change> {
    let field = FieldRef::top(&name.render(event));
    match event.get(&field) {
        None | Some(Value::Null | Value::Bool(false)) => None,
        Some(Value::List(items)) => {
            let left: Vec<Value> =
                items.iter().filter(|item| stays(&item.to_text(), groups)).cloned().collect();
            if left.len() == items.len() {
                None
            } else {
                Some((field, (!left.is_empty()).then_some(Value::List(left))))
            }
        }
        Some(value) => (!stays(&value.to_text(), groups)).then_some((field, None)),
    }
}
