//! Says what is wrong with a framework's description of itself.

use super::Core;
use super::state::{can, roles};
use crate::ids::path_component_error;
use mesos::framework_info::capability::Type as Capability;
use proto::mesos::v1 as mesos;
use std::collections::BTreeSet;

impl Core {
    /// The first thing that is wrong with a FrameworkInfo, in Mesos' words where they are known.
    pub(super) fn framework_info_error(&self, info: &mesos::FrameworkInfo) -> Option<String> {
        roles_error(info)
            .or_else(|| id_error(info))
            .or_else(|| self.whitelist_error(info))
            .or_else(|| failover_timeout_error(info))
            .or_else(|| info.offer_filters.values().find_map(offer_filter_error))
    }

    fn whitelist_error(&self, info: &mesos::FrameworkInfo) -> Option<String> {
        let foreign: Vec<String> = roles(info)
            .into_iter()
            .filter(|role| !self.roles.is_empty() && !self.roles.contains(role))
            .collect();
        (!foreign.is_empty())
            .then(|| format!("Roles {{ {} }} are not present in the master's --roles", foreign.join(", ")))
    }
}

fn roles_error(info: &mesos::FrameworkInfo) -> Option<String> {
    if can(info, Capability::MultiRole) {
        if info.role.is_some() {
            return Some(
                "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".into(),
            );
        }
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<&str> =
            info.roles.iter().filter(|role| !seen.insert(role.as_str())).map(String::as_str).collect();
        if !twice.is_empty() {
            let twice: Vec<&str> = twice.into_iter().collect();
            return Some(format!(
                "'FrameworkInfo.roles' contains duplicate items: {{ {} }}",
                twice.join(", ")
            ));
        }
        info.roles
            .iter()
            .find_map(|role| role_error(role))
            .map(|problem| format!("'FrameworkInfo.roles' contains invalid role: {problem}"))
    } else {
        if !info.roles.is_empty() {
            return Some(
                "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable".into(),
            );
        }
        role_error(info.role()).map(|problem| format!("'FrameworkInfo.role' is not a valid role: {problem}"))
    }
}

/// What is wrong with the name of a role.
fn role_error(role: &str) -> Option<String> {
    if role == "*" {
        return None;
    }
    if role.is_empty() {
        return Some("Role names cannot be the empty string".into());
    }
    if role.starts_with('/') || role.ends_with('/') {
        return Some(format!("Role '{role}' cannot start or end with a slash"));
    }
    role.split('/').find_map(|component| {
        let problem = match component {
            "" => "two adjacent slashes".to_owned(),
            "." | ".." | "*" => format!("the reserved name '{component}'"),
            _ if component.starts_with('-') => {
                return Some(format!(
                    "Role component '{component}' is invalid because it starts with a dash"
                ));
            }
            _ if component.chars().any(|c| c.is_whitespace() || c == '\u{7f}' || c == '\u{8}') => {
                return Some(format!(
                    "Role component '{component}' is invalid because it contains backspace or whitespace"
                ));
            }
            _ => return None,
        };
        Some(format!("Role '{role}' cannot contain {problem}"))
    })
}

fn id_error(info: &mesos::FrameworkInfo) -> Option<String> {
    let id = info.id.as_ref().map_or("", |id| &id.value);
    if id.is_empty() { None } else { path_component_error(id) }
}

/// It must fit an int64 of nanoseconds; a negative one is let through, as Mesos does.
fn failover_timeout_error(info: &mesos::FrameworkInfo) -> Option<String> {
    let seconds = info.failover_timeout();
    (!seconds.is_finite() || seconds.abs() > 9_223_372_036.0)
        .then(|| format!("The framework failover_timeout ({}) is invalid", scientific(seconds)))
}

/// As C++ prints a double.
fn scientific(value: f64) -> String {
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if exponent.parse::<i32>().is_ok_and(|e| e >= 6) => {
            format!("{mantissa}e+{exponent:0>2}")
        }
        _ => value.to_string(),
    }
}

fn offer_filter_error(filters: &mesos::OfferFilters) -> Option<String> {
    let minimum = filters.min_allocatable_resources.as_ref()?;
    if minimum.quantities.is_empty() {
        return Some("'MinAllocatableResources.quantities' must not be empty".into());
    }
    minimum.quantities.iter().find_map(|quantities| {
        if quantities.quantities.is_empty() {
            return Some("Resource quantities must contain at least one quantity".into());
        }
        quantities.quantities.values().find_map(|scalar| {
            (!scalar.value.is_finite() || scalar.value < 0.0)
                .then(|| format!("Invalid resource quantity: {}", scalar.value))
        })
    })
}
