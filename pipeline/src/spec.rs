//! Describes a plugin once: from one declaration come its options struct, its checks and its reference page.
//!
//! ```ignore
//! plugin! {
//!     /// Parses JSON that stands in a field.
//!     ///
//!     /// More paragraphs, shown on the reference page.
//!     filter "json" => pub(crate) struct JsonOptions {
//!         /// The field that holds the text.                      // no default and not an Option: required
//!         source: FieldRef,
//!         /// The field to put the result into; the event itself when left out.
//!         target: Option<FieldRef>,
//!         /// The tags to add when the text is not JSON.
//!         tag_on_failure: Vec<String> = ["_jsonparsefailure"],     // a default, in the configuration's own language
//!         /// The options whose name is no Rust name are given in parentheses.
//!         docker_path ("docker-path"): Paths = [],
//!     }
//!     accepted {
//!         "ecs_compatibility" => "fields go where `target` says",
//!     }
//!     unsupported {
//!         "sincedb_path" => "positions are kept in the data directory",
//!     }
//!     validate = check_patterns                                    // fn(&JsonOptions, &mut Problems), optional
//! }
//! ```
//!
//! The types an option can have are listed in [`crate::lang::kinds`]; `r#match` declares an option named `match`.
use std::any::Any;
use std::sync::Arc;

use crate::lang::ast::{Node, Raw, Setting, Span};
use crate::lang::kinds::{FromSetting, OptionKind};
use crate::lang::problems::Problems;

/// What a plugin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Brings events in.
    Input,
    /// Turns bytes into events and back.
    Codec,
    /// Changes events.
    Filter,
    /// Sends events away.
    Output,
}

impl Kind {
    /// The word for it, as used in texts: `input`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Codec => "codec",
            Self::Filter => "filter",
            Self::Output => "output",
        }
    }
}

/// What is known of a plugin without running it.
pub(crate) struct Spec {
    /// What it is for.
    pub(crate) kind: Kind,
    /// Its name in a configuration.
    pub(crate) name: &'static str,
    /// Its documentation, line by line; the first paragraph is the summary.
    pub(crate) docs: &'static [&'static str],
    /// Its own options, without those that every plugin of its kind has.
    pub(crate) options: &'static [OptionSpec],
    /// Options of the Logstash plugin of this name that may be given and change nothing, each with the reason.
    pub(crate) accepted: &'static [(&'static str, &'static str)],
    /// Options of the Logstash plugin of this name that do not exist here, each with what to do instead.
    pub(crate) unsupported: &'static [(&'static str, &'static str)],
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.word(), self.name)
    }
}

/// What is known of an option of a plugin.
#[derive(Debug)]
pub(crate) struct OptionSpec {
    /// Its name in a configuration.
    pub(crate) name: &'static str,
    /// Its documentation, line by line.
    pub(crate) docs: &'static [&'static str],
    /// What values it takes.
    pub(crate) kind: OptionKind,
    /// Its default, as it would be written; `None` when it has none.
    pub(crate) default: Option<&'static str>,
    /// Whether it must be given.
    pub(crate) required: bool,
}

/// The typed options of one plugin; implemented by [`plugin!`].
pub(crate) trait Options: Any + Send + Sync + Sized {
    const SPEC: &'static Spec;

    /// Reads the settings that are this plugin's own; what is wrong goes to `problems`. Settings with names that this
    /// plugin does not have are left alone: the checker reports them.
    fn read(call: Span, settings: &[Setting], problems: &mut Problems) -> Option<Self>;

    /// Looks at the options as a whole: patterns that must compile, options that exclude each other.
    fn validate(&self, problems: &mut Problems);
}

/// Options with their type forgotten, as the plan carries them.
pub(crate) type AnyOptions = Arc<dyn Any + Send + Sync>;

/// Reads and validates the options of `T`.
pub(crate) fn load<T: Options>(
    call: Span,
    settings: &[Setting],
    problems: &mut Problems,
) -> Option<AnyOptions> {
    let options = T::read(call, settings, problems)?;
    options.validate(problems);
    Some(Arc::new(options))
}

