//! Decides whether an agent satisfies the offer constraints of a framework.

use mesos::{AgentInfo, Attribute};
use proto::mesos::v1::{self as mesos, scheduler};
use regex::Regex;
use scheduler::attribute_constraint::predicate::Predicate;
use scheduler::attribute_constraint::selector::{PseudoattributeType, Selector};
use scheduler::{AttributeConstraint, OfferConstraints};

/// What is wrong with constraints.
pub(super) fn error(constraints: &OfferConstraints, own_roles: &[String]) -> Option<String> {
    constraints.role_constraints.iter().find_map(|(role, of_role)| {
        if !own_roles.contains(role) {
            return Some(format!(
                "Offer constraints specify `role_constraints` for role '{role}', which is not among the roles"
            ));
        }
        if of_role.groups.is_empty() {
            return Some(format!("The constraints for role '{role}' have no groups"));
        }
        of_role.groups.iter().flat_map(|group| &group.attribute_constraints).find_map(constraint_error)
    })
}

fn constraint_error(constraint: &AttributeConstraint) -> Option<String> {
    match &constraint.selector.selector {
        None => return Some("An attribute constraint has no selector".into()),
        Some(Selector::PseudoattributeType(number)) if PseudoattributeType::try_from(*number).is_err() => {
            return Some("An attribute constraint has an unknown pseudoattribute".into());
        }
        Some(_) => {}
    }
    match &constraint.predicate.predicate {
        None => Some("An attribute constraint has an unknown predicate".into()),
        Some(Predicate::TextMatches(matches)) => Regex::new(&matches.regex).err().map(|e| e.to_string()),
        Some(Predicate::TextNotMatches(matches)) => Regex::new(&matches.regex).err().map(|e| e.to_string()),
        Some(_) => None,
    }
}

/// Whether an agent may be offered to a role: one group of which all constraints hold, or no groups at all.
pub(super) fn satisfied(constraints: Option<&OfferConstraints>, role: &str, agent: &AgentInfo) -> bool {
    constraints.and_then(|constraints| constraints.role_constraints.get(role)).is_none_or(|of_role| {
        of_role.groups.iter().any(|group| group.attribute_constraints.iter().all(|one| holds(one, agent)))
    })
}

fn holds(constraint: &AttributeConstraint, agent: &AgentInfo) -> bool {
    let fault = agent.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
    match &constraint.selector.selector {
        Some(Selector::AttributeName(name)) => {
            let mut named = agent.attributes.iter().filter(|attribute| attribute.name == *name).peekable();
            match &constraint.predicate.predicate {
                Some(Predicate::NotExists(_)) => named.peek().is_none(),
                Some(Predicate::Exists(_)) => named.peek().is_some(),
                predicate if named.peek().is_none() => text_matches(predicate.as_ref(), None),
                predicate => named.any(|attribute| attribute_matches(predicate.as_ref(), attribute)),
            }
        }
        Some(Selector::PseudoattributeType(number)) => {
            let value = match PseudoattributeType::try_from(*number) {
                Ok(PseudoattributeType::Hostname) => Some(agent.hostname.as_str()),
                Ok(PseudoattributeType::Region) => fault.map(|fault| fault.region.name.as_str()),
                Ok(PseudoattributeType::Zone) => fault.map(|fault| fault.zone.name.as_str()),
                Ok(PseudoattributeType::Unknown) | Err(_) => None,
            };
            text_matches(constraint.predicate.predicate.as_ref(), value)
        }
        None => false,
    }
}

/// Attributes that are no texts match every predicate on texts.
fn attribute_matches(predicate: Option<&Predicate>, attribute: &Attribute) -> bool {
    match &attribute.text {
        Some(text) => text_matches(predicate, Some(&text.value)),
        None => true,
    }
}

fn text_matches(predicate: Option<&Predicate>, value: Option<&str>) -> bool {
    let matches = |regex: &str, value: &str| Regex::new(regex).is_ok_and(|regex| regex.is_match(value));
    match (predicate, value) {
        (Some(Predicate::Exists(_)), value) => value.is_some(),
        (Some(Predicate::NotExists(_)), value) => value.is_none(),
        (Some(Predicate::TextEquals(wanted)), Some(value)) => wanted.value == value,
        (Some(Predicate::TextNotEquals(unwanted)), Some(value)) => unwanted.value != value,
        (Some(Predicate::TextMatches(wanted)), Some(value)) => matches(&wanted.regex, value),
        (Some(Predicate::TextNotMatches(unwanted)), Some(value)) => !matches(&unwanted.regex, value),
        (Some(Predicate::TextNotEquals(_) | Predicate::TextNotMatches(_)), None) => true,
        (Some(Predicate::TextEquals(_) | Predicate::TextMatches(_)), None) | (None, _) => false,
    }
}
