//! Writes resources as operators see them: by the role that they are allocated to, with the older names of a reservation
//! beside the newer.

use super::state::{Agent, Core, Holder};
use crate::ids::FrameworkId;
use crate::resources::{Resources, Style};
use mesos::resource::reservation_info::Type;
use proto::mesos::v1 as mesos;
use std::collections::BTreeMap;

/// Sums of resources, by the role that they are allocated to.
#[derive(Default)]
pub(super) struct Amounts(BTreeMap<Option<String>, Resources>);

impl Amounts {
    pub(super) fn add(&mut self, role: Option<&str>, resources: &Resources) {
        self.0.entry(role.map(str::to_owned)).or_default().add(resources);
    }

    pub(super) fn write(&self) -> Vec<mesos::Resource> {
        self.0.iter().flat_map(|(role, resources)| shown(resources, role.as_deref())).collect()
    }
}

/// Resources with `role`, and `reservation` where there is a single dynamic one.
pub(super) fn shown(resources: &Resources, allocated_to: Option<&str>) -> Vec<mesos::Resource> {
    let mut wire = resources.write(Style { allocated_to, refined: true });
    for resource in &mut wire {
        match resource.reservations.as_slice() {
            [] => resource.role = Some("*".into()),
            [single] => {
                let dynamic = single.r#type() == Type::Dynamic;
                resource.reservation = dynamic.then(|| mesos::resource::ReservationInfo {
                    principal: single.principal.clone(),
                    labels: single.labels.clone(),
                    ..Default::default()
                });
                resource.role.clone_from(&single.role);
            }
            _ => {}
        }
    }
    wire
}

impl Core {
    /// What is held on an agent: by one framework, or by all.
    pub(super) fn sum_held(&self, agent: &Agent, only: Option<&FrameworkId>, sum: &mut Amounts) {
        for ((framework, holder), held) in &agent.held {
            if only.is_none_or(|only| only == framework) {
                sum.add(self.role_of(agent, framework, holder), held);
            }
        }
    }

    fn role_of(&self, agent: &Agent, framework: &FrameworkId, holder: &Holder) -> Option<&str> {
        let framework = self.frameworks.get(framework)?;
        let resources = match holder {
            Holder::Task(task) => &framework.tasks.get(task)?.resources,
            Holder::Executor(executor) => {
                &framework.executors.get(&(agent.id(), executor.clone()))?.resources
            }
            Holder::Accept(_) => return None,
        };
        resources.first()?.allocation_info.as_ref()?.role.as_deref()
    }
}
