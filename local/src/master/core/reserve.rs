//! Reserves and unreserves resources of an offer, speculatively: the next operation sees the result.

use super::Answer;
use super::accept::Accepting;
use super::operator::missing;
use super::state::Core;
use crate::faults::Fault;
use crate::ids::AgentId;
use crate::link::ToAgent;
use crate::resources::Resources;
use mesos::offer::Operation;
use proto::mesos::v1::{self as mesos, master as operator_api};

impl Core {
    pub(super) fn reserve(&mut self, accepting: &mut Accepting, operation: &Operation) {
        let result = self.reserved_and_source(accepting, operation);
        self.convert(accepting, operation, result.map(|(reserved, source)| (source, reserved)));
    }

    pub(super) fn unreserve(&mut self, accepting: &mut Accepting, operation: &Operation) {
        let wire =
            operation.unreserve.as_ref().map(|unreserve| unreserve.resources.as_slice()).unwrap_or_default();
        let result = Resources::read(wire)
            .and_then(|reserved| reserved.without_last_reservation().map(|plain| (reserved, plain)));
        self.convert(accepting, operation, result);
    }

    /// What a RESERVE makes, and of what.
    fn reserved_and_source(
        &self,
        accepting: &Accepting,
        operation: &Operation,
    ) -> Result<(Resources, Resources), String> {
        let reserve = operation.reserve.as_ref().ok_or("Expecting 'reserve' to be present")?;
        if !reserve.source.is_empty() {
            return Err("'source' must not be set in the scheduler API".into());
        }
        let reserved = Resources::read(&reserve.resources)?;
        let source = reserved.without_last_reservation()?;
        let framework = self.frameworks.get(&accepting.framework).ok_or("Framework cannot be found")?;
        for reservation in reserved.last_reservations().flatten() {
            if reservation.role() != accepting.role {
                return Err(format!(
                    "A reserve operation was attempted for a resource allocated to role '{}' with a reservation to \
                     role '{}'",
                    accepting.role,
                    reservation.role()
                ));
            }
            if framework.info.principal.is_some() && reservation.principal != framework.info.principal {
                return Err(format!(
                    "A reserve operation was attempted by authenticated principal '{}', which does not match a \
                     reserved resource in the request with principal '{}'",
                    framework.info.principal(),
                    reservation.principal()
                ));
            }
        }
        Ok((reserved, source))
    }

    /// Takes one set of resources out of the offer and the agent and puts another in.
    fn convert(
        &mut self,
        accepting: &mut Accepting,
        operation: &Operation,
        conversion: Result<(Resources, Resources), String>,
    ) {
        let (framework, agent_id) = (accepting.framework.clone(), accepting.agent.clone());
        let denied = self.failing(&Fault::DeniedReservations);
        let checked = conversion.and_then(|(out, into)| {
            if denied {
                Err(format!("Not authorized to perform {}", operation.r#type().as_str_name()))
            } else if accepting.remaining.contains(&out) {
                Ok((out, into))
            } else {
                Err(format!("{} does not contain {out}", accepting.remaining))
            }
        });
        let (out, into) = match checked {
            Ok(conversion) => conversion,
            Err(problem) => return self.operation_error(&framework, operation, &problem),
        };
        accepting.remaining.subtract(&out);
        accepting.remaining.add(&into);
        accepting.converted.subtract(&out);
        accepting.converted.add(&into);
        self.converted(&agent_id, &out, &into);
        self.expect_feedback(accepting, operation);
    }

    /// An agent has one set of resources in place of another.
    fn converted(&mut self, agent_id: &AgentId, out: &Resources, into: &Resources) {
        if let Some(agent) = self.agents.get_mut(agent_id) {
            agent.total.subtract(out);
            agent.total.add(into);
            agent.described.info.resources = agent.total.write(crate::resources::Style::PLAIN);
            let total = agent.described.info.resources.clone();
            self.tell_agent(agent_id, ToAgent::Resources { total });
            self.remember();
        }
    }

    /// Takes reservations back as an operator wants it: what is offered is withdrawn for it, what is in use is kept.
    pub(super) fn on_operator_unreserve(&mut self, call: Option<&operator_api::call::UnreserveResources>) {
        let Some(call) = call else { return self.refuse(400, missing("unreserve_resources")) };
        let id = AgentId::from(&call.agent_id);
        if !self.agents.contains_key(&id) {
            return self.refuse(400, "No agent found with specified ID");
        }
        if self.failing(&Fault::DeniedReservations) {
            return self.refuse(403, "");
        }
        let read = Resources::read(&call.resources)
            .and_then(|reserved| reserved.without_last_reservation().map(|plain| (reserved, plain)));
        let (reserved, plain) = match read {
            Ok(read) => read,
            Err(problem) => return self.refuse(400, format!("Invalid UNRESERVE operation: {problem}")),
        };
        self.withdraw(&id);
        let free = self.free(&id);
        if !free.contains(&reserved) {
            return self.refuse(409, format!("{free} does not contain {reserved}"));
        }
        self.answer(Answer::Accepted);
        self.converted(&id, &reserved, &plain);
        self.allocate();
    }
}
