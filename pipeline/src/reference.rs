//! Prints the reference pages of all plugins from their declarations.
use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::every;
use crate::lang::absent;
use crate::lang::kinds::OptionKind;
use crate::lang::suggest::closest;
use crate::plugins::PLUGINS;
use crate::spec::{Kind, OptionSpec, Spec, first_sentence};

/// What a plugin is, does and takes.
#[derive(Clone, Debug, Serialize)]
pub struct PluginPage {
    /// `input`, `codec`, `filter` or `output`.
    pub kind: &'static str,
    /// Its name in a configuration.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: String,
    /// A configuration that uses it.
    pub example: Option<String>,
    /// Its own options, then those of every plugin of its kind.
    pub options: Vec<PluginOption>,
    /// Options of Logstash's plugin that may be given and change nothing, by name, with the reason.
    pub accepted: BTreeMap<&'static str, &'static str>,
    /// Options of Logstash's plugin that are not there, by name, with what to do instead.
    pub unsupported: BTreeMap<&'static str, &'static str>,
    /// The whole page in Markdown.
    #[serde(skip)]
    pub markdown: String,
}

/// An option of a plugin.
#[derive(Clone, Debug, Serialize)]
pub struct PluginOption {
    /// Its name in a configuration.
    pub name: &'static str,
    /// What values it takes, for people.
    pub r#type: String,
    /// Its default, as it would be written; null when it has none.
    pub default: Option<&'static str>,
    /// Whether it must be given.
    pub required: bool,
    /// What it is for, in Markdown.
    pub description: String,
}

/// The pages of all plugins.
pub fn plugin_pages() -> Vec<PluginPage> {
    PLUGINS.iter().map(|plugin| plugin_page(plugin.spec)).collect()
}

fn plugin_page(spec: &Spec) -> PluginPage {
    let options = spec.options.iter().chain(every::spec(spec.kind).options);
    let option = |option: &OptionSpec| PluginOption {
        name: option.name,
        r#type: option.kind.to_string(),
        default: option.default,
        required: option.required,
        description: trimmed(option.docs),
    };
    PluginPage {
        kind: spec.kind.word(),
        name: spec.name,
        summary: first_sentence(spec.docs),
        example: example(spec),
        options: options.map(option).collect(),
        accepted: spec.accepted.iter().copied().collect(),
        unsupported: spec.unsupported.iter().copied().collect(),
        markdown: page(spec),
    }
}

/// The first text between fences in the documentation of a plugin.
fn example(spec: &Spec) -> Option<String> {
    let is_fence = |line: &&&str| line.trim() == "```";
    let start = spec.docs.iter().position(|line| is_fence(&line))?;
    let inside = spec.docs.iter().skip(start + 1).take_while(|line| !is_fence(line));
    let lines: Vec<&str> = inside.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    Some(lines.join("\n"))
}

fn trimmed(docs: &[&str]) -> String {
    let mut text = String::new();
    paragraphs(&mut text, docs);
    text.trim_end().to_owned()
}