/// Reads one option: the setting when given, else the default, else what absence means for its type.
pub(crate) fn read_option<T: FromSetting>(
    spec: &OptionSpec,
    call: Span,
    settings: &[Setting],
    problems: &mut Problems,
) -> Option<T> {
    if let Some(setting) = settings.iter().find(|s| s.key.text == spec.name) {
        // What cannot be known cannot be wrong; nor can it be read.
        let value = match &setting.value.value {
            Raw::List(items) if spec.kind.is_single() && items.len() == 1 => {
                items.first().unwrap_or(&setting.value)
            }
            _ => &setting.value,
        };
        return if value.is_unknown() { None } else { T::from_setting(value, problems) };
    }
    if let Some(default) = spec.default {
        // What a default is blamed for later is shown where it was left out.
        let default = Node { span: call, ..crate::lang::default_value(default) };
        return T::from_setting(&default, problems);
    }
    let absent = T::absent();
    if absent.is_none() {
        let purpose = in_passing(&first_sentence(spec.docs));
        problems
            .error(call, format!("the option `{}` is missing", spec.name))
            .missing(spec.name)
            .hint(format!("add `{} => …` ({purpose})", spec.name));
    }
    absent
}

/// A sentence as it stands inside of another one: its first letter is small, unless it begins a name.
fn in_passing(sentence: &str) -> String {
    let mut chars = sentence.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => sentence.to_owned(),
    }
}

/// The first sentence of documentation lines, without its full stop.
pub(crate) fn first_sentence(docs: &[&str]) -> String {
    let text: Vec<&str> = docs.iter().map(|l| l.trim()).take_while(|l| !l.is_empty()).collect();
    let text = text.join(" ");
    let sentence = text.split(". ").next().unwrap_or("");
    sentence.trim_end_matches('.').to_owned()
}

/// Declares a plugin: see the module's documentation.
macro_rules! plugin {
    (
        $(#[doc = $doc:literal])*
        $kind:ident $name:literal => $vis:vis struct $options:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $field:ident $(($key:literal))? : $ty:ty $(= $default:expr)?
            ),* $(,)?
        }
        $(accepted { $($idle:literal => $why:literal),* $(,)? })?
        $(unsupported { $($gone:literal => $instead:literal),* $(,)? })?
        $(validate = $validate:path)?
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        $vis struct $options {
            $($(#[doc = $field_doc])* pub(crate) $field: $ty,)*
        }

        impl $crate::spec::Options for $options {
            const SPEC: &'static $crate::spec::Spec = &$crate::spec::Spec {
                kind: $crate::spec::kind_of!($kind),
                name: $name,
                docs: &[$($doc),*],
                options: &[$($crate::spec::OptionSpec {
                    name: $crate::spec::option_name(stringify!($field), &[$($key)?]),
                    docs: &[$($field_doc),*],
                    kind: <$ty as $crate::lang::kinds::FromSetting>::KIND,
                    default: $crate::spec::first(&[$(stringify!($default))?]),
                    required: !<$ty as $crate::lang::kinds::FromSetting>::OPTIONAL
                        && $crate::spec::first(&[$(stringify!($default))?]).is_none(),
                }),*],
                accepted: &[$($(($idle, $why)),*)?],
                unsupported: &[$($(($gone, $instead)),*)?],
            };

            #[allow(unused_variables, unused_mut, reason = "a plugin may have no options of its own")]
            fn read(
                call: $crate::lang::ast::Span,
                settings: &[$crate::lang::ast::Setting],
                problems: &mut $crate::lang::problems::Problems,
            ) -> Option<Self> {
                let mut specs = <Self as $crate::spec::Options>::SPEC.options.iter();
                $(let $field = specs
                    .next()
                    .and_then(|spec| $crate::spec::read_option::<$ty>(spec, call, settings, problems));)*
                Some(Self { $($field: $field?,)* })
            }

            #[allow(unused_variables, reason = "most plugins have nothing to validate")]
            fn validate(&self, problems: &mut $crate::lang::problems::Problems) {
                $($validate(self, problems);)?
            }
        }
    };
}

/// The [`Kind`] for a word of [`plugin!`].
macro_rules! kind_of {
    (input) => {
        $crate::spec::Kind::Input
    };
    (codec) => {
        $crate::spec::Kind::Codec
    };
    (filter) => {
        $crate::spec::Kind::Filter
    };
    (output) => {
        $crate::spec::Kind::Output
    };
}

