//! `logherd check`: says everything that is wrong with configurations, with file, line, column and hint.
use crate::exit::Exit;
use crate::sources::{self, Depth, Source, SourceError};
use crate::terminal::{complain, say};
use config::diagnostic::{Diagnostic, Severity};
use config::document::{Key, Kind};
use config::settings::{CheckScope, CheckSettings, DialectSettings, PrintFormat, environment};
use percent_encoding::percent_decode_str;
use pipeline::{Dialect, Scope};
use serde_json::{Value, json};
use std::path::Path;

/// Checks each source by itself, and prints all problems of all of them.
pub(crate) fn check(settings: &CheckSettings) -> anyhow::Result<Exit> {
    let mut wanted = settings.sources.clone();
    wanted.path_config.extend(settings.more.iter().cloned());
    let (found, failed) = sources::read(&wanted, Depth::Below);
    if matches!(failed[..], [SourceError::Nothing]) && found.is_empty() {
        complain(&format!("error: {}", chain(&SourceError::Nothing)));
        return Ok(Exit::Usage);
    }
    let mut report =
        Report { failed: failed.iter().map(|error| chain(error)).collect(), ..Report::default() };
    for source in found {
        report.failed.extend(name_problem(&source.name).map(|error| format!("{}: {error}", source.name)));
        let scope = scope(settings.scope, &source.name);
        let problems = pipeline::check_in(dialect(settings.dialect), scope, &source.text, &environment);
        report.checked.push((source, problems));
    }
    match settings.format {
        PrintFormat::Text => report.tell(),
        PrintFormat::Json => say(&format!("{:#}", report.to_json())),
    }
    Ok(if report.count(Severity::Error) > 0 { Exit::BadConfiguration } else { Exit::Fine })
}

/// How the texts of a command line are read.
pub(crate) fn dialect(settings: DialectSettings) -> Dialect {
    Dialect {
        support_escapes: settings.config_support_escapes,
        ecs_compatibility: Some(settings.pipeline_ecs_compatibility.word()),
    }
}

/// What was found out about configurations.
#[derive(Default)]
struct Report {
    /// What could not be read, and names that cannot be.
    failed: Vec<String>,
    checked: Vec<(Source, Vec<Diagnostic>)>,
}

impl Report {
    fn count(&self, severity: Severity) -> usize {
        let problems = self.checked.iter().flat_map(|(_, problems)| problems);
        let failed = if severity == Severity::Error { self.failed.len() } else { 0 };
        problems.filter(|problem| problem.severity == severity).count() + failed
    }

    fn tell(&self) {
        for error in &self.failed {
            complain(&format!("error: {error}"));
        }
        for (source, problems) in &self.checked {
            show(source, problems);
        }
        match (self.count(Severity::Error), self.count(Severity::Warning)) {
            (0, 0) => say("configuration ok"),
            (0, warnings) => say(&format!("configuration ok, with {}", plural(warnings, "warning"))),
            (errors, warnings) => {
                let of = plural(self.checked.len().max(self.failed.len()), "configuration");
                complain(&format!("{} in {of}", numbers(errors, warnings)));
            }
        }
    }

    /// The report for programs; `docs/language.md` has its shape.
    fn to_json(&self) -> Value {
        let checked = |(source, problems): &(Source, Vec<Diagnostic>)| json!({ "name": source.name, "problems": problems });
        json!({
            "ok": self.count(Severity::Error) == 0,
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "failed": self.failed,
            "configurations": self.checked.iter().map(checked).collect::<Vec<_>>(),
        })
    }
}

