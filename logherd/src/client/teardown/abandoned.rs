//! `logherd teardown --framework ID`: removes a framework whose scheduler is gone, at the master itself.
use super::super::api::{Api, text};
use super::{ASK_EVERY, TeardownArguments, confirmed, explain};
use crate::exit::Exit;
use crate::terminal::say;
use anyhow::{Context as _, bail};
use scheduler::frameworks::{Operator, Registered, Standing};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long Mesos may take to remove it.
const REMOVED_WITHIN: Duration = Duration::from_secs(30);
/// How many of something are named.
const NAMED: usize = 5;

/// Shows the framework, asks, has it removed, and says what is left of it.
pub(super) async fn call(arguments: &TeardownArguments, id: &str) -> anyhow::Result<Exit> {
    let json = arguments.client.json();
    let masters = match &arguments.masters.master {
        Some(masters) => masters.clone(),
        None => of_scheduler(arguments).await?,
    };
    let operator = Operator::find(&masters, &arguments.masters)
        .await
        .with_context(|| format!("reach the masters at {masters}"))?;
    let look = async || {
        operator.frameworks().await.with_context(|| format!("list the frameworks of {}", operator.address()))
    };
    let found = pick(&look().await?, id)?;
    if found.standing == Standing::Completed {
        explain(&format!("framework `{}` ({id}) was removed before; nothing was done", found.name), json);
        return Ok(done(&found, json));
    }
    explain(&what_ends(&found), json);
    if !arguments.yes && !confirmed("id", id)? {
        explain("nothing was done", json);
        return Ok(Exit::Failed);
    }
    operator
        .tear_down(id)
        .await
        .with_context(|| format!("remove framework {id} at {}", operator.address()))?;
    let began = Instant::now();
    loop {
        let known = look().await?;
        let lives = known.iter().any(|known| known.id == id && known.standing != Standing::Completed);
        if !lives {
            break;
        }
        if began.elapsed() > REMOVED_WITHIN {
            bail!(
                "see framework {id} go: the master took the order, but still lists it after {} s",
                REMOVED_WITHIN.as_secs()
            );
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    explain(&what_is_left(&found), json);
    Ok(done(&found, json))
}

/// The master that the scheduler is subscribed to.
async fn of_scheduler(arguments: &TeardownArguments) -> anyhow::Result<String> {
    let status = Api::new(&arguments.client)?.get("/api/v1/status").await;
    let status = status.context("ask the scheduler where the master is; --master says it without one")?;
    match text(&status, "master") {
        master if master.is_empty() => {
            bail!("ask the scheduler where the master is: it is connected to none; say it with --master")
        }
        master => Ok(master),
    }
}

fn pick(known: &[Registered], id: &str) -> anyhow::Result<Registered> {
    let Some(found) = known.iter().find(|known| known.id == id) else {
        let live = known.iter().filter(|known| known.standing != Standing::Completed);
        let live: Vec<String> = live.map(|known| format!("{} (`{}`)", known.id, known.name)).collect();
        let live = if live.is_empty() { "none".to_owned() } else { live.join(", ") };
        bail!("find framework `{id}`: the master does not know it; there are: {live}");
    };
    if found.standing == Standing::Connected {
        bail!(
            "remove framework `{}` ({id}): a scheduler of it is connected. Ask that one, with `logherd teardown --api`, or stop it \
             first",
            found.name
        );
    }
    Ok(found.clone())
}

fn what_ends(found: &Registered) -> String {
    let principal =
        found.principal.as_ref().map(|principal| format!(", principal `{principal}`")).unwrap_or_default();
    let mut text = format!(
        "this ends framework `{}` ({}{principal}) for good, which has no scheduler now:\n  {} executors end",
        found.name,
        found.id,
        found.executors.len()
    );
    for (host, executor) in found.executors.iter().take(NAMED) {
        text.push_str(&format!("\n    {executor} on {host}"));
    }
    if found.executors.len() > NAMED {
        text.push_str(&format!("\n    and {} more", found.executors.len() - NAMED));
    }
    text
}

fn what_is_left(found: &Registered) -> String {
    let removed = format!("framework `{}` ({}) is removed; Mesos ends its executors", found.name, found.id);
    match found.reserved_on.len() {
        0 => removed,
        agents => format!(
            "{removed}\nreservations under the name `{}` stay on {agents} agents ({}{}): a scheduler with that --framework-name \
             uses them, or gives them up without --reserve",
            found.name,
            found.reserved_on.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "),
            if agents > NAMED { ", …" } else { "" }
        ),
    }
}

fn done(found: &Registered, json: bool) -> Exit {
    if json {
        let executors: Vec<_> =
            found.executors.iter().map(|(host, id)| json!({ "host": host, "executor_id": id })).collect();
        let removed = found.standing != Standing::Completed;
        let said = json!({
            "framework_id": found.id, "framework_name": found.name, "removed": removed, "executors": executors,
            "reserved_on": found.reserved_on,
        });
        say(&said.to_string());
    }
    Exit::Fine
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framework(id: &str, standing: Standing) -> Registered {
        Registered {
            id: id.into(),
            name: "logherd".into(),
            principal: None,
            standing,
            executors: (1..8).map(|n| (format!("node-{n}"), format!("logherd-S{n}-1"))).collect(),
            reserved_on: vec!["node-1".into()],
        }
    }

    #[test]
    fn a_framework_that_is_unknown_or_has_a_scheduler_is_not_removed() {
        let known = [framework("f-1", Standing::Connected), framework("f-2", Standing::Abandoned)];
        assert_eq!(pick(&known, "f-2").unwrap().id, "f-2");
        assert!(pick(&known, "f-1").unwrap_err().to_string().contains("a scheduler of it is connected"));
        let unknown = pick(&known, "f-3").unwrap_err().to_string();
        assert!(unknown.contains("f-1 (`logherd`), f-2 (`logherd`)"), "{unknown}");
    }

    #[test]
    fn what_ends_and_what_is_left_is_said() {
        let found = framework("f-2", Standing::Abandoned);
        let ends = what_ends(&found);
        assert!(ends.contains("7 executors end") && ends.ends_with("and 2 more"), "{ends}");
        assert!(what_is_left(&found).contains("stay on 1 agents (node-1)"));
    }
}
