//! Reads our own tree and holds its rules: layers, names, sizes, documents.
//!
//! Every failure says where, what is wrong and what to do about it. A rule that turns out to be wrong is changed here, in
//! the open, not worked around.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/proofs.rs"]
mod proofs;
#[path = "tidy/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use tree::{Report, code, root, tree};

/// Which of our crates each crate may use. `logherd` composes all; `tests` drives all.
const EDGES: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("config", &[]),
    ("pipeline", &["config"]),
    ("web", &["config"]),
    ("executor", &["proto", "config", "pipeline"]),
    ("scheduler", &["proto", "config", "pipeline", "web"]),
    ("local", &["proto", "config"]),
    ("logherd", &["proto", "config", "pipeline", "web", "executor", "scheduler", "local"]),
    ("tests", &["proto", "config", "pipeline", "web", "executor", "scheduler", "local", "logherd"]),
];

/// Files and folders whose code decides: synchronous, told the time, no input and no output.
const DECISION_CORES: &[&str] = &[
    "scheduler/src/core",
    "scheduler/src/leader/standing",
    "executor/src/assign",
    "config/src/image",
    "config/src/document",
    "pipeline/src/lang",
    "pipeline/src/plan",
    "pipeline/src/concurrency",
    "local/src/master/core",
    "local/src/agent/core",
];

/// What a decision core does not say, and what it says instead.
const NOT_IN_A_CORE: &[(&str, &str)] = &[
    ("async ", "decide synchronously and return effects; the module that acts awaits"),
    (".await", "decide synchronously and return effects; the module that acts awaits"),
    ("tokio", "decide synchronously and return effects; the module that acts owns tasks and channels"),
    ("Instant::now", "take `now` as an argument"),
    ("SystemTime::now", "take `now` as an argument"),
    ("Timestamp::now", "take `now` as an argument"),
    ("std::fs", "return what is to be written as an effect"),
    ("std::net", "return what is to be sent as an effect"),
    ("rand::rng()", "take the random bits as an argument"),
    ("rand::random", "take the random bits as an argument"),
];

/// The modules that translate between Mesos' messages and our own types.
const MESOS_EDGES: &[&str] = &["proto/", "scheduler/src/mesos", "executor/src/mesos", "local/", "tests/"];

/// The modules that translate between the control plane's messages and our own types.
const CONTROL_EDGES: &[&str] = &["proto/", "scheduler/src/control", "executor/src/control", "tests/"];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["common", "util", "utils", "helper", "helpers", "misc", "types", "models", "traits", "shared", "stuff"];

/// Endings of type names that say nothing about what the type is.
const EMPTY_SUFFIXES: &[&str] = &["Manager", "Helper", "Util", "Utils", "Impl", "Factory", "Service"];

/// Tables that may be longer than other files.
const LONG_TABLES: &[&str] = &[];

/// Dependencies that are used without being named in our sources: by generated code, or for their features.
const UNNAMED_DEPENDENCIES: &[&str] = &["tonic-prost", "prost", "rustls"];

const MAX_FILE_LINES: usize = 500;
const MAX_MAIN_LINES: usize = 60;
const MAX_CRATES: usize = 10;

fn manifest(name: &str) -> toml::Table {
    let path = root().join(name).join("Cargo.toml");
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .parse()
        .unwrap()
}

