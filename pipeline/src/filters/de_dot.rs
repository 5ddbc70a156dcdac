//! Takes the dots out of the names of fields.
use std::sync::Arc;

use crate::batch::{Batch, Fate, Filter};
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::value::Value;

plugin! {
    /// Takes the dots out of the names of fields: `a.b` becomes `a_b`, or `[a][b]` with `nested`.
    ///
    /// ```
    /// filter { de_dot { separator => "_" } }
    /// ```
    ///
    /// Without `fields` or `recursive` only the fields at the top are looked at. A field that has the new name already is
    /// replaced.
    filter "de_dot" => pub(crate) struct DeDotOptions {
        /// What to put in the place of each dot.
        separator: Placed<String> = "_",
        /// Make fields of fields: each dot becomes a step down.
        nested: bool = false,
        /// Go through the fields of fields, too.
        recursive: bool = false,
        /// The fields to look at, such as `[outer][in.ner]`; all at the top when left out.
        fields: Option<Vec<FieldRef>>,
        /// The tag to add when a field cannot be renamed.
        tag_on_failure: String = "_de_dot_error",
    }
    validate = check_separator
}

fn check_separator(options: &DeDotOptions, problems: &mut Problems) {
    if options.separator.contains('.') {
        problems
            .error(options.separator.span, "the separator has a dot in it")
            .hint("choose other characters, such as `_`");
    }
}

impl FilterOptions for DeDotOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        Ok(Box::new(DeDot { options: self.clone(), on_success: OnSuccess::new(on_success) }))
    }
}

struct DeDot {
    options: DeDotOptions,
    on_success: OnSuccess,
}

/// A field could not be set under its new name.
struct NotRenamed;

impl Filter for DeDot {
    fn run(&mut self, batch: &mut Batch) {
        batch.each(|event| {
            match self.work(event) {
                Ok(()) if self.on_success.try_apply(event) => {}
                _ => event.add_tag(&self.options.tag_on_failure),
            }
            Fate::Keep
        });
    }
}

impl DeDot {
    fn work(&self, event: &mut Event) -> Result<(), NotRenamed> {
        let names: Vec<Vec<String>> = match &self.options.fields {
            Some(fields) => fields.iter().filter(|f| event.has(f)).map(FieldRef::names).collect(),
            None => event.fields().iter().map(|(name, _)| vec![name.to_string()]).collect(),
        };
        names.into_iter().try_for_each(|names| self.rename(event, names))
    }

    /// Renames the field at this path if it has dots, then the fields in it.
    fn rename(&self, event: &mut Event, names: Vec<String>) -> Result<(), NotRenamed> {
        let dotted = names.iter().position(|name| name.contains('.'));
        let names = match dotted {
            None => names,
            Some(first) => {
                let new = self.without_dots(&names);
                let value = event.get(&reference(&names)).cloned().unwrap_or_default();
                event.set(&reference(&new), value).map_err(|_| NotRenamed)?;
                event.remove(&reference(names.get(..=first).unwrap_or_default()));
                new
            }
        };
        if !self.options.recursive {
            return Ok(());
        }
        let inner: Vec<String> = match event.get(&reference(&names)) {
            Some(Value::Map(map)) => map.iter().map(|(name, _)| name.to_string()).collect(),
            _ => return Ok(()),
        };
        inner.into_iter().try_for_each(|name| {
            let mut path = names.clone();
            path.push(name);
            self.rename(event, path)
        })
    }

    fn without_dots(&self, names: &[String]) -> Vec<String> {
        if self.options.nested {
            names
                .iter()
                .flat_map(|name| name.split('.'))
                .filter(|n| !n.is_empty())
                .map(str::to_owned)
                .collect()
        } else {
            names.iter().map(|name| name.replace('.', &self.options.separator.value)).collect()
        }
    }
}

fn reference(names: &[String]) -> FieldRef {
    FieldRef::from_names(&names.iter().map(String::as_str).collect::<Vec<_>>())
}
