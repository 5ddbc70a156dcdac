//! Decides why a node is in the state it is in, from what the master says of its agent and what we know ourselves.
use super::cluster::{Agent, Registered, Share, Standing, Unavailability};
use super::resources::{Needs, Thousandths};
use crate::ids::Moment;
use std::collections::BTreeMap;
use std::time::Duration;
use web::view::{Cause, Coverage};

/// What holds for all nodes.
#[derive(Debug)]
pub(super) struct Framework {
    /// Whether a subscription stands.
    pub(super) subscribed: bool,
    /// Whether the master lists its agents.
    pub(super) lists: bool,
    /// What the master has on record of this framework; `None`: it did not say.
    pub(super) registered: Option<Registered>,
    /// What an executor needs.
    pub(super) needs: Needs,
    /// How long before a maintenance nothing is launched any more.
    pub(super) lead: Duration,
}

/// What we know ourselves of one node.
#[derive(Debug)]
pub(super) struct Ours<'a> {
    pub(super) framework: &'a Framework,
    /// What happened there last.
    pub(super) own: Cause,
    /// The same for people.
    pub(super) text: &'a str,
    /// Whether a launch holds the node's slot.
    pub(super) held: bool,
    /// How the executor is that comes up beside the one in the slot, for people.
    pub(super) beside: Option<&'a str>,
    /// Until when nothing is launched there after an end.
    pub(super) not_before: Moment,
    /// When its machine is planned to be away.
    pub(super) away: Option<Unavailability>,
    /// Whether the master lists its agents, and not this one.
    pub(super) unlisted: bool,
    pub(super) now: Moment,
}

/// Why the node is in the state it is in. What is said first wins: our own slot, what leaves the node out, what keeps
/// Mesos from offering anything, our own backoff, what its resources lack.
pub(super) fn cause(agent: Option<&Agent>, ours: &Ours<'_>) -> Cause {
    let standing = agent.map_or(Standing::Active, |agent| agent.standing);
    if ours.held {
        return match (ours.own, standing) {
            (Cause::Ending, Standing::Draining | Standing::Drained) => Cause::Draining,
            (Cause::Ending, _) if is_away(ours) => Cause::MaintenanceSoon,
            (Cause::Runs, _) if ours.beside.is_some() => Cause::Overlaps,
            (own, _) => own,
        };
    }
    if ours.own.coverage() == Coverage::Excluded {
        return ours.own;
    }
    let withheld = match standing {
        Standing::Draining => Some(Cause::Draining),
        Standing::Drained => Some(Cause::Drained),
        Standing::Deactivated => Some(Cause::Deactivated),
        Standing::NotBack => Some(Cause::AgentNotBack),
        Standing::Active | Standing::Disconnected => None,
    };
    withheld
        .or_else(|| maintenance(ours))
        .or_else(|| (standing == Standing::Disconnected).then_some(Cause::AgentDisconnected))
        .or_else(|| (!ours.framework.subscribed).then_some(Cause::NotSubscribed))
        .or_else(|| ours.framework.registered.as_ref().and_then(|known| unoffered(agent, known)))
        .or_else(|| (ours.not_before > ours.now).then_some(ours.own))
        .or_else(|| short(agent, ours))
        .unwrap_or(ours.own)
}

/// The same for people.
pub(super) fn reason(cause: Cause, agent: Option<&Agent>, ours: &Ours<'_>) -> String {
    let registered = ours.framework.registered.as_ref();
    match cause {
        Cause::Draining => match ours.held {
            true => format!("an operator drains the agent; {}", ours.text),
            false => "an operator drains the agent; nothing of it is offered".to_owned(),
        },
        Cause::Drained => "the agent is drained; nothing of it is offered until it is reactivated".to_owned(),
        Cause::Deactivated => "an operator deactivated the agent; nothing of it is offered".to_owned(),
        Cause::AgentNotBack => "the agent has not come back since the master changed".to_owned(),
        Cause::AgentDisconnected => "the agent is not connected to the master".to_owned(),
        Cause::MaintenanceSoon | Cause::InMaintenance | Cause::MachineDown => away(cause, ours),
        Cause::NotSubscribed => "there is no subscription to a master".to_owned(),
        Cause::Suppressed => "the master has this framework as inactive, so it offers nothing".to_owned(),
        Cause::RoleNotAllowed => "the master has no role for this framework, so it offers nothing".to_owned(),
        Cause::Gpus => {
            "the agent has GPUs, and the master knows this framework without GPU_RESOURCES".to_owned()
        }
        Cause::NoMultiRole => {
            let version = agent.map(|agent| agent.version.as_str()).filter(|version| !version.is_empty());
            format!(
                "the agent (Mesos {}) cannot serve frameworks of several roles",
                version.unwrap_or("of an unknown version")
            )
        }
        Cause::RemoteRegion => {
            let region = agent.and_then(|agent| agent.place.region.as_deref()).unwrap_or("unknown");
            format!(
                "the agent is in region `{region}`, and the master knows this framework without REGION_AWARE"
            )
        }
        Cause::TooFewResources | Cause::ReservedToOthers => match (agent, registered) {
            (Some(agent), Some(known)) => shortage(agent, known, &ours.framework.needs)
                .map_or_else(|| ours.text.to_owned(), |short| short.words),
            _ => ours.text.to_owned(),
        },
        Cause::LaunchFailed | Cause::LaunchRefused | Cause::ToldToEnd => {
            match ours.not_before.since(ours.now) {
                Duration::ZERO => format!("{}; waiting for an offer of this agent", ours.text),
                rest => format!("{}; the next launch waits {} s", ours.text, rest.as_secs() + 1),
            }
        }
        Cause::Overlaps => format!("{}; {}", ours.text, ours.beside.unwrap_or_default()),
        _ => match agent.map_or(Standing::Active, |agent| agent.standing) {
            _ if !ours.held => ours.text.to_owned(),
            Standing::Draining | Standing::Drained => format!("{}; an operator drains the agent", ours.text),
            Standing::Disconnected => format!("{}; the agent is not connected to the master", ours.text),
            Standing::NotBack => {
                format!("{}; the agent has not come back since the master changed", ours.text)
            }
            Standing::Active | Standing::Deactivated => ours.text.to_owned(),
        },
    }
}

