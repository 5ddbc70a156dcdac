//! Takes nodes out of the embedded cluster when it is started with fewer of them than last time.
//!
//! An agent that just does not come back stays known for minutes, as in a real cluster, and executors that outlived a
//! crash stay without an agent. So the agents of before are started once more, and say good-bye.
use super::secret::{PRINCIPAL, Shared};
use anyhow::{Context as _, bail};
use reqwest::Client;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// How long an agent may take to find its executors and the master again.
const REGISTER_DEADLINE: Duration = Duration::from_secs(20);
/// How often the master is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// More nodes than this were never there: the file is not ours.
const REMEMBERED_MAX: usize = 1000;

/// How many nodes the last start had; 0 if there was none.
pub(super) fn remembered(data_dir: &Path) -> usize {
    let text = std::fs::read_to_string(file(data_dir)).unwrap_or_default();
    text.trim().parse().ok().filter(|nodes| *nodes <= REMEMBERED_MAX).unwrap_or(0)
}

/// Remembers how many nodes this start has.
pub(super) fn remember(data_dir: &Path, nodes: usize) -> anyhow::Result<()> {
    let path = file(data_dir);
    std::fs::write(&path, nodes.to_string())
        .with_context(|| format!("remember the number of nodes in `{}`", path.display()))
}

fn file(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join("nodes.count")
}

/// Lets all agents from number `keep` (counted from zero) on say good-bye; their executors end.
pub(super) async fn retire(
    cluster: &::local::Cluster,
    keep: usize,
    shared: Option<&Shared>,
) -> anyhow::Result<()> {
    let client =
        Client::builder().no_proxy().timeout(REGISTER_DEADLINE).build().context("make an HTTP client")?;
    for index in keep..cluster.agents() {
        let host = format!("node-{}", index + 1);
        tracing::info!(host, "taking the node out: fewer nodes are wanted than last time");
        let registered = async {
            while !is_registered(&client, cluster.master(), &host, shared).await? {
                tokio::time::sleep(ASK_EVERY).await;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(REGISTER_DEADLINE, registered).await {
            Ok(registered) => registered?,
            Err(_) => bail!("take {host} out of the cluster: its agent did not come back in time"),
        }
        cluster.agent(index)?.unregister().await?;
    }
    Ok(())
}

async fn is_registered(
    client: &Client,
    master: SocketAddr,
    host: &str,
    shared: Option<&Shared>,
) -> anyhow::Result<bool> {
    let url = format!("http://{master}/api/v1");
    let asked = client.post(&url).header("accept", "application/json").json(&json!({ "type": "GET_AGENTS" }));
    let asked = match shared {
        Some(shared) => asked.basic_auth(PRINCIPAL, Some(&shared.text)),
        None => asked,
    };
    let answer: Value = asked
        .send()
        .await
        .context("ask the embedded master for its agents")?
        .json()
        .await
        .context("read which agents the embedded master has")?;
    let agents = answer.pointer("/get_agents/agents").and_then(Value::as_array);
    Ok(agents.into_iter().flatten().any(|agent| {
        let named = agent.pointer("/agent_info/hostname").and_then(Value::as_str) == Some(host);
        named && agent.get("active").and_then(Value::as_bool) == Some(true)
    }))
}
