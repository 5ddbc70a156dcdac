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
/// How long a scheduler may have no connection, as with a change of leaders.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// The same after a change of masters.
const BACK_AT_A_NEW_MASTER: Duration = Duration::from_secs(60);
/// How many of something are named.
const NAMED: usize = 5;

/// Shows the framework, asks, has it removed, and says what is left of it.
pub(super) async fn call(arguments: &TeardownArguments, id: &str) -> anyhow::Result<Exit> {
    let json = arguments.client.json();
    let masters = match &arguments.masters.master {
        Some(masters) => masters.clone(),
        None => of_scheduler(arguments).await?,
    };
    // Its errors say where the masters are, and never the credentials that may stand there.
    let operator = Operator::find(&masters, &arguments.masters).await?;
    let look = async || {
        operator.frameworks().await.with_context(|| format!("list the frameworks of {}", operator.address()))
    };
    let found = pick(&look().await?, id)?;
    if found.standing == Standing::Completed {
        return Ok(was_removed(&found, json));
    }
    refuse_if_led(arguments, id).await?;
    explain(&what_ends(&found), json);
    if !arguments.yes && !confirmed("id", id)? {
        explain("nothing was done", json);
        return Ok(Exit::Failed);
    }
    let found = stays_abandoned(look, found, arguments.yes).await?;
    if found.standing == Standing::Completed {
        return Ok(was_removed(&found, json));
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

/// Looks again: a scheduler may have come back while somebody read and typed. Where nobody was asked it is looked for a while,
/// as one that another scheduler is about to take over has none for some seconds, too.
async fn stays_abandoned(
    look: impl AsyncFn() -> anyhow::Result<Vec<Registered>>,
    found: Registered,
    unasked: bool,
) -> anyhow::Result<Registered> {
    let patience = match found.standing {
        _ if !unasked => Duration::ZERO,
        Standing::Recovered => BACK_AT_A_NEW_MASTER,
        Standing::Abandoned | Standing::Connected | Standing::Completed => BACK_WITHIN,
    };
    let began = Instant::now();
    loop {
        let found = pick(&look().await?, &found.id)?;
        if found.standing == Standing::Completed || began.elapsed() >= patience {
            return Ok(found);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// The framework in use is torn down by its scheduler, which ends executors first and gives up what is reserved.
async fn refuse_if_led(arguments: &TeardownArguments, id: &str) -> anyhow::Result<()> {
    match Api::new(&arguments.client)?.get("/api/v1/status").await {
        Ok(status) if text(&status, "framework_id") == id => bail!(
            "remove framework {id}: it is the one of the scheduler at {}. Ask that one, with `logherd teardown`, or stop it first",
            arguments.client.api
        ),
        // No scheduler, or one of another framework, is what this is for.
        _ => Ok(()),
    }
}

fn was_removed(found: &Registered, json: bool) -> Exit {
    explain(&format!("framework `{}` ({}) was removed before; nothing was done", found.name, found.id), json);
    done(found, json)
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
    let since = match found.standing {
        Standing::Recovered => "no scheduler of which has come back since the leading master changed",
        _ => "which has no scheduler now",
    };
    let mut text = format!(
        "this ends framework `{}` ({}{principal}) for good, {since}:\n  {} executors end",
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

    /// One after the other, the last one for ever.
    fn looks(standings: Vec<Standing>) -> impl AsyncFn() -> anyhow::Result<Vec<Registered>> {
        let left = std::sync::Mutex::new(standings);
        async move || {
            let mut left = left.lock().unwrap();
            let standing = if left.len() > 1 { left.remove(0) } else { left[0] };
            Ok(vec![framework("f-2", standing)])
        }
    }

    #[tokio::test]
    async fn a_framework_whose_scheduler_came_back_meanwhile_is_not_removed() {
        let found = || framework("f-2", Standing::Abandoned);
        let back = looks(vec![Standing::Connected]);
        let refused = stays_abandoned(back, found(), false).await.unwrap_err();
        assert!(refused.to_string().contains("a scheduler of it is connected"), "{refused}");
        let soon = looks(vec![Standing::Abandoned, Standing::Connected]);
        assert!(
            stays_abandoned(soon, found(), true).await.is_err(),
            "nobody was asked, so it is looked again"
        );
        let removed = looks(vec![Standing::Completed]);
        assert_eq!(stays_abandoned(removed, found(), true).await.unwrap().standing, Standing::Completed);
    }

    #[tokio::test]
    async fn no_error_shows_the_credentials_of_the_masters() {
        let given = |masters: &str, more: &[&str]| {
            let words = ["", "--framework", "f", "--yes", "--master", masters];
            let words = words.into_iter().chain(more.iter().copied());
            <Typed as clap::Parser>::parse_from(words).arguments
        };
        for arguments in [
            given("zk://user:secret@127.0.0.1:1/mesos", &["--master-tls", "--master-ca", "/nowhere"]),
            given("zk://user:secret@127.0.0.1:1", &[]),
            given("https://user:secret@127.0.0.1:1", &[]),
        ] {
            let error = format!("{:#}", call(&arguments, "f").await.unwrap_err());
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[derive(clap::Parser)]
    struct Typed {
        #[command(flatten)]
        arguments: TeardownArguments,
    }
}
