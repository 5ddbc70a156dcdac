//! Answers the addresses of logstash-mesos for its one host config, so that scripts for it go on working.
use crate::app::App;
use crate::body;
use crate::documents;
use crate::edit::{Edit, Expect};
use crate::names;
use crate::problem::Problem;
use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::routing::get;
use config::document::{Key, Kind};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

/// The name that its page gave the host config.
const ONLY_NAME: &str = "ui";

/// The routes.
pub(crate) fn routes() -> Router<App> {
    // Its form is sent by POST with `_method=PUT`, since browsers' forms know no PUT.
    Router::new().route("/api/host-config", get(read).put(write).post(write))
}

async fn read(State(app): State<App>) -> Json<Value> {
    let view = app.now();
    let mut of_kind = view.documents.iter().filter(|(key, _)| key.kind == Kind::Host);
    let own = view.documents.get_key_value(&Key { kind: Kind::Host, name: ONLY_NAME.into() });
    match own.or_else(|| of_kind.next()) {
        Some((key, document)) => Json(json!({ "name": key.name, "input": document.text })),
        None => Json(json!({ "name": ONLY_NAME, "input": "" })),
    }
}

#[derive(Deserialize)]
struct Sent {
    name: Option<String>,
    input: String,
}

async fn write(State(app): State<App>, request: Request) -> Result<Json<Value>, Problem> {
    let sent = match body::media_type(request.headers()).as_str() {
        "application/x-www-form-urlencoded" => form(&body::whole(request).await?)?,
        "application/json" => body::json(request).await?,
        other => {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("the body is `{other}`; send a form or JSON"),
            ));
        }
    };
    let key = documents::valid_key(Kind::Host, sent.name.unwrap_or_else(|| ONLY_NAME.into()))?;
    let text = documents::fitting(sent.input)?;
    let edit = Edit::Put { key: key.clone(), text: text.clone(), expect: Expect::Any };
    app.ask(edit).await?.map_err(|refused| documents::refusal(refused, &key, Expect::Any))?;
    Ok(Json(json!({ "name": key.name, "input": text })))
}

fn form(body: &[u8]) -> Result<Sent, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Problem::bad_request("the form is not UTF-8"))?;
    // In a form's body, unlike in our own addresses, a plus is a blank.
    let text = text.replace('+', "%20");
    let field = |name| names::in_query(&text, name).map_err(|error| Problem::bad_request(error.to_string()));
    let input = field("input")?.ok_or_else(|| Problem::bad_request("the form has no field `input`"))?;
    Ok(Sent { name: field("name")?, input })
}
