//! Checks a text before it is saved: `POST /api/v1/check`, for validation as one types.
use crate::app::App;
use crate::body;
use crate::documents;
use crate::edit::{Done, Edit, Refused};
use crate::problem::Problem;
use crate::view::View;
use axum::Json;
use axum::extract::{Request, State};
use config::diagnostic::Severity;
use config::document::{Key, Kind};
use config::image::ImagePattern;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Sent {
    kind: Kind,
    #[serde(default)]
    name: String,
    input: String,
}

/// Answers 200 with all problems, or none: a text with errors is a proper question.
pub(crate) async fn check(State(app): State<App>, request: Request) -> Result<Json<Value>, Problem> {
    let Sent { kind, name, input } = body::json(request).await?;
    let text = documents::fitting(input)?;
    // Without a proper name yet the text can be checked all the same: what is wrong with it does not depend on it.
    let key = Key::new(kind, name.clone());
    let stand_in = || Key { kind, name: "*".into() };
    let edit = Edit::Check { key: key.clone().unwrap_or_else(|_| stand_in()), text };
    let diagnostics = match app.ask(edit).await? {
        Ok(
            Done::Checked(found)
            | Done::Created(_, found)
            | Done::Changed(_, found)
            | Done::Unchanged(_, found),
        ) => found,
        Ok(Done::Deleted(_)) => Vec::new(),
        Err(Refused::Invalid(found)) => found,
        Err(refused) => return Err(Problem::unavailable(refused.to_string())),
    };
    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    let view = app.now();
    Ok(Json(json!({
        "diagnostics": diagnostics,
        "errors": errors,
        "warnings": diagnostics.len() - errors,
        "name_problem": key.err().map(|error| error.to_string()),
        "exists": view.documents.contains_key(&Key { kind, name: name.clone() }),
        "containers": (kind == Kind::Docker).then(|| containers(&view, &name)),
    })))
}

/// How many containers that are seen now a pattern applies to.
pub(crate) fn containers(view: &View, pattern: &str) -> usize {
    let Ok(pattern) = ImagePattern::parse(pattern) else { return 0 };
    view.nodes.iter().flat_map(|node| node.containers.iter()).filter(|c| pattern.matches(&c.image)).count()
}
