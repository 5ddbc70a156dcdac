//! `logherd nodes`, `status`, `why`: says what runs where, and why not.
use super::api::{self, Api, text};
use crate::exit::Exit;
use crate::terminal::{complain, say, table};
use config::settings::ClientSettings;
use serde_json::Value;

async fn all(client: &ClientSettings) -> anyhow::Result<Value> {
    Api::new(client)?.get("/api/v1/nodes").await
}

pub(super) async fn list(client: &ClientSettings) -> anyhow::Result<Exit> {
    let body = all(client).await?;
    if client.json {
        say(&body.to_string());
        return Ok(Exit::Fine);
    }
    let heading = ["HOST", "COVERAGE", "REVISION", "CONTAINERS", "EVENTS/S", "AGENT", "REASON"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for node in api::list(&body, "nodes") {
        let containers = api::list(node, "containers");
        let streaming = containers.iter().filter(|c| text(c, "state") == "streaming").count();
        rows.push(vec![
            text(node, "host"),
            text(node, "coverage").replace('_', " "),
            text(node, "revision"),
            format!("{streaming} of {}", containers.len()),
            text(node, "events_per_second"),
            text(node, "agent_id"),
            text(node, "reason"),
        ]);
    }
    match rows.len() {
        1 => say("no node is known yet; `logherd status` says what the scheduler is doing"),
        _ => say(&table(&rows)),
    }
    Ok(Exit::Fine)
}

pub(super) async fn status(client: &ClientSettings) -> anyhow::Result<Exit> {
    let body = Api::new(client)?.get("/api/v1/status").await?;
    if client.json {
        say(&body.to_string());
        return Ok(Exit::Fine);
    }
    let phase = match text(&body, "detail") {
        detail if detail.is_empty() => text(&body, "phase"),
        detail => format!("{} ({detail})", text(&body, "phase")),
    };
    let of = |part: &str, all: &str| format!("{} of {}", text(&body, part), text(&body, all));
    let rows = [
        ("version", text(&body, "version")),
        ("state", phase),
        ("master", text(&body, "master")),
        ("framework", text(&body, "framework_id")),
        ("revision", text(&body, "revision")),
        ("nodes covered", of("nodes_covered", "nodes_known")),
        ("containers streamed", of("containers_streaming", "containers")),
        ("events", format!("{} ({}/s)", text(&body, "events_out"), text(&body, "events_per_second"))),
        ("dropped lines", text(&body, "dropped_lines")),
        ("dead letters", text(&body, "dead_letters")),
    ];
    let mut rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    for missing in api::list(&body, "missing") {
        rows.push(vec![
            "not covered".into(),
            format!("{}: {}", text(missing, "host"), text(missing, "reason")),
        ]);
    }
    for file in api::list(&body, "file_problems") {
        rows.push(vec!["file refused".into(), format!("{}: {}", text(file, "path"), text(file, "reason"))]);
    }
    say(&table(&rows));
    Ok(Exit::Fine)
}

pub(super) async fn why(client: &ClientSettings, wanted: &str) -> anyhow::Result<Exit> {
    let body = all(client).await?;
    let nodes = api::list(&body, "nodes");
    let is = |node: &&Value| text(node, "host") == wanted || text(node, "agent_id") == wanted;
    let begins =
        |node: &&Value| text(node, "host").starts_with(wanted) || text(node, "agent_id").starts_with(wanted);
    let exact: Vec<&Value> = nodes.iter().filter(is).collect();
    let found = if exact.is_empty() { nodes.iter().filter(begins).collect() } else { exact };
    if found.is_empty() {
        let known: Vec<String> = nodes.iter().map(|node| text(node, "host")).collect();
        complain(&format!("error: there is no node `{wanted}`; there are: {}", known.join(", ")));
        return Ok(Exit::Failed);
    }
    for node in found {
        match client.json {
            true => say(&node.to_string()),
            false => say(&explain(node)),
        }
    }
    Ok(Exit::Fine)
}

fn explain(node: &Value) -> String {
    let mut lines = vec![format!(
        "{} ({}) is {}: {}",
        text(node, "host"),
        text(node, "agent_id"),
        text(node, "coverage").replace('_', " "),
        text(node, "reason")
    )];
    if let Some(docker) = node.get("docker").filter(|docker| docker.is_object()) {
        let word = if text(docker, "reachable") == "true" { "reachable" } else { "not reachable" };
        lines.push(format!("Docker is {word}: {}", text(docker, "detail")));
    }
    for failure in api::list(node, "failures") {
        lines.push(format!(
            "{} config `{}` is not applied: {}",
            text(failure, "kind"),
            text(failure, "name"),
            text(failure, "reason")
        ));
    }
    let mut rows = Vec::new();
    for container in api::list(node, "containers") {
        rows.push(vec![
            format!("  {}", text(container, "name")),
            text(container, "image"),
            text(container, "state").replace('_', " "),
            text(container, "reason"),
        ]);
        for tail in api::list(container, "tails") {
            let number = |member: &str| tail.get(member).and_then(Value::as_u64).unwrap_or(0);
            let (read, acknowledged) = (number("read_position"), number("acknowledged_position"));
            rows.push(vec![
                format!("    {}", text(tail, "path")),
                String::new(),
                text(tail, "state"),
                format!("read to {read}, acknowledged to {acknowledged}"),
            ]);
        }
    }
    for pipeline in api::list(node, "pipelines") {
        rows.push(vec![
            format!("  {}", text(pipeline, "id")),
            "pipeline".into(),
            text(pipeline, "state"),
            text(pipeline, "reason"),
        ]);
    }
    lines.push(table(&rows));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::explain;
    use serde_json::json;

    #[test]
    fn a_node_is_explained_container_by_container() {
        let node = json!({
            "host": "n1", "agent_id": "a-1", "coverage": "not_offered", "reason": "needs 0.2 cpus, was offered 0.1",
            "docker": {"reachable": false, "detail": "no such file"},
            "failures": [{"kind": "host", "name": "out", "reason": "unknown plugin"}],
            "containers": [{
                "name": "shop", "image": "web/nginx:1", "state": "not_matched", "reason": "no config applies",
                "tails": [{"path": "/a", "state": "reading", "read_position": 9, "acknowledged_position": 4}]
            }],
        });
        let text = explain(&node);
        for part in [
            "n1 (a-1) is not offered: needs 0.2 cpus, was offered 0.1",
            "Docker is not reachable: no such file",
            "host config `out` is not applied: unknown plugin",
            "not matched  no config applies",
            "read to 9, acknowledged to 4",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
