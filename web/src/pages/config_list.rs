//! Lists the configs of both kinds, how far each is applied, and files that are not in force.
use super::{Shell, render};
use crate::app::App;
use crate::check;
use crate::names;
use crate::problem::Problem;
use crate::view::{Applied, View};
use crate::wording::{bytes, plural};
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use config::document::{Key, Kind};

#[derive(Template)]
#[template(path = "config_list.html")]
struct ConfigList {
    shell: Shell,
    image_configs: Vec<Row>,
    host_configs: Vec<Row>,
    files: Vec<File>,
}

struct Row {
    name: String,
    link: String,
    note: String,
    revision: u64,
    progress: Progress,
    warnings: usize,
}

/// How far a document is applied, in words.
pub(super) struct Progress {
    /// `good`, `wait` or `bad`.
    pub(super) tone: &'static str,
    /// "applied on 11 of 12 nodes".
    pub(super) text: String,
    /// Host and reason of each failure.
    pub(super) failures: Vec<(String, String)>,
}

struct File {
    path: String,
    reason: String,
    problems: Vec<(usize, usize, String, String)>,
}

pub(super) async fn show(State(app): State<App>) -> Result<Response, Problem> {
    let view = app.now();
    render(&ConfigList {
        shell: Shell::new("config", "Config", &view),
        image_configs: rows(&view, Kind::Docker),
        host_configs: rows(&view, Kind::Host),
        files: view.file_problems.iter().map(file).collect(),
    })
}

fn rows(view: &View, kind: Kind) -> Vec<Row> {
    let of_kind = view.documents.iter().filter(|(key, _)| key.kind == kind);
    of_kind
        .map(|(key, document)| Row {
            name: key.name.clone(),
            link: link(key),
            note: match kind {
                Kind::Docker => {
                    format!("matches {}", plural(check::containers(view, &key.name), "container"))
                }
                Kind::Host => bytes(document.text.len() as u64),
            },
            revision: document.revision.0,
            progress: progress(view, key),
            warnings: view.applied.get(key).map_or(0, |applied| applied.problems.len()),
        })
        .collect()
}

/// Where a document is edited.
pub(super) fn link(key: &Key) -> String {
    format!("edit?kind={}&name={}", key.kind, names::encode(&key.name))
}

/// How far a document is applied.
pub(super) fn progress(view: &View, key: &Key) -> Progress {
    let none = Applied::default();
    let applied = view.applied.get(key).unwrap_or(&none);
    let tone = match applied {
        a if !a.failures.is_empty() => "bad",
        a if a.on >= a.of && a.of > 0 => "good",
        _ => "wait",
    };
    let text = match applied.of {
        0 => "no node to apply it on yet".to_owned(),
        of => format!("applied on {} of {}", applied.on, plural(of, "node")),
    };
    let mut failures = applied.failures.clone();
    let unnamed = applied.failed.saturating_sub(failures.len());
    if unnamed > 0 {
        failures.push((format!("and {}", plural(unnamed, "more node")), "see the page of the nodes".into()));
    }
    Progress { tone, text, failures }
}

fn file(file: &crate::view::FileProblem) -> File {
    let problems = file.problems.iter();
    File {
        path: file.path.clone(),
        reason: file.reason.clone(),
        problems: problems
            .map(|p| (p.line, p.column, p.message.clone(), p.hint.clone().unwrap_or_default()))
            .collect(),
    }
}
