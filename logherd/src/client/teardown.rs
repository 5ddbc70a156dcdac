//! `logherd teardown`: ends all executors and removes the framework, after asking.
mod abandoned;

use super::api::{self, Api, config_path, list, text};
use crate::exit::Exit;
use crate::terminal::{ask, complain, say};
use anyhow::{Context as _, bail};
use clap::Args;
use config::document::Kind;
use config::settings::{ClientSettings, MasterAccess};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::io::{BufRead as _, IsTerminal as _};
use std::time::{Duration, Instant};

/// How often it is asked how far it is.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The phase that a scheduler is in meanwhile.
const PHASE: &str = "tearing down";
/// What it says of its last two steps. After the last one it stays for some seconds.
const FORGETTING: &str = "forgetting the framework";
const TORN_DOWN: &str = "the framework is torn down";
/// So often in a row nobody listens there where a scheduler has ended.
const REFUSED: u32 = 5;
/// How long nobody may answer: another scheduler takes over meanwhile, or this one is started again.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to tear down, and how surely.
#[derive(Debug, Args)]
pub(crate) struct TeardownArguments {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Delete all configs, too; they stay otherwise.
    #[arg(long, conflicts_with = "framework")]
    forget_configs: bool,
    /// Not the framework of the scheduler at `--api`, but the one of this id, whose scheduler is gone: the master is asked
    /// itself.
    #[arg(long, value_name = "ID")]
    framework: Option<String>,
    /// Where to ask.
    #[command(flatten)]
    client: ClientSettings,
    /// How the master is reached that is asked about `--framework`.
    #[command(flatten)]
    masters: MasterAccess,
}

/// Says what will end, asks, gives the order, and follows it to its end.
pub(super) async fn call(arguments: TeardownArguments) -> anyhow::Result<Exit> {
    if let Some(framework) = &arguments.framework {
        return abandoned::call(&arguments, framework).await;
    }
    let api = Api::new(&arguments.client)?;
    let json = arguments.client.json();
    let tell = |text: &str| {
        if !json {
            say(text)
        }
    };
    let status = api.get("/api/v1/status").await?;
    let framework = text(&status, "framework_id");
    if framework.is_empty() {
        bail!(
            "tear the framework down: the scheduler at {} has none ({}); with several schedulers ask the one that leads",
            arguments.client.api,
            text(&status, "phase")
        );
    }
    let nodes = super::nodes::all(&arguments.client).await?;
    let documents = api.get("/api/v1/documents").await?;
    explain(&what_ends(&status, &nodes, &documents, arguments.forget_configs), json);
    if !arguments.yes && !confirmed("name", &text(&status, "framework_name"))? {
        explain("nothing was done", json);
        return Ok(Exit::Failed);
    }
    let order = json!({ "framework_id": framework });
    let response = api.send(Method::POST, "/api/v1/teardown", Some(&order)).await?;
    let answer = api::accepted(response, "tear the framework down").await?;
    tell(&text(&answer, "detail"));
    // Only now: a fleet whose teardown is refused goes on with its configs.
    let forgotten = match arguments.forget_configs {
        true => forget(&api, &documents).await,
        false => Ok(()),
    };
    let end = follow(&api, &tell, PATIENCE).await?;
    tell(&end);
    if json {
        let forgotten = arguments.forget_configs && forgotten.is_ok();
        say(&json!({ "framework_id": framework, "detail": end, "configs_deleted": forgotten }).to_string());
    }
    forgotten.context(
        "the framework is torn down, but not all configs are deleted; delete what is left once a scheduler runs again",
    )?;
    Ok(Exit::Fine)
}

fn what_ends(status: &Value, nodes: &Value, documents: &Value, forget_configs: bool) -> String {
    let executors = list(nodes, "nodes").iter().filter(|node| !text(node, "executor_id").is_empty()).count();
    let reserved = text(status, "agents_reserved");
    let configs = list(documents, "documents").len();
    let kept = if forget_configs { "deleted" } else { "kept" };
    format!(
        "this ends framework `{}` ({}) for good:\n  {executors} executors end, on as many nodes\n  reservations on {reserved} agents \
         are given up\n  {configs} configs are {kept}",
        text(status, "framework_name"),
        text(status, "framework_id"),
    )
}

/// Says something to people: not where JSON is printed.
fn explain(text: &str, json: bool) {
    if json { complain(text) } else { say(text) }
}

/// On a terminal the name or id has to be typed; nobody else can be asked.
fn confirmed(what: &str, name: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("ask whether to go on, as this is no terminal; --yes goes on without");
    }
    ask(&format!("type the {what} of the framework to go on: ")).context("write to the terminal")?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed).context("read from the terminal")?;
    Ok(typed.trim() == name)
}

/// Deletes all configs that can be deleted; the first that cannot is the error.
async fn forget(api: &Api, documents: &Value) -> anyhow::Result<()> {
    let mut forgotten = Ok(());
    for document in list(documents, "documents") {
        let kind = if text(document, "kind") == "host" { Kind::Host } else { Kind::Docker };
        forgotten = forgotten.and(delete(api, kind, &text(document, "name")).await);
    }
    forgotten
}

async fn delete(api: &Api, kind: Kind, name: &str) -> anyhow::Result<()> {
    let response = api.send(Method::DELETE, &config_path(kind, name), None).await?;
    if response.status() != StatusCode::NOT_FOUND {
        api::accepted(response, &format!("delete the {kind} config `{name}`")).await?;
    }
    Ok(())
}

/// Tells how far it is until the scheduler has ended; gives how it ended. That it does not answer is no end: another one may go
/// on with the teardown, and what was reserved can be given up only as long as it does.
async fn follow(api: &Api, tell: &impl Fn(&str), patience: Duration) -> anyhow::Result<String> {
    const ENDED: &str =
        "the scheduler has ended; one that is started again registers only with --register-anew";
    let (mut said, mut refused, mut answered) = (String::new(), 0, Instant::now());
    loop {
        let (phase, detail) = match api.get("/api/v1/status").await {
            Ok(status) => (text(&status, "phase"), text(&status, "detail")),
            Err(error) => {
                let connects = |error: &reqwest::Error| error.is_connect();
                let gone = error.chain().any(|of| of.downcast_ref().is_some_and(connects));
                refused = if gone { refused + 1 } else { 0 };
                (String::new(), format!("{error:#}"))
            }
        };
        if phase == PHASE {
            (refused, answered) = (0, Instant::now());
            if detail != said {
                tell(&detail);
                said = detail;
            }
        } else if said == TORN_DOWN || (said == FORGETTING && refused >= REFUSED) {
            return Ok(ENDED.to_owned());
        } else if answered.elapsed() >= patience {
            let last = if said.is_empty() { String::new() } else { format!(" (the last word was: {said})") };
            let now =
                if phase.is_empty() { detail } else { format!("the scheduler is {phase} now: {detail}") };
            bail!(
                "see the end of the teardown: it is not known whether the framework is torn down{last}; {now}. The scheduler that \
                 leads goes on with it: `logherd status` there says how far it is"
            );
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

#[cfg(test)]
mod tests;