/// The names of the dependencies in the given section of a manifest.
fn dependencies(manifest: &toml::Table, section: &str) -> BTreeSet<String> {
    manifest
        .get(section)
        .and_then(toml::Value::as_table)
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

fn members() -> Vec<String> {
    let workspace = manifest("");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

#[test]
fn crates_use_only_the_crates_that_the_table_of_edges_allows() {
    let mut report = Report::default();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let members = members();
    if members.len() > MAX_CRATES {
        report.add(
            "Cargo.toml",
            1,
            format!("{} crates; more than {MAX_CRATES} are too many, merge some", members.len()),
        );
    }
    for name in &members {
        let Some(allowed) = allowed.get(name.as_str()) else {
            report.add(
                "tests/tidy.rs",
                1,
                format!("crate `{name}` is missing in EDGES: say there what it may use"),
            );
            continue;
        };
        for section in SECTIONS {
            for used in dependencies(&manifest(name), section) {
                if members.contains(&used) && !allowed.contains(&used.as_str()) {
                    let what = format!(
                        "`{name}` may not use `{used}` ({section}); a story that needs both lives in `tests`"
                    );
                    report.add(&format!("{name}/Cargo.toml"), 1, what);
                }
            }
        }
    }
    report.end();
}

#[test]
fn every_declared_dependency_is_used() {
    let mut report = Report::default();
    let files = tree();
    let mut used_somewhere = BTreeSet::new();
    for name in members() {
        let sources: String = files
            .iter()
            .filter(|file| file.is_rust() && file.under(&[&format!("{name}/")]))
            .map(|f| f.text.as_str())
            .collect();
        for dependency in SECTIONS.iter().flat_map(|section| dependencies(&manifest(&name), section)) {
            used_somewhere.insert(dependency.clone());
            let ident = dependency.replace('-', "_");
            if !sources.contains(&ident) && !UNNAMED_DEPENDENCIES.contains(&dependency.as_str()) {
                report.add(
                    &format!("{name}/Cargo.toml"),
                    1,
                    format!("`{dependency}` is declared and not used: remove it"),
                );
            }
        }
    }
    let workspace = manifest("");
    for declared in workspace["workspace"]["dependencies"].as_table().unwrap().keys() {
        if !used_somewhere.contains(declared) && !members().contains(declared) {
            report.add(
                "Cargo.toml",
                1,
                format!("`{declared}` is declared for the workspace and used by no crate: remove it"),
            );
        }
    }
    report.end();
}

#[test]
fn every_file_says_what_it_does_and_every_crate_what_lives_in_it() {
    let mut report = Report::default();
    for file in tree().iter().filter(|file| file.is_rust()) {
        let opening = file.text.lines().take_while(|line| line.starts_with("//!")).count();
        if opening == 0 && !file.path.ends_with("/tests.rs") {
            report.add(&file.path, 1, "open with `//!` and one sentence that says what this file does");
        }
        if file.path.ends_with("src/lib.rs") && !(10..=30).contains(&opening) {
            let what = format!(
                "{opening} lines of `//!`; a crate opens with 10 to 30: what lives here, what does not, the flow"
            );
            report.add(&file.path, 1, what);
        }
    }
    report.end();
}

#[test]
fn files_stay_short() {
    let mut report = Report::default();
    for file in tree().iter().filter(|file| file.is_rust() && !LONG_TABLES.contains(&file.path.as_str())) {
        let limit = if file.path.ends_with("src/main.rs") { MAX_MAIN_LINES } else { MAX_FILE_LINES };
        let lines = if file.path.starts_with("tests/") {
            file.text.lines().count()
        } else {
            file.production().count()
        };
        if lines > limit {
            report.add(
                &file.path,
                limit,
                format!("{lines} lines of {limit}: move what has a name of its own to its own file"),
            );
        }
        let tests = file.tests().count();
        if !file.is_test() && tests > 300 {
            let at = file.text.lines().count() - tests;
            report.add(
                &file.path,
                at,
                format!("{tests} lines of unit tests: move them to {}/tests.rs", stem(&file.path)),
            );
        }
    }
    report.end();
}

fn stem(path: &str) -> &str {
    path.strip_suffix(".rs").unwrap_or(path)
}

#[test]
fn names_say_what_a_thing_is() {
    let mut report = Report::default();
    for file in &tree() {
        for part in file.path.split('/') {
            let part = stem(part);
            if EMPTY_NAMES.contains(&part) || part.starts_with("core-") || part.starts_with("core_") {
                report.add(
                    &file.path,
                    1,
                    format!("`{part}` says nothing about what is inside: name it by its subject"),
                );
            }
        }
        if !file.is_rust() {
            continue;
        }
        for (number, line) in file.lines() {
            for name in named(line, &["mod"]).filter(|name| EMPTY_NAMES.contains(name)) {
                report.add(
                    &file.path,
                    number,
                    format!("module `{name}` says nothing about what is inside: name it by its subject"),
                );
            }
            for name in named(line, &["struct", "enum", "trait", "type", "union"]) {
                if let Some(suffix) = EMPTY_SUFFIXES.iter().find(|suffix| name.ends_with(**suffix)) {
                    report.add(
                        &file.path,
                        number,
                        format!("`{name}`: name the thing for what it is, without `{suffix}`"),
                    );
                }
            }
            if code(line).contains(concat!("fn ", "test_")) {
                report.add(&file.path, number, "name a test as a sentence about behaviour, without `test_`");
            }
        }
    }
    report.end();
}

/// The identifiers that a line declares with one of the given words.
fn named<'a>(line: &'a str, words: &'a [&str]) -> impl Iterator<Item = &'a str> {
    words.iter().filter_map(move |word| {
        let line = code(line).trim_start();
        let line = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
        let rest = line.strip_prefix(word)?.strip_prefix(' ')?;
        rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
    })
}

#[test]
fn what_decides_does_not_act() {
    let mut report = Report::default();
    for file in tree().iter().filter(|file| file.is_rust() && file.under(DECISION_CORES) && !file.is_test()) {
        for (number, line) in file.production() {
            for (word, instead) in NOT_IN_A_CORE.iter().filter(|(word, _)| code(line).contains(word)) {
                report.add(&file.path, number, format!("`{}` in a decision core: {instead}", word.trim()));
            }
        }
    }
    report.end();
}

#[test]
fn wire_types_stop_at_the_edge_modules() {
    let mut report = Report::default();
    let rules = [("proto::mesos", MESOS_EDGES), ("proto::control", CONTROL_EDGES)];
    for file in tree().iter().filter(|file| file.is_rust()) {
        for (number, line) in file.production() {
            for (wire, edges) in rules {
                if code(line).contains(wire) && !file.under(edges) {
                    let what = format!(
                        "`{wire}` outside of its edge modules ({}): translate there",
                        edges.join(", ")
                    );
                    report.add(&file.path, number, what);
                }
            }
        }
    }
    report.end();
}

#[test]
fn tests_wait_for_a_state_and_never_sleep() {
    let mut report = Report::default();
    // A benchmark is no test: it watches for as long as it is told.
    let exempt = |file: &&tree::File| file.path == "tests/tidy.rs" || file.under(&["tests/scale/"]);
    for file in tree().iter().filter(|file| file.is_rust() && !exempt(file)) {
        for (number, line) in file.tests() {
            if code(line).contains("sleep(") || code(line).contains("sleep_until(") {
                report.add(
                    &file.path,
                    number,
                    "wait for a state with a deadline, or pause the clock; do not sleep",
                );
            }
        }
    }
    report.end();
}

#[test]
fn errors_name_what_failed_and_leave_their_cause_to_the_chain() {
    let mut report = Report::default();
    for file in tree().iter().filter(|file| file.is_rust()) {
        let lines: Vec<(usize, &str)> = file.production().collect();
        for (index, (number, line)) in lines.iter().enumerate() {
            if file.path != "tests/tidy.rs"
                && !file.under(&["logherd/", "tests/"])
                && code(line).contains("anyhow")
            {
                report.add(
                    &file.path,
                    *number,
                    "a crate has an error type of its own; `anyhow` is for the binary and for tests",
                );
            }
            if !line.trim_start().starts_with("#[error(") {
                continue;
            }
            let variant: String = lines[index + 1..]
                .iter()
                .map(|(_, line)| *line)
                .take_while(|l| !l.contains("#[error("))
                .collect();
            let variant = variant.split("},").next().unwrap_or_default();
            let first = variant.split("),").next().unwrap_or_default();
            let positional = first.contains("(#[from]") || first.contains("(#[source]");
            if line.contains("{source") || line.contains("{0") && positional {
                report.add(
                    &file.path,
                    *number,
                    "do not print the source: whoever prints the chain prints it, once",
                );
            }
        }
    }
    report.end();
}

#[test]
fn nothing_is_left_for_later_and_no_path_belongs_to_one_machine() {
    let mut report = Report::default();
    // The path of this checkout; a short one (`/src`) may stand in a file for reasons of its own.
    let here = format!("{}/", root().display());
    let telling = root().components().count() > 3;
    for file in tree().iter().filter(|file| file.path != "tests/tidy.rs") {
        for (number, line) in file.lines() {
            for word in ["TODO", "FIXME", "unimplemented!(", "todo!("] {
                if line.contains(word) {
                    report.add(
                        &file.path,
                        number,
                        format!("`{word}`: do it now, or say in the documents what is missing"),
                    );
                }
            }
            if telling && line.contains(&here) {
                report.add(&file.path, number, "a path of one machine: make it relative, or a setting");
            }
        }
    }
    report.end();
}

#[test]
fn every_plugin_has_one_file_and_one_line_in_the_table() {
    let mut report = Report::default();
    let files = tree();
    let table =
        files.iter().find(|file| file.path == "pipeline/src/plugins.rs").expect("pipeline/src/plugins.rs");
    let mut known = BTreeSet::new();
    for kind in ["inputs", "codecs", "filters", "outputs"] {
        let folder = format!("pipeline/src/{kind}/");
        for file in files.iter().filter(|file| file.is_rust() && file.path.starts_with(&folder)) {
            let name = stem(file.path.strip_prefix(&folder).unwrap());
            if name.contains('/') || name == "mod" {
                continue;
            }
            known.insert(format!("{kind}::{name}"));
            if !table.text.contains(&format!("{kind}::{name}")) {
                report.add(
                    &file.path,
                    1,
                    format!("not in the table of plugins: add its line to {}", table.path),
                );
            }
        }
    }
    for (number, line) in table.production() {
        for kind in ["inputs", "codecs", "filters", "outputs"] {
            let Some((_, rest)) = code(line).split_once(&format!("{kind}::")) else { continue };
            let name: String =
                rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            if !name.is_empty() && !known.contains(&format!("{kind}::{name}")) {
                report.add(
                    &table.path,
                    number,
                    format!("{kind}::{name} has no file pipeline/src/{kind}/{name}.rs"),
                );
            }
        }
    }
    report.end();
}
