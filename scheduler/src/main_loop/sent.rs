//! Names and counts what is asked of Mesos.
use crate::core::effects::Call;
use std::collections::BTreeMap;
use web::view::Status;

/// What was asked of Mesos so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    calls: BTreeMap<&'static str, u64>,
    offers_accepted: u64,
    offers_declined: u64,
}

impl Sent {
    pub(crate) fn count(&mut self, call: &Call) {
        *self.calls.entry(name(call)).or_default() += 1;
        match call {
            Call::Accept { offers, .. } => self.offers_accepted += count(offers),
            Call::Decline { offers, .. } | Call::Unreserve { offers, .. } => {
                self.offers_declined += count(offers);
            }
            _ => {}
        }
    }

    pub(crate) fn show(&self, status: &mut Status) {
        status.calls.clone_from(&self.calls);
        (status.offers_accepted, status.offers_declined) = (self.offers_accepted, self.offers_declined);
    }
}

fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

/// The name of a call; what is in it may be secret.
pub(crate) fn name(call: &Call) -> &'static str {
    match call {
        Call::Accept { .. } => "accept",
        Call::Decline { .. } => "decline",
        Call::Unreserve { .. } => "unreserve",
        Call::AcceptInverse { .. } => "accept inverse",
        Call::DeclineInverse { .. } => "decline inverse",
        Call::Teardown => "teardown",
        Call::Revive => "revive",
        Call::Kill(..) => "kill",
        Call::Shutdown(..) => "shutdown",
        Call::Acknowledge { .. } => "acknowledge",
        Call::Reconcile(_) => "reconcile",
        Call::Message { .. } => "message",
    }
}
