//! Changes fields: renames, converts, replaces, splits and joins them.
mod change;
mod convert;
mod text;

use std::sync::Arc;

use super::tag;
use crate::batch::{Batch, Fate, Filter};
use crate::field::FieldRef;
use crate::lang::kinds::{Hash, Placed};
use crate::lang::problems::Problems;
use crate::lang::written::ShownTemplate;
use crate::place::Place;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::ruby::{Dot, Groups, Ruby};
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::template::Template;
use change::{Change, Gsub};
use convert::Conversion;
pub(super) use text::Style;

plugin! {
    /// Changes fields.
    ///
    /// ```
    /// filter {
    ///   mutate { rename => { "src" => "[source][ip]" } convert => { "size" => "integer" } lowercase => ["level"] }
    /// }
    /// ```
    ///
    /// Whatever the order in which they are written, the changes of one `mutate` happen in this order: `coerce`, `rename`,
    /// `update`, `replace`, `convert`, `gsub`, `uppercase`, `capitalize`, `lowercase`, `strip`, `split`, `join`, `merge`,
    /// `copy`. Where another order is wanted, write several `mutate`.
    ///
    /// When one of them cannot be made the event gets the tag `_mutate_error`, and those after it are left out.
    filter "mutate" => pub(crate) struct MutateOptions {
        /// Fields, and the values they get where they are null.
        coerce: Hash<ShownTemplate> = {},
        /// Fields, and their new names. Both may be templates.
        rename: Hash<Template> = {},
        /// Fields, and their new values, where the field is there already. Values may be templates.
        update: Hash<ShownTemplate> = {},
        /// Fields, and their new values. Values may be templates.
        replace: Hash<ShownTemplate> = {},
        /// Fields, and the type they are to have: `integer`, `float`, `string`, `boolean`; `integer_eu` and `float_eu` read
        /// `1.000,5` as one thousand and a half. In a list each value is converted.
        convert: Hash<Conversion> = {},
        /// A field, a regular expression of Ruby's syntax, and what to put in the place of each match: `["path", "/", "_"]`;
        /// then more of these. `\1` is the first group of the match, `\k<name>` one with a name, `\0` the whole match.
        gsub: Vec<Placed<String>> = [],
        /// Fields to write in capitals.
        uppercase: Vec<FieldRef> = [],
        /// Fields to write with a capital first and the rest small.
        capitalize: Vec<FieldRef> = [],
        /// Fields to write in small letters.
        lowercase: Vec<FieldRef> = [],
        /// Fields to rid of blanks at both ends.
        strip: Vec<FieldRef> = [],
        /// Fields, and the text at which to split each into a list.
        split: Hash<String> = {},
        /// Fields that are lists, and the text to put between the items.
        join: Hash<String> = {},
        /// Fields, and those whose values are added to them: items to a list, fields to a map.
        merge: Hash<Vec<String>> = {},
        /// Fields, and the names under which they are to be there once more.
        copy: Hash<String> = {},
        /// The tags to add when a change cannot be made.
        tag_on_failure: Vec<String> = ["_mutate_error"],
    }
    unsupported {
        "remove" => "write `remove_field`",
    }
    validate = check_changes
}

fn check_changes(options: &MutateOptions, problems: &mut Problems) {
    for rule in options.gsub.chunks(3) {
        let [field, pattern, _] = rule else {
            if let Some(odd) = rule.first() {
                problems
                    .error(odd.span, "`gsub` takes its items by threes, and here some are missing")
                    .hint("write a field, a regular expression, and what to put in the place of each match");
            }
            continue;
        };
        if let Err(error) = FieldRef::parse(field) {
            problems.error(field.span, error.to_string());
        }
        if Template::parse(pattern).as_literal().is_some()
            && let Err(mistake) = Ruby::compile(pattern, Dot::NotNewline)
        {
            mistake.report(pattern, problems);
        }
    }
}

impl MutateOptions {
    /// All changes, in the order in which they are to be made.
    fn changes(&self) -> Result<Vec<Change>, String> {
        let mut changes = Vec::new();
        let pairs = |hash: &Hash<ShownTemplate>, change: fn(Place, Template) -> Change| {
            let pairs = hash.0.iter().map(|(field, value)| change(Place::literal(field), value.0.clone()));
            pairs.collect::<Vec<_>>()
        };
        let words = |hash: &Hash<String>, change: fn(Place, String) -> Change| {
            let pairs = hash.0.iter().map(|(field, word)| change(Place::literal(field), word.clone()));
            pairs.collect::<Vec<_>>()
        };
        changes.extend(pairs(&self.coerce, Change::Coerce));
        let rename = |(from, to): &(String, Template)| Change::Rename(Place::parse(from), Place::new(to));
        changes.extend(self.rename.0.iter().map(rename));
        changes.extend(pairs(&self.update, Change::Update));
        changes.extend(pairs(&self.replace, Change::Replace));
        let convert = |(field, to): &(String, Conversion)| Change::Convert(Place::literal(field), *to);
        changes.extend(self.convert.0.iter().map(convert));
        for rule in self.gsub.chunks(3) {
            let [field, pattern, with] = rule else { return Err("`gsub` takes its items by threes".into()) };
            changes.push(Change::Gsub(Gsub::new(field, pattern, with)?));
        }
        for (fields, style) in [
            (&self.uppercase, Style::Upper),
            (&self.capitalize, Style::Capital),
            (&self.lowercase, Style::Lower),
            (&self.strip, Style::Stripped),
        ] {
            changes.extend(fields.iter().map(|field| Change::Restyle(field.clone(), style)));
        }
        changes.extend(words(&self.split, Change::Split));
        changes.extend(words(&self.join, Change::Join));
        for (field, added) in &self.merge.0 {
            let added = added.iter().map(|name| Place::literal(name)).collect();
            changes.push(Change::Merge(Place::literal(field), added));
        }
        let copy = |(from, to): &(String, String)| Change::Copy(Place::literal(from), Place::literal(to));
        changes.extend(self.copy.0.iter().map(copy));
        Ok(changes)
    }
}

impl FilterOptions for MutateOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        Ok(Box::new(Mutate {
            changes: self.changes()?,
            tag_on_failure: self.tag_on_failure.clone(),
            on_success: OnSuccess::new(on_success),
        }))
    }
}

struct Mutate {
    changes: Vec<Change>,
    tag_on_failure: Vec<String>,
    on_success: OnSuccess,
}

impl Filter for Mutate {
    fn run(&mut self, batch: &mut Batch) {
        let mut groups = Groups::new();
        batch.each(|event| {
            let made = self.changes.iter_mut().try_for_each(|change| change.make(event, &mut groups));
            match made {
                Ok(()) if self.on_success.try_apply(event) => {}
                _ => tag(event, &self.tag_on_failure),
            }
            Fate::Keep
        });
    }
}