/// What to do when there is no plugin of this name.
pub fn no_plugin_hint(name: &str) -> String {
    let absent = Kind::ALL.into_iter().find_map(|kind| absent::advice(kind, name));
    if let Some(advice) = absent {
        return format!("Logstash has it, Logherd has not: {advice}");
    }
    match closest(name, PLUGINS.iter().map(|plugin| plugin.spec.name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`logherd plugins` lists all".to_owned(),
    }
}

/// The pages: file names and Markdown texts. `README.md` lists the others.
pub fn reference() -> Vec<(String, String)> {
    let mut pages = vec![("README.md".to_owned(), index())];
    pages.extend(PLUGINS.iter().map(|plugin| (file_name(plugin.spec), page(plugin.spec))));
    pages
}

fn file_name(spec: &Spec) -> String {
    format!("{}-{}.md", spec.kind.word(), spec.name)
}

fn index() -> String {
    let mut out = String::from(
        "# Plugins\n\nThese pages are printed from the declarations of the plugins: `UPDATE=1 cargo test -p pipeline` \
         rewrites them.\n",
    );
    for kind in Kind::ALL {
        let word = kind.word();
        put(
            &mut out,
            format_args!(
                "\n## {}{}s\n\n",
                word.get(..1).unwrap_or("").to_uppercase(),
                word.get(1..).unwrap_or("")
            ),
        );
        put(&mut out, format_args!("| {word} | what it does |\n|---|---|\n"));
        for plugin in PLUGINS.iter().filter(|p| p.spec.kind == kind) {
            let spec = plugin.spec;
            put(
                &mut out,
                format_args!("| [`{}`]({}) | {} |\n", spec.name, file_name(spec), first_sentence(spec.docs)),
            );
        }
    }
    out
}

fn page(spec: &Spec) -> String {
    let word = spec.kind.word();
    let mut out = format!("# `{}` {word}\n\n", spec.name);
    paragraphs(&mut out, spec.docs);
    if spec.options.is_empty() {
        out += "\n## Options\n\nIt has no options of its own.\n";
    } else {
        out += "\n## Options\n\n";
        table(&mut out, spec.options);
        spec.options.iter().for_each(|option| section(&mut out, option));
    }
    let every = every::spec(spec.kind);
    put(&mut out, format_args!("\n## Options of every {word}\n\n"));
    paragraphs(&mut out, every.docs);
    out += "\n";
    table(&mut out, every.options);
    every.options.iter().for_each(|option| section(&mut out, option));
    if !spec.accepted.is_empty() {
        out += "\n## What may be given and changes nothing\n\n| option | why |\n|---|---|\n";
        for (name, why) in spec.accepted {
            put(&mut out, format_args!("| `{name}` | {} |\n", cell(why)));
        }
    }
    if !spec.unsupported.is_empty() {
        out += "\n## What Logstash has and Logherd has not\n\n| option | what to do instead |\n|---|---|\n";
        for (name, instead) in spec.unsupported {
            put(&mut out, format_args!("| `{name}` | {} |\n", cell(instead)));
        }
    }
    out
}

fn table(out: &mut String, options: &[OptionSpec]) {
    *out += "| option | type | default |\n|---|---|---|\n";
    for option in options {
        let default = match (option.required, option.default) {
            (true, _) => "required".to_owned(),
            (false, Some(default)) => format!("`{default}`"),
            (false, None) => "none".to_owned(),
        };
        let anchor = option.name;
        put(
            out,
            format_args!(
                "| [`{}`](#{anchor}) | {} | {} |\n",
                option.name,
                cell(&kind(option.kind)),
                cell(&default)
            ),
        );
    }
}

fn section(out: &mut String, option: &OptionSpec) {
    put(out, format_args!("\n### `{}`\n\n", option.name));
    paragraphs(out, option.docs);
}

/// What an option takes, with a word about how it is written where that is not clear.
fn kind(kind: OptionKind) -> String {
    match kind {
        OptionKind::Bytes => "size in bytes: `1024`, `\"10mb\"`, `\"5 MiB\"`".to_owned(),
        OptionKind::Duration => "time span: seconds, `\"500ms\"`, `\"2 minutes\"`".to_owned(),
        other => other.to_string(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn paragraphs(out: &mut String, docs: &[&str]) {
    for line in docs {
        *out += line.strip_prefix(' ').unwrap_or(line);
        *out += "\n";
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ok = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::Scope;
    use crate::batch::Batch;
    use crate::dead_letter::Letterbox;
    use crate::event::Event;
    use crate::lang::parse::parse_value;
    use crate::lang::problems::Problems;
    use crate::runtime::chain::{Chain, Routes, Together};
    use crate::topology::OutputSite;
    use crate::value::{Timestamp, Value};

    #[test]
    fn every_plugin_and_option_has_documentation_that_ends_with_a_full_stop() {
        for plugin in PLUGINS {
            let spec = plugin.spec;
            let docs =
                std::iter::once((spec.name, spec.docs)).chain(spec.options.iter().map(|o| (o.name, o.docs)));
            for (name, docs) in docs {
                assert!(!docs.is_empty(), "{spec:?}: `{name}` has no documentation");
                assert!(docs.first().is_some_and(|d| !d.trim().is_empty()), "{spec:?}: `{name}`");
            }
        }
    }

    /// An event with what the examples speak of.
    fn event() -> Event {
        let mut event = Event::with_message(Timestamp::UNIX_EPOCH, "10.1.2.3 GET 0.5".into());
        for (name, value) in
            [("client", "10.1.2.3"), ("status", "404"), ("query", "a%20b"), ("level", "debug")]
        {
            event.fields_mut().insert(name, Value::from(value));
        }
        event.fields_mut().insert("items", Value::List(vec!["one".into(), "two".into()]));
        event
    }

    #[test]
    fn the_example_of_each_plugin_runs() {
        // An error means that one is installed already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let limits = crate::DeadLetterLimits::default();
        let letters = Arc::new(Letterbox::new(dir.path(), "p", limits, Arc::default())).of("x", "x");
        for plugin in PLUGINS {
            let spec = plugin.spec;
            let Some(example) = example(spec) else {
                panic!(
                    "{spec:?} has no example: write one between ``` in its documentation, after the first paragraph"
                )
            };
            let environment = |_: &str| Some("secret".to_owned());
            let problems = crate::check(Scope::Run, &example, &environment);
            let told: Vec<String> = problems.iter().map(|p| p.render(spec.name, &example)).collect();
            assert!(told.is_empty(), "{spec:?}:\n{}", told.join("\n"));
            assert!(example.contains(spec.name), "{spec:?}: {example}");
            let plan = crate::compile(Scope::Run, &example, &environment).unwrap();
            for call in &plan.inputs {
                if let Err(reason) = crate::plugins::build_input(call) {
                    // The example may name certificates, which are not on this machine.
                    assert!(reason.contains("No such file"), "{spec:?}: {reason}");
                }
            }
            let mut chain =
                Chain::build(0, &plan.filters, &mut Together::new(), &Default::default()).unwrap();
            chain.run(&mut Batch::new(vec![event()]));
            assert!(chain.take_undecided().is_empty(), "{spec:?}: {example}");
            let (routes, calls) = Routes::new(&plan.outputs);
            routes.choose(&[event()], &mut Vec::new());
            for call in &calls {
                let site = OutputSite { id: call.id.clone(), dead_letters: letters.clone() };
                crate::plugins::build_output(call, site).map(drop).unwrap();
            }
        }
    }

    #[test]
    fn every_default_can_be_read_as_the_option_it_is_for() {
        for plugin in PLUGINS {
            for option in plugin.spec.options.iter().chain(every::spec(plugin.spec.kind).options) {
                let Some(default) = option.default else { continue };
                let mut problems = Problems::of(default);
                assert!(
                    parse_value(default, &mut problems).is_some(),
                    "{:?}: `{}`",
                    plugin.spec,
                    option.name
                );
                assert_eq!(problems.into_diagnostics(default), [], "{:?}: `{}`", plugin.spec, option.name);
            }
            let mut problems = Problems::default();
            (plugin.load)(Default::default(), &[], &mut problems);
            let wrong = problems.into_diagnostics("").into_iter().filter(|p| p.message.contains("expected"));
            assert_eq!(wrong.map(|p| p.message).collect::<Vec<_>>(), [""; 0], "{:?}", plugin.spec);
        }
    }

    #[test]
    fn plugins_are_sorted_and_none_is_there_twice() {
        let order = |kind| Kind::ALL.iter().position(|k| *k == kind);
        for pair in PLUGINS.windows(2) {
            let [a, b] = [&pair[0], &pair[1]].map(|p| (order(p.spec.kind), p.spec.name));
            assert!(a < b, "{a:?} stands before {b:?}");
        }
    }

    #[test]
    fn reference_pages_are_those_printed() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
        let wanted: BTreeMap<String, String> = reference().into_iter().collect();
        #[allow(clippy::disallowed_methods, reason = "a switch of this test, no setting of the program")]
        let update = std::env::var_os("UPDATE").is_some();
        if update {
            std::fs::remove_dir_all(&directory).ok();
            std::fs::create_dir_all(&directory).unwrap();
            for (name, text) in &wanted {
                std::fs::write(directory.join(name), text).unwrap();
            }
        }
        let files = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        let seen: BTreeMap<String, String> = files
            .map(|file| {
                let text = std::fs::read_to_string(file.path()).unwrap_or_default();
                (file.file_name().to_string_lossy().into_owned(), text)
            })
            .collect();
        let names = |pages: &BTreeMap<String, String>| pages.keys().cloned().collect::<Vec<_>>();
        let advice = "the pages in docs/reference are old: `UPDATE=1 cargo test -p pipeline` rewrites them";
        assert_eq!(names(&seen), names(&wanted), "{advice}");
        for (name, text) in &wanted {
            assert_eq!(seen.get(name), Some(text), "{name}: {advice}");
        }
    }
}
