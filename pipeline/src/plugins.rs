//! The table of all plugins: one line for each.
use std::sync::Arc;

use crate::batch::Filter;
use crate::filters;
use crate::lang::ast::{Setting, Span};
use crate::lang::problems::Problems;
use crate::plan::{CommonFilter, PluginCall, StartFrom};
use crate::spec::{AnyOptions, Kind, Options, Spec, load};

/// Every plugin there is, sorted by kind and name.
pub(crate) static PLUGINS: &[Plugin] = &[
    // inputs
    // codecs
    // filters
    Plugin::filter::<filters::date::DateOptions>(),
    Plugin::filter::<filters::drop::DropOptions>(),
    Plugin::filter::<filters::grok::GrokOptions>(),
    Plugin::filter::<filters::json::JsonOptions>(),
    Plugin::filter::<filters::mutate::MutateOptions>(),
    // outputs
];

/// One line of the table: what is known of a plugin, how its settings are read, and how it is built from them.
pub(crate) struct Plugin {
    pub(crate) spec: &'static Spec,
    /// Reads and validates settings.
    pub(crate) load: fn(Span, &[Setting], &mut Problems) -> Option<AnyOptions>,
    pub(crate) build: Build,
}

/// How a plugin is made from its options.
pub(crate) enum Build {
    Filter(fn(&AnyOptions, &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String>),
}

/// The options of a filter, which know how to make it.
pub(crate) trait FilterOptions: Options {
    /// Makes the filter. `on_success` is for each event on which the filter did what it is for: the filter knows which
    /// those are. The reason why it cannot be made is for people.
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String>;
}

impl Plugin {
    /// The line of a filter.
    pub(crate) const fn filter<O: FilterOptions>() -> Self {
        Self {
            spec: O::SPEC,
            load: load::<O>,
            build: Build::Filter(|options, common| typed::<O>(options)?.build(common)),
        }
    }
}

/// The options as the type that the plugin declared.
fn typed<O: Options>(options: &AnyOptions) -> Result<&O, String> {
    options.downcast_ref().ok_or_else(|| format!("the options are not those of {:?}", O::SPEC))
}

/// The plugin of this kind and name.
pub(crate) fn find(kind: Kind, name: &str) -> Option<&'static Plugin> {
    PLUGINS.iter().find(|p| p.spec.kind == kind && p.spec.name == name)
}

/// The names of all plugins of a kind.
pub(crate) fn names(kind: Kind) -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().filter(move |p| p.spec.kind == kind).map(|p| p.spec.name)
}

/// The files inside of a container that an input wants to be fed from, and where to begin in them.
pub(crate) fn feeds(_input: &PluginCall) -> (Vec<String>, StartFrom) {
    // No input reads files of containers yet.
    (Vec::new(), StartFrom::Beginning)
}