/// Prints the problems of a source as a compiler would.
pub(crate) fn show(source: &Source, problems: &[Diagnostic]) {
    for problem in problems {
        complain(&problem.render(&source.name, &source.text));
        complain("");
    }
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

fn numbers(errors: usize, warnings: usize) -> String {
    match warnings {
        0 => plural(errors, "error"),
        _ => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}

fn plural(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// What a configuration is for: as told, or by the nearest directory that is named like a kind.
fn scope(told: CheckScope, name: &str) -> Scope {
    match told {
        CheckScope::Run => Scope::Run,
        CheckScope::Docker => Scope::Docker,
        CheckScope::Host => Scope::Host,
        CheckScope::Guess => match kind(name) {
            Some((Kind::Docker, _)) => Scope::Docker,
            Some((Kind::Host, _)) => Scope::Host,
            None => Scope::Run,
        },
    }
}

/// The kind of a file in a directory for `--config-dir`, and its path below the directory of that kind.
fn kind(name: &str) -> Option<(Kind, &Path)> {
    let path = Path::new(name);
    path.ancestors().skip(1).find_map(|directory| {
        let kind = match directory.file_name()?.to_str()? {
            "docker" => Kind::Docker,
            "host" => Kind::Host,
            _ => return None,
        };
        Some((kind, path.strip_prefix(directory).ok()?))
    })
}

/// What is wrong with the name of the config that a file would be: its path without `.conf`, percent-decoded.
fn name_problem(name: &str) -> Option<String> {
    let (kind, below) = kind(name)?;
    let encoded = below.to_str()?.strip_suffix(".conf")?;
    match percent_decode_str(encoded).decode_utf8() {
        Ok(name) => Key::new(kind, name).err().map(|error| error.to_string()),
        Err(_) => Some("the name is not UTF-8 after percent-decoding".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::examples::EXAMPLES;

    #[test]
    fn the_scope_is_guessed_from_the_nearest_directory() {
        for (name, expected) in [
            ("docker/web/nginx.conf", Scope::Docker),
            ("/etc/logherd/host/out.conf", Scope::Host),
            ("docker/x/host/a.conf", Scope::Host),
            ("docker.conf", Scope::Run),
            ("-e", Scope::Run),
        ] {
            assert_eq!(scope(CheckScope::Guess, name), expected, "{name}");
            assert_eq!(scope(CheckScope::Run, name), Scope::Run);
        }
    }

    #[test]
    fn a_file_whose_name_is_no_name_is_found_out() {
        for name in
            ["docker/web/nginx.conf", "x/docker/web%2Fnginx%3A1.27.conf", "host/out.conf", "a b.conf", "-e"]
        {
            assert_eq!(name_problem(name), None, "{name}");
        }
        for name in ["docker/Nginx.conf", "docker/a b.conf", "docker/%ff.conf", "host/.conf"] {
            assert!(name_problem(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_report_for_programs_has_places_and_hints() {
        let text = "filter { mutat { } }";
        let problems = pipeline::check(Scope::Run, text, &|_| None);
        let source = Source { name: "a.conf".into(), text: text.into() };
        let report = Report { failed: vec!["b.conf: no".into()], checked: vec![(source, problems)] };
        let json = report.to_json();
        assert_eq!((&json["ok"], &json["errors"], &json["warnings"]), (&json!(false), &json!(2), &json!(0)));
        assert_eq!(json["failed"], json!(["b.conf: no"]));
        let problem = &json["configurations"][0]["problems"][0];
        assert_eq!(json["configurations"][0]["name"], "a.conf");
        let told =
            (&problem["severity"], &problem["line"], &problem["column"], &problem["start"], &problem["end"]);
        assert_eq!(told, (&json!("error"), &json!(1), &json!(10), &json!(9), &json!(14)));
        assert!(problem["hint"].as_str().unwrap().contains("`mutate`"), "{problem}");
    }

    #[test]
    fn the_shipped_examples_are_good() {
        for example in EXAMPLES {
            let scope = if example.kind == Kind::Docker { Scope::Docker } else { Scope::Host };
            let problems = pipeline::check(scope, example.text, &|_| None);
            let shown: Vec<String> = problems.iter().map(|p| p.render(example.name, example.text)).collect();
            assert!(problems.is_empty(), "{}", shown.join("\n"));
        }
    }
}
