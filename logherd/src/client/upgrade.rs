//! `logherd upgrade`: replaces executors of older generations, and says how far that is.
use super::api::{self, Api, text};
use crate::exit::Exit;
use crate::terminal::{say, table};
use clap::{Args, Subcommand};
use config::settings::ClientSettings;
use reqwest::Method;
use serde_json::{Map, Value, json};

/// How executors are to be replaced.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct UpgradeArguments {
    /// What to do with a rollout that is under way.
    #[command(subcommand)]
    command: Option<UpgradeCommand>,
    /// How many nodes may be without a proven executor at once: a number, or a percentage such as `10%`.
    #[arg(long, default_value = "1")]
    max_unavailable: String,
    /// Replace on nodes with this attribute first: `NAME=VALUE`; `hostname`, `region` and `zone` are attributes, too.
    #[arg(long, value_name = "NAME=VALUE")]
    canary: Option<String>,
    /// Replace on so many nodes first.
    #[arg(long, conflicts_with = "canary")]
    canary_count: Option<usize>,
    /// Pause once the nodes that went first have proven; `logherd upgrade resume` goes on.
    #[arg(long)]
    pause_after_canary: bool,
    /// Only say what would happen with each node.
    #[arg(long)]
    dry_run: bool,
    /// Where to ask.
    #[command(flatten)]
    client: ClientSettings,
}

/// What to do with a rollout.
#[derive(Debug, Subcommand)]
enum UpgradeCommand {
    /// Say how far it is.
    Status(ClientSettings),
    /// Replace no more for now.
    Pause(ClientSettings),
    /// Go on; also launch now what waits after failures.
    Resume(ClientSettings),
    /// Replace no more; what was replaced stays.
    Abort(ClientSettings),
    /// Go back to the generation before.
    Rollback(ClientSettings),
}

/// Gives the order, and prints the answer.
pub(super) async fn call(arguments: UpgradeArguments) -> anyhow::Result<Exit> {
    let (client, order) = match &arguments.command {
        Some(UpgradeCommand::Status(client)) => return status(client).await,
        Some(UpgradeCommand::Pause(client)) => (client, "pause"),
        Some(UpgradeCommand::Resume(client)) => (client, "resume"),
        Some(UpgradeCommand::Abort(client)) => (client, "abort"),
        Some(UpgradeCommand::Rollback(client)) => (client, "rollback"),
        None => {
            let answer = send(&arguments.client, "/api/v1/rollout", Some(&arguments.body())).await?;
            return Ok(answered(&arguments.client, &answer));
        }
    };
    let answer = send(client, &format!("/api/v1/rollout/{order}"), None).await?;
    Ok(answered(client, &answer))
}

impl UpgradeArguments {
    fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("max_unavailable".into(), json!(self.max_unavailable));
        body.insert("pause_after_canary".into(), json!(self.pause_after_canary));
        body.insert("dry_run".into(), json!(self.dry_run));
        body.extend(self.canary.iter().map(|canary| ("canary".to_owned(), json!(canary))));
        body.extend(self.canary_count.iter().map(|count| ("canary_count".to_owned(), json!(count))));
        Value::Object(body)
    }
}

async fn send(client: &ClientSettings, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    let response = Api::new(client)?.send(Method::POST, path, body).await?;
    api::accepted(response, "give the order").await
}

fn answered(client: &ClientSettings, answer: &Value) -> Exit {
    match answer.get("plan") {
        _ if client.json() => say(&answer.to_string()),
        Some(plan) => say(&planned(plan)),
        None => say(&text(answer, "detail")),
    }
    Exit::Fine
}

async fn status(client: &ClientSettings) -> anyhow::Result<Exit> {
    let body = Api::new(client)?.get("/api/v1/rollout").await?;
    match client.json() {
        true => say(&body.to_string()),
        false => say(&standing(&body)),
    }
    Ok(Exit::Fine)
}