/// Declares an option type that is one of a few words: each variant has its word and a line of documentation.
///
/// ```ignore
/// words! {
///     /// Where to begin.
///     pub(crate) enum StartPosition {
///         /// At the first byte.
///         Beginning = "beginning",
///         /// After the last byte.
///         End = "end",
///     }
/// }
/// ```
macro_rules! words {
    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident {
            $($(#[doc = $word_doc:literal])* $variant:ident = $word:literal),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name {
            $($(#[doc = $word_doc])* $variant,)*
        }

        impl $crate::lang::kinds::FromSetting for $name {
            const KIND: $crate::lang::kinds::OptionKind = $crate::lang::kinds::OptionKind::Words(&[$($word),*]);

            fn from_setting(
                node: &$crate::lang::ast::Node,
                problems: &mut $crate::lang::problems::Problems,
            ) -> Option<Self> {
                match $crate::lang::kinds::read_word(node, &[$($word),*], problems)? {
                    $(word if word == $word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use {kind_of, plugin, words};

/// The name of an option: the one in parentheses, else the field's without `r#`.
pub(crate) const fn option_name(field: &'static str, given: &[&'static str]) -> &'static str {
    if let [name, ..] = given {
        return name;
    }
    match field.as_bytes() {
        [b'r', b'#', rest @ ..] => match std::str::from_utf8(rest) {
            Ok(name) => name,
            Err(_) => field,
        },
        _ => field,
    }
}

/// The first of at most one thing.
pub(crate) const fn first(of: &[&'static str]) -> Option<&'static str> {
    match of {
        [one, ..] => Some(one),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldRef;
    use crate::lang::kinds::{Hash, Paths};
    use crate::template::Template;

    plugin! {
        /// Does nothing but show what a declaration looks like. More of it.
        ///
        /// A second paragraph.
        filter "sample" => pub(crate) struct SampleOptions {
            /// The field to read.
            source: FieldRef,
            /// What to look for.
            r#match: Hash<Vec<Template>> = {},
            /// Files.
            docker_path ("docker-path"): Paths = ["/a"],
            /// How often.
            count: u32 = 3,
            /// May be left out.
            target: Option<FieldRef>,
        }
        unsupported {
            "ruby" => "write it in the configuration's language",
        }
        validate = count_is_small
    }

    fn count_is_small(options: &SampleOptions, problems: &mut Problems) {
        if options.count > 10 {
            problems.error(Span::default(), "too many");
        }
    }

    #[test]
    fn a_declaration_yields_the_description_of_the_plugin() {
        let spec = SampleOptions::SPEC;
        assert_eq!((spec.kind, spec.name), (Kind::Filter, "sample"));
        assert_eq!(first_sentence(spec.docs), "Does nothing but show what a declaration looks like");
        let rows: Vec<_> = spec.options.iter().map(|o| (o.name, o.default, o.required)).collect();
        assert_eq!(
            rows,
            [
                ("source", None, true),
                ("match", Some("{}"), false),
                ("docker-path", Some("[\"/a\"]"), false),
                ("count", Some("3"), false),
                ("target", None, false),
            ]
        );
    }

    fn read(text: &str) -> (Option<SampleOptions>, Vec<String>) {
        let mut problems = Problems::of(text);
        let tree = crate::lang::parse::parse(text, &mut problems);
        let Some(crate::lang::ast::Item::Plugin(call)) = tree.sections[0].body.first() else {
            panic!("{text}")
        };
        let options = load::<SampleOptions>(call.name.span, &call.settings, &mut problems);
        let options = options.and_then(|o| o.downcast_ref::<SampleOptions>().cloned());
        (options, problems.into_diagnostics(text).into_iter().map(|p| p.message).collect())
    }

    #[test]
    fn options_are_read_as_their_types_and_filled_up_with_defaults() {
        let (options, problems) =
            read("filter { sample { source => '[a][b]' match => { x => y } count => '7' } }");
        let options = options.unwrap();
        assert_eq!(problems, [""; 0]);
        assert_eq!((options.source, options.target), (FieldRef::parse("[a][b]").unwrap(), None));
        assert_eq!(options.r#match.0, [("x".to_owned(), vec![Template::parse("y")])]);
        assert_eq!((options.docker_path.0, options.count), (vec!["/a".to_owned()], 7));
    }

    #[test]
    fn missing_options_and_the_plugins_own_checks_are_told() {
        assert_eq!(read("filter { sample { } }").1, ["the option `source` is missing"]);
        assert_eq!(read("filter { sample { source => a count => 11 } }").1, ["too many"]);
    }
}
