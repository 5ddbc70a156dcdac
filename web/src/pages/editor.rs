//! Shows one config to be edited, or a new one, with examples to start from.
use super::config_list::{Progress, progress};
use super::{Shell, render};
use crate::app::App;
use crate::conditional;
use crate::documents;
use crate::names;
use crate::problem::Problem;
use crate::view::View;
use crate::wording::plural;
use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use config::document::{Key, Kind};
use config::examples::{EXAMPLES, Example};
use config::image::{ImagePattern, applicable};
use std::collections::BTreeSet;

/// How many names of images and containers are listed.
const LISTED_MAX: usize = 200;

#[derive(Template)]
#[template(path = "editor.html")]
struct Editor {
    shell: Shell,
    kind: Kind,
    /// The address of the resource's collection, relative to the page.
    base: &'static str,
    name: String,
    text: String,
    etag: String,
    exists: bool,
    revision: u64,
    writable: bool,
    progress: Progress,
    warnings: Vec<(usize, usize, String, String)>,
    examples: Vec<&'static Example>,
    images: BTreeSet<String>,
    matching: Vec<Matching>,
    matching_title: String,
}

/// A container that the pattern matches.
struct Matching {
    name: String,
    host: String,
    image: String,
    /// The more specific config that applies instead; empty: none.
    shadowed_by: String,
}

pub(super) async fn show(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let bad = |error: names::BadName| Problem::bad_request(error.to_string());
    let kind = match names::in_query(&query, "kind").map_err(bad)?.as_deref() {
        Some("host") => Kind::Host,
        Some("docker") | None => Kind::Docker,
        Some(other) => {
            return Err(Problem::bad_request(format!(
                "there is no kind `{other}`; it is `docker` or `host`"
            )));
        }
    };
    let name = names::in_query(&query, "name").map_err(bad)?.unwrap_or_default();
    render(&page(&app.now(), Key { kind, name }))
}

fn page(view: &View, key: Key) -> Editor {
    let document = view.documents.get(&key);
    let title = match document {
        Some(_) => key.name.clone(),
        None if key.kind == Kind::Docker => "New image config".into(),
        None => "New host config".into(),
    };
    let matching = matching(view, &key);
    Editor {
        shell: Shell::new("config", title, view),
        base: documents::base(key.kind).trim_start_matches('/'),
        text: document.map(|d| d.text.clone()).unwrap_or_default(),
        etag: document.map(|d| conditional::document_tag(d.revision)).unwrap_or_default(),
        exists: document.is_some(),
        revision: document.map_or(0, |d| d.revision.0),
        writable: view.status.writable,
        progress: progress(view, &key),
        warnings: warnings(view, &key),
        examples: EXAMPLES.iter().filter(|example| example.kind == key.kind).collect(),
        images: images(view),
        matching_title: format!("Matches {}", plural(matching.len(), "container")),
        matching,
        kind: key.kind,
        name: key.name,
    }
}

fn warnings(view: &View, key: &Key) -> Vec<(usize, usize, String, String)> {
    let problems = view.applied.get(key).map(|applied| applied.problems.as_slice()).unwrap_or_default();
    problems
        .iter()
        .map(|p| (p.line, p.column, p.message.clone(), p.hint.clone().unwrap_or_default()))
        .collect()
}

/// The images that run now, without their tags: names to choose from.
fn images(view: &View) -> BTreeSet<String> {
    let containers = view.nodes.iter().flat_map(|node| node.containers.iter());
    containers.map(|c| super::dashboard::without_tag(&c.image)).take(LISTED_MAX).collect()
}

fn matching(view: &View, key: &Key) -> Vec<Matching> {
    let pattern = match key.kind {
        Kind::Docker => ImagePattern::parse(&key.name).ok(),
        Kind::Host => None,
    };
    let Some(pattern) = pattern else { return Vec::new() };
    let names: Vec<&str> =
        view.documents.keys().filter(|k| k.kind == Kind::Docker).map(|k| k.name.as_str()).collect();
    let containers = view.nodes.iter().flat_map(|node| node.containers.iter().map(move |c| (node, c)));
    containers
        .filter(|(_, container)| pattern.matches(&container.image))
        .take(LISTED_MAX)
        .map(|(node, container)| {
            let all = names.iter().copied().chain([key.name.as_str()]);
            let winner = applicable(all, &container.image).first().copied().unwrap_or_default();
            Matching {
                name: container.name.to_string(),
                host: node.host.clone(),
                image: container.image.to_string(),
                shadowed_by: if winner == key.name { String::new() } else { winner.to_owned() },
            }
        })
        .collect()
}