fn planned(plan: &Value) -> String {
    let heading = ["BATCH", "HOST", "NOW", "WHAT", "HOW", "WHY"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for node in api::list(plan, "nodes") {
        let batch = node.get("batch").filter(|batch| batch.is_u64()).map_or("-".to_owned(), Value::to_string);
        rows.push(vec![
            batch,
            text(node, "host"),
            text(node, "generation"),
            text(node, "action"),
            way(node),
            text(node, "reason"),
        ]);
    }
    format!(
        "{}\nto generation {} in {} batches; nothing was changed",
        table(&rows),
        text(plan, "to"),
        text(plan, "batches")
    )
}

/// Which way an executor would be replaced.
fn way(node: &Value) -> String {
    match node.get("way") {
        Some(Value::String(word)) => word.clone(),
        Some(Value::Object(way)) => {
            let why = way.get("end_first").and_then(Value::as_str).unwrap_or_default();
            format!("end first: {why}")
        }
        _ => "-".to_owned(),
    }
}

/// How generations and the newest rollout stand.
fn standing(body: &Value) -> String {
    let mut rows = lines(body);
    if let Some(rollout) = body.get("rollout").filter(|rollout| rollout.is_object()) {
        let what = if text(rollout, "rolls_back") == "true" { "roll back to" } else { "rollout of" };
        let detail = format!(
            "{} {}: {}, {}",
            what,
            text(rollout, "to"),
            text(rollout, "state"),
            text(rollout, "detail")
        );
        rows.push(("rollout", detail));
        if text(rollout, "state") != "aborted" {
            let (done, left) = (text(rollout, "done"), text(rollout, "left"));
            let (now, most) = (text(rollout, "unavailable"), text(rollout, "unavailable_max"));
            rows.push((
                "nodes",
                format!("{done} new, {left} to do, {now} uncovered or to prove (at most {most})"),
            ));
        }
        for skipped in api::list(rollout, "skipped") {
            let part = |n: usize| skipped.get(n).and_then(Value::as_str).unwrap_or_default();
            rows.push(("left out", format!("{}: {}", part(0), part(1))));
        }
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    table(&rows)
}

/// What `logherd status` says of it, too.
pub(super) fn lines(body: &Value) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if !text(body, "generation").is_empty() {
        let (new, older) = (text(body, "up_to_date"), text(body, "older"));
        let program = text(body, "program");
        rows.push((
            "generation",
            format!("{} ({program}): {new} executors, {older} of others", text(body, "generation")),
        ));
    }
    if !text(body, "advice").is_empty() {
        rows.push(("advice", text(body, "advice")));
    }
    if let Some(held) = body.get("held").filter(|held| held.is_object()) {
        let (agents, failure) = (text(held, "agents"), text(held, "failure"));
        let what = format!("launches fail on {agents} nodes, so only one at a time is tried: {failure}");
        rows.push(("LAUNCHES HELD", what));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::{planned, standing};
    use serde_json::json;

    #[test]
    fn a_plan_names_the_batch_of_each_node_and_why_one_is_left_out() {
        let plan = json!({ "to": "abc", "batches": 1, "nodes": [
            {"host": "n1", "generation": "old", "action": "replace", "batch": 1, "way": "overlap", "reason": "runs generation old"},
            {"host": "n3", "generation": "old", "action": "replace", "batch": 1, "way": {"end_first": "no room"}, "reason": "x"},
            {"host": "n2", "generation": null, "action": "skip", "batch": null, "reason": "unreachable"},
        ]});
        let text = planned(&plan);
        for part in [
            "1      n1",
            "-      n2",
            "overlap",
            "end first: no room",
            "skip",
            "unreachable",
            "to generation abc in 1 batches",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn launches_that_are_held_back_are_said_with_the_failure() {
        let body = json!({
            "generation": "abc", "program": "/opt/logherd on the nodes", "up_to_date": 1, "older": 2,
            "advice": "2 executors run an older generation: `logherd upgrade` replaces them",
            "held": {"agents": 3, "failure": "cannot fetch"},
            "rollout": {"state": "rolling", "detail": "x", "to": "abc", "rolls_back": false, "skipped": [["n9", "away"]]},
        });
        let text = standing(&body);
        for part in [
            "1 executors, 2 of others",
            "`logherd upgrade`",
            "cannot fetch",
            "rollout of abc: rolling",
            "n9: away",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