/// What the master's record of this framework and of the agent keeps from being offered.
fn unoffered(agent: Option<&Agent>, known: &Registered) -> Option<Cause> {
    if !known.active {
        return Some(Cause::Suppressed);
    }
    if known.roles.is_empty() {
        return Some(Cause::RoleNotAllowed);
    }
    let agent = agent?;
    let remote = known.region.is_some() && agent.place.region.is_some() && agent.place.region != known.region;
    if !agent.multi_role {
        Some(Cause::NoMultiRole)
    } else if !known.gpus && agent.shares.iter().any(|share| share.name == "gpus" && share.total.0 > 0) {
        Some(Cause::Gpus)
    } else if !known.region_aware && remote {
        Some(Cause::RemoteRegion)
    } else {
        None
    }
}

/// Whether the agent's own resources say that nothing useful can be offered.
fn short(agent: Option<&Agent>, ours: &Ours<'_>) -> Option<Cause> {
    let short = shortage(agent?, ours.framework.registered.as_ref()?, &ours.framework.needs)?;
    Some(if short.reserved { Cause::ReservedToOthers } else { Cause::TooFewResources })
}

/// What an executor needs and what of that the agent has left for it; empty: the master did not say.
pub(super) fn needs(agent: &Agent, framework: &Framework) -> String {
    let Some(known) = &framework.registered else { return String::new() };
    let words = needed(&framework.needs).into_iter().map(|(name, needed)| {
        let ours =
            |share: &&Share| share.name == name && (share.role == "*" || known.roles.contains(&share.role));
        let shares = || agent.shares.iter().filter(ours);
        let free = shares().map(|share| share.total.0.saturating_sub(share.used.0)).sum();
        let total = shares().map(|share| share.total.0).sum();
        let (needed, free, total) = (Thousandths(needed), Thousandths(free), Thousandths(total));
        format!("{needed} {name} needed, {free} of {total} free")
    });
    words.collect::<Vec<String>>().join("; ")
}

/// What an executor and its task need, by name.
fn needed(needs: &Needs) -> BTreeMap<&str, u64> {
    let mut needed: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, amount) in needs.executor.iter().chain(&needs.task) {
        *needed.entry(name).or_default() += amount.0;
    }
    needed
}

pub(super) struct Short {
    /// Whether it would do if nothing of it were reserved to others.
    reserved: bool,
    /// The same for people.
    pub(super) words: String,
}

/// What the agent lacks for an executor of ours, counting all that is not used and not reserved to others.
pub(super) fn shortage(agent: &Agent, known: &Registered, needs: &Needs) -> Option<Short> {
    let ours = |share: &&Share| share.role == "*" || known.roles.contains(&share.role);
    let (mut words, mut reserved) = (Vec::new(), false);
    for (name, needed) in needed(needs) {
        let named = || agent.shares.iter().filter(|share| share.name == name);
        let free: u64 = named().filter(ours).map(|share| share.total.0.saturating_sub(share.used.0)).sum();
        if free >= needed {
            continue;
        }
        let total: u64 = named().filter(ours).map(|share| share.total.0).sum();
        let others: BTreeMap<&str, u64> =
            named().filter(|share| !ours(share)).fold(BTreeMap::new(), |mut others, share| {
                *others.entry(share.role.as_str()).or_default() += share.total.0;
                others
            });
        reserved |= total < needed && total + others.values().sum::<u64>() >= needed;
        let mut text = format!(
            "{} of {} {name} free, an executor needs {}",
            Thousandths(free),
            Thousandths(total),
            Thousandths(needed)
        );
        for (role, amount) in others {
            text.push_str(&format!("; {} {name} reserved to role `{role}`", Thousandths(amount)));
        }
        words.push(text);
    }
    (!words.is_empty()).then(|| Short { reserved, words: format!("the agent has {}", words.join(", and ")) })
}

/// Whether nothing is to be launched because of a maintenance.
pub(super) fn is_away(ours: &Ours<'_>) -> bool {
    maintenance(ours).is_some()
}

fn maintenance(ours: &Ours<'_>) -> Option<Cause> {
    let window = ours.away?;
    if window.is_over(ours.now) || window.start > ours.now.after(ours.framework.lead) {
        None
    } else if window.start > ours.now {
        Some(Cause::MaintenanceSoon)
    } else if ours.unlisted {
        Some(Cause::MachineDown)
    } else {
        Some(Cause::InMaintenance)
    }
}

fn away(cause: Cause, ours: &Ours<'_>) -> String {
    let from = ours.away.map(|window| window.words()).unwrap_or_default();
    match cause {
        Cause::MaintenanceSoon if ours.held => format!("its maintenance is planned {from}; {}", ours.text),
        Cause::MaintenanceSoon => format!("its maintenance is planned {from}; nothing is launched before"),
        Cause::MachineDown => format!("the machine is down for maintenance {from}").trim_end().to_owned(),
        _ => format!("its maintenance is planned {from} and has begun; it is launched again afterwards"),
    }
}

#[cfg(test)]
mod tests;
