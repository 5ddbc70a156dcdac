//! `logherd check`: says everything that is wrong with configurations, with file, line, column and hint.
use crate::exit::Exit;
use crate::sources::{self, Depth, Source, SourceError};
use crate::terminal::{complain, say};
use config::diagnostic::{Diagnostic, Severity};
use config::settings::{CheckScope, CheckSettings, environment};
use pipeline::Scope;
use std::path::Path;

/// Checks each source by itself, and prints all problems of all of them.
pub(crate) fn check(settings: &CheckSettings) -> anyhow::Result<Exit> {
    let mut wanted = settings.sources.clone();
    wanted.path_config.extend(settings.more.iter().cloned());
    let (found, failed) = sources::read(&wanted, Depth::Below);
    for error in &failed {
        complain(&format!("error: {}", chain(error)));
    }
    if matches!(failed[..], [SourceError::Nothing]) && found.is_empty() {
        return Ok(Exit::Usage);
    }
    let (mut errors, mut warnings) = (failed.len(), 0);
    for source in &found {
        let problems = pipeline::check(scope(settings.scope, &source.name), &source.text, &environment);
        show(source, &problems);
        errors += problems.iter().filter(|p| p.severity == Severity::Error).count();
        warnings += problems.iter().filter(|p| p.severity == Severity::Warning).count();
    }
    if errors > 0 {
        complain(&format!(
            "{} in {}",
            numbers(errors, warnings),
            plural(found.len().max(failed.len()), "configuration")
        ));
        return Ok(Exit::BadConfiguration);
    }
    match warnings {
        0 => say("configuration ok"),
        _ => say(&format!("configuration ok, with {}", plural(warnings, "warning"))),
    }
    Ok(Exit::Fine)
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
        CheckScope::Guess => {
            let directories = Path::new(name).parent().into_iter().flat_map(Path::ancestors);
            let known =
                directories.filter_map(Path::file_name).find_map(|directory| match directory.to_str() {
                    Some("docker") => Some(Scope::Docker),
                    Some("host") => Some(Scope::Host),
                    _ => None,
                });
            known.unwrap_or(Scope::Run)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::document::Kind;
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
    fn the_shipped_examples_are_good() {
        for example in EXAMPLES {
            let scope = if example.kind == Kind::Docker { Scope::Docker } else { Scope::Host };
            let problems = pipeline::check(scope, example.text, &|_| None);
            let shown: Vec<String> = problems.iter().map(|p| p.render(example.name, example.text)).collect();
            assert!(problems.is_empty(), "{}", shown.join("\n"));
        }
    }
}
