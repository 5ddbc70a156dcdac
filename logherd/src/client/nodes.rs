//! `logherd nodes`, `status`, `why`: says what runs where, and why not.
use super::api::{self, Api, text};
use crate::exit::Exit;
use crate::terminal::{complain, say, table};
use config::settings::ClientSettings;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

/// All nodes, page by page.
pub(super) async fn all(client: &ClientSettings) -> anyhow::Result<Value> {
    let api = Api::new(client)?;
    let mut nodes = Vec::new();
    let mut path = "/api/v1/nodes".to_owned();
    loop {
        let page = api.get(&path).await?;
        nodes.extend(api::list(&page, "nodes").iter().cloned());
        match page.get("next").and_then(Value::as_str) {
            Some(next) => path = next.to_owned(),
            None => return Ok(json!({ "nodes": nodes })),
        }
    }
}

pub(super) async fn list(client: &ClientSettings) -> anyhow::Result<Exit> {
    let body = all(client).await?;
    if client.json() {
        say(&body.to_string());
        return Ok(Exit::Fine);
    }
    let heading = ["HOST", "COVERAGE", "CAUSE", "REVISION", "CONTAINERS", "EVENTS/S", "AGENT", "REASON"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for node in api::list(&body, "nodes") {
        let containers = api::list(node, "containers");
        let streaming = containers.iter().filter(|c| text(c, "state") == "streaming").count();
        rows.push(vec![
            text(node, "host"),
            text(node, "coverage").replace('_', " "),
            text(node, "cause").replace('_', " "),
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
    if client.json() {
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
    let rollout = body.get("rollout").cloned().unwrap_or_default();
    let rows = rows.into_iter().chain(super::upgrade::lines(&rollout));
    let mut rows: Vec<Vec<String>> = rows.map(|(name, value)| vec![name.to_owned(), value]).collect();
    for missing in api::list(&body, "missing") {
        rows.push(vec![
            "not covered".into(),
            format!("{} ({}): {}", text(missing, "host"), text(missing, "cause"), text(missing, "reason")),
        ]);
    }
    if body.get("nodes_listed").is_some_and(Value::is_null) {
        rows.push(vec!["agents".into(), format!("not listed by the master: {}", text(&body, "listing"))]);
    }
    for orphan in api::list(&body, "orphans") {
        rows.push(vec!["orphans".into(), text(orphan, "reason")]);
    }
    for problem in api::list(&body, "reservation_problems") {
        rows.push(vec!["reservations".into(), problem.as_str().unwrap_or_default().to_owned()]);
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
    let mut exit = Exit::Fine;
    for node in found {
        let id = utf8_percent_encode(&text(node, "agent_id"), NON_ALPHANUMERIC).to_string();
        let why = Api::new(client)?.get(&format!("/api/v1/nodes/{id}/why")).await?;
        if why.get("covered").and_then(Value::as_bool) != Some(true) {
            exit = Exit::Failed;
        }
        match client.json() {
            true => say(&why.to_string()),
            false => say(&format!("{}\n{}", explain_chain(&why), explain(node))),
        }
    }
    Ok(exit)
}

/// The chain from the agent to its containers, then what happened last, each line with its time.
fn explain_chain(why: &Value) -> String {
    let mut rows = Vec::new();
    for link in api::list(why, "chain") {
        let holds = match link.get("holds").and_then(Value::as_bool) {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        rows.push(vec![moment(link), format!("  {}", text(link, "link")), holds.into(), text(link, "text")]);
    }
    let mut lines = vec![format!("{} ({})", text(why, "host"), text(why, "agent_id")), table(&rows)];
    if why.get("covered").and_then(Value::as_bool) != Some(true) {
        lines.push(format!("what to do: {}", text(why, "advice")));
    }
    let steps = api::list(why, "steps");
    if !steps.is_empty() {
        lines.push("what happened last:".to_owned());
        let rows: Vec<Vec<String>> =
            steps.iter().map(|step| vec![moment(step), format!("  {}", text(step, "text"))]).collect();
        lines.push(table(&rows));
    }
    lines.join("\n")
}

/// When something was, as RFC 3339.
fn moment(of: &Value) -> String {
    let at = of.get("at_ms").and_then(Value::as_u64);
    let time = at.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_millis(at)));
    time.map_or_else(|| "-".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string())
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
    use super::{explain, explain_chain};
    use serde_json::json;

    #[test]
    fn a_chain_is_told_link_by_link_with_times_and_what_to_do() {
        let why = json!({
            "host": "n1", "agent_id": "a-1", "covered": false, "advice": "free resources there",
            "chain": [
                {"link": "agent", "at_ms": 1_000, "holds": true, "text": "the master lists it"},
                {"link": "resources", "at_ms": null, "holds": false, "text": "0.1 of 4 cpus free"},
                {"link": "offer", "at_ms": null, "holds": null, "text": "nothing was offered yet"},
            ],
            "steps": [{"at_ms": 2_000, "text": "declined: offer has 0.1 cpus"}],
        });
        let text = explain_chain(&why);
        for part in [
            "1970-01-01T00:00:01Z",
            "yes  the master lists it",
            "NO   0.1 of 4 cpus free",
            "-    nothing was offered yet",
            "what to do: free resources there",
            "1970-01-01T00:00:02Z    declined: offer has 0.1 cpus",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

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
