//! `logherd configs`: lists, reads, writes and deletes the configs of the fleet.
use super::api::{Api, accepted, config_path, list, text};
use super::{ConfigsCommand, Named};
use crate::check;
use crate::exit::Exit;
use crate::sources::Source;
use crate::terminal::{complain, say, table};
use anyhow::Context as _;
use config::diagnostic::Diagnostic;
use config::settings::ClientSettings;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};

pub(super) async fn call(command: ConfigsCommand) -> anyhow::Result<Exit> {
    match command {
        ConfigsCommand::List(client) => all(&client).await,
        ConfigsCommand::Get(named) => get(&named).await,
        ConfigsCommand::Put { named, file } => put(&named, file).await,
        ConfigsCommand::Delete(named) => delete(&named).await,
    }
}

async fn all(client: &ClientSettings) -> anyhow::Result<Exit> {
    let body = Api::new(client)?.get("/api/v1/documents").await?;
    if client.json() {
        say(&body.to_string());
        return Ok(Exit::Fine);
    }
    let documents = list(&body, "documents");
    if documents.is_empty() {
        say("there are no configs yet; write one with `logherd configs put NAME FILE`");
        return Ok(Exit::Fine);
    }
    let mut rows = vec![["KIND", "NAME", "REVISION", "APPLIED", "PROBLEMS"].map(str::to_owned).to_vec()];
    for document in documents {
        let failures: Vec<String> = list(document, "failures").iter().map(failure).collect();
        rows.push(vec![
            text(document, "kind"),
            text(document, "name"),
            text(document, "revision"),
            format!("{} of {}", text(document, "on"), text(document, "of")),
            failures.join("; "),
        ]);
    }
    say(&table(&rows));
    Ok(Exit::Fine)
}

/// A failure is a pair of host and reason.
fn failure(pair: &Value) -> String {
    let part = |at: usize| pair.get(at).and_then(Value::as_str).unwrap_or_default();
    format!("{}: {}", part(0), part(1))
}

async fn get(named: &Named) -> anyhow::Result<Exit> {
    let body = Api::new(&named.client)?.get(&config_path(named.kind(), &named.name)).await?;
    match named.client.json() {
        true => say(&body.to_string()),
        false => say(text(&body, "input").trim_end_matches('\n')),
    }
    Ok(Exit::Fine)
}

async fn put(named: &Named, file: Option<PathBuf>) -> anyhow::Result<Exit> {
    let source = read(file)?;
    let body = json!({ "name": named.name, "input": source.text });
    let path = config_path(named.kind(), &named.name);
    let response = Api::new(&named.client)?.send(Method::PUT, &path, Some(&body)).await?;
    let status = response.status();
    let refused = status == StatusCode::UNPROCESSABLE_ENTITY;
    let what = format!("write the {} config `{}`", named.kind(), named.name);
    let answer = match refused {
        true => response.json::<Value>().await.with_context(|| format!("{what}: the answer broke off"))?,
        false => accepted(response, &what).await?,
    };
    let problems: Vec<Diagnostic> =
        serde_json::from_value(answer.get("diagnostics").cloned().unwrap_or(json!([]))).unwrap_or_default();
    let json = named.client.json();
    match json {
        true => say(&answer.to_string()),
        false => check::show(&source, &problems),
    }
    if refused {
        complain(&format!("error: failed to {what}: {}", text(&answer, "detail")));
        return Ok(Exit::BadConfiguration);
    }
    if !json {
        say(if status == StatusCode::CREATED { "created" } else { "stored" });
    }
    Ok(Exit::Fine)
}

fn read(file: Option<PathBuf>) -> anyhow::Result<Source> {
    match file.filter(|file| file != Path::new("-")) {
        Some(file) => {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file).with_context(|| format!("read `{name}`"))?;
            Ok(Source { name, text })
        }
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("read the text from standard input")?;
            Ok(Source { name: "standard input".into(), text })
        }
    }
}

async fn delete(named: &Named) -> anyhow::Result<Exit> {
    let path = config_path(named.kind(), &named.name);
    let response = Api::new(&named.client)?.send(Method::DELETE, &path, None).await?;
    let answer = accepted(response, &format!("delete the {} config `{}`", named.kind(), named.name)).await?;
    match named.client.json() {
        true if answer.is_null() => say(&json!({ "deleted": named.name }).to_string()),
        true => say(&answer.to_string()),
        false => say("deleted"),
    }
    Ok(Exit::Fine)
}
