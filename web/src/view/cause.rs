//! Names why a node is in the state it is in: a closed set, so that it can be filtered and counted.
use super::Coverage;
use serde::Serialize;

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident, $word:literal, $coverage:ident, $advice:literal;)*) => {
        /// Why a node is covered or not. Each cause belongs to one [`Coverage`].
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub enum Cause {
            $(#[doc = concat!("`", $word, "`.")] $(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl Cause {
            /// All of them, those of one coverage together.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its word in the API, in metrics and on the page.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// The state that a node is in by this cause.
            pub fn coverage(self) -> Coverage {
                match self { $(Self::$name => Coverage::$coverage),* }
            }

            /// What to do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice),* }
            }
        }
    };
}

causes! {
    /// An executor runs there and is attached to the control plane.
    Runs, "runs", Running, "nothing";
    /// An executor runs there, and another one comes up or waits beside it to take over.
    Overlaps, "overlaps", Running, "wait; the old executor ends when the new one waits and a rollout has room for it";
    /// An executor runs there but is not attached to the control plane.
    NotAttached, "not_attached", Running,
        "check that the node reaches the address in --control-advertise; the executor works on meanwhile";
    /// The intent to launch is being stored.
    Intended, "intended", Launching, "wait; when it stays, look at the state store";
    /// Mesos was asked to launch an executor and has not answered.
    Asked, "asked", Launching, "wait; Mesos is asked again after a minute";
    /// The launch is of an earlier scheduler, and Mesos has not said yet how it is.
    TakenUp, "taken_up", Launching, "wait; after a change of masters an agent may take ten minutes to come back";
    /// The executor is there, its pipelines are not up.
    Starting, "starting", Launching, "wait; when it stays, read the executor's stderr in its sandbox";
    /// The executor is there and waits until the one before it lets go of the data.
    Waits, "waits", Launching,
        "wait; when it stays, see on the node whether an executor of before still runs and uses the data directory";
    /// The executor is being ended.
    Ending, "ending", Launching, "wait; it flushes first";
    /// The last executor ended by itself or could not be started.
    LaunchFailed, "launch_failed", BackingOff, "read the reason, then the executor's stderr in its sandbox";
    /// Mesos found the launch itself wrong.
    LaunchRefused, "launch_refused", BackingOff, "read Mesos' reason; mostly a setting or a permission of the principal";
    /// The master does not let this framework reserve, so it is launched without a reservation.
    ReservationDenied, "reservation_denied", BackingOff,
        "allow the principal to reserve and unreserve for the role (the master's ACLs), or start without --reserve";
    /// Launches fail on many nodes, so they are tried one at a time.
    HeldBack, "held_back", BackingOff, "repair what the failure names, then `logherd upgrade resume` or `rollback`";
    /// The last executor was told to end, or went with its agent.
    ToldToEnd, "told_to_end", BackingOff, "wait; the next one is launched with the next offer";
    /// Nothing of it was offered since it is known.
    #[default]
    AwaitingFirstOffer, "awaiting_first_offer", NotOffered,
        "wait some seconds; when it stays, look for a whitelist or a quota in the master, and at what other frameworks hold";
    /// Nothing of it was offered since its last executor ended or its last offer was given back.
    AwaitingOffer, "awaiting_offer", NotOffered,
        "wait some seconds; when it stays, look at what other frameworks hold";
    /// It has too few resources left.
    TooFewResources, "too_few_resources", NotOffered,
        "free resources there, reserve some for the role, or ask for less with --executor-cpus, --executor-mem, --executor-disk";
    /// What it has is reserved to other roles.
    ReservedToOthers, "reserved_to_others", NotOffered,
        "add that role to --role, or reserve resources of the agent for ours";
    /// The master does not give offers for the framework's roles.
    RoleNotAllowed, "role_not_allowed", NotOffered, "add the role to the master's --roles, or allow it to the principal";
    /// It has GPUs, and the master knows the framework without GPU_RESOURCES.
    Gpus, "gpus", NotOffered, "restart the scheduler, so that it subscribes with GPU_RESOURCES";
    /// It is in another region than the masters, and the master knows the framework without REGION_AWARE.
    RemoteRegion, "remote_region", NotOffered, "restart the scheduler, so that it subscribes with REGION_AWARE";
    /// The agent cannot serve frameworks of several roles.
    NoMultiRole, "no_multi_role", NotOffered, "update the agent to Mesos 1.3 or newer";
    /// An executor that no launch knows still runs there and is being ended.
    ExecutorEnding, "executor_ending", NotOffered, "wait; when it stays, end the container on the node";
    /// The offer went away before it could be used.
    OfferWithdrawn, "offer_withdrawn", NotOffered, "wait for the next offer";
    /// The intent to launch could not be stored.
    NotStored, "not_stored", NotOffered, "repair the state store; it is tried again by itself";
    /// There is no subscription to a master.
    NotSubscribed, "not_subscribed", NotOffered, "see the state of the scheduler: `logherd status`";
    /// The master has the framework as inactive, so it offers nothing to it.
    Suppressed, "suppressed", NotOffered, "restart the scheduler, so that it subscribes anew";
    /// Mesos cannot reach the agent.
    Unreachable, "unreachable", Unreachable, "look at the machine, its network and mesos-agent";
    /// The agent's connection to the master is broken, and it is not given up yet.
    AgentDisconnected, "agent_disconnected", Unreachable, "wait a minute or two; then look at mesos-agent";
    /// The agent has not come back since the master changed.
    AgentNotBack, "agent_not_back", Unreachable, "wait up to ten minutes; then look at mesos-agent";
    /// An operator drains the agent.
    Draining, "draining", Draining, "wait; the executor flushes and ends";
    /// The agent is drained.
    Drained, "drained", Draining, "reactivate the agent (REACTIVATE_AGENT) when it is to be used again";
    /// An operator deactivated the agent.
    Deactivated, "deactivated", Draining, "reactivate the agent (REACTIVATE_AGENT) when it is to be used again";
    /// Its maintenance begins soon, so nothing is launched there any more.
    MaintenanceSoon, "maintenance_soon", Maintenance, "nothing; it is launched again after the maintenance";
    /// Its maintenance has begun.
    InMaintenance, "in_maintenance", Maintenance, "nothing; it is launched again after the maintenance";
    /// The machine is down for maintenance.
    MachineDown, "machine_down", Maintenance, "bring the machine up again (STOP_MAINTENANCE) when it is done";
    /// A constraint of the settings leaves it out.
    Constraint, "constraint", Excluded, "nothing, or change --constraint";
    /// Another agent of the same host has the host's executor.
    OnePerHost, "one_per_host", Excluded, "nothing, or allow one executor per agent";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_cause_has_a_word_of_its_own_that_is_also_its_json() {
        let words: BTreeSet<&str> = Cause::ALL.iter().map(|cause| cause.word()).collect();
        assert_eq!(words.len(), Cause::ALL.len());
        for cause in Cause::ALL {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.word());
        }
    }

    #[test]
    fn every_coverage_has_a_cause() {
        for coverage in Coverage::ALL {
            assert!(Cause::ALL.iter().any(|cause| cause.coverage() == coverage), "{coverage:?}");
        }
    }

    #[test]
    fn the_document_has_a_row_for_every_cause_with_its_coverage_and_what_to_do() {
        let page = include_str!("../../../docs/coverage.md");
        for cause in Cause::ALL {
            let start = format!("| `{}` | `{}` | ", cause.coverage().word(), cause.word());
            let row = page.lines().find(|line| line.starts_with(&start));
            let row = row
                .unwrap_or_else(|| panic!("docs/coverage.md has no row `{start}… | {} |`", cause.advice()));
            assert!(
                row.ends_with(&format!("| {} |", cause.advice())),
                "{row}\nshould end with: {}",
                cause.advice()
            );
        }
    }
}
