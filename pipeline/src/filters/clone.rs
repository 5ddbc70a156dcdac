//! Makes copies of events.
use std::sync::Arc;

use crate::batch::{Batch, Filter};
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::value::Value;

plugin! {
    /// Makes a copy of each event for each name in `clones`.
    ///
    /// ```
    /// filter { clone { clones => ["audit"] } }
    /// ```
    ///
    /// The copies follow the event, which stays as it is: `add_field` and the like apply to the copies. Each copy has its
    /// name in the field `type`, or as a tag with `ecs_compatibility => v1`. An event is acknowledged when its copies are, too.
    filter "clone" => pub(crate) struct CloneOptions {
        /// The names of the copies; one copy is made for each.
        clones: Vec<String>,
        /// Where a copy has its name: `disabled` in `type`, `v1` and `v8` among its tags.
        ecs_compatibility: Ecs = "disabled",
    }
}

impl FilterOptions for CloneOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        Ok(Box::new(Clones { options: self.clone(), on_success: OnSuccess::new(on_success) }))
    }
}

struct Clones {
    options: CloneOptions,
    on_success: OnSuccess,
}

impl Filter for Clones {
    fn run(&mut self, batch: &mut Batch) {
        batch.replace(|event, events| {
            let copies: Vec<Event> = self.options.clones.iter().map(|name| self.copy(&event, name)).collect();
            events.push(event);
            events.extend(copies);
        });
    }
}

impl Clones {
    fn copy(&self, event: &Event, name: &str) -> Event {
        let mut copy = event.copied();
        match self.options.ecs_compatibility {
            Ecs::Disabled => {
                copy.fields_mut().insert("type", Value::from(name));
            }
            Ecs::V1 | Ecs::V8 => add_to_tags(&mut copy, name),
        }
        self.on_success.apply(&mut copy);
        copy
    }
}

/// Adds a tag even if it is there already.
fn add_to_tags(event: &mut Event, name: &str) {
    let tags = FieldRef::top("tags");
    match event.get_mut(&tags) {
        Some(Value::List(tags)) => tags.push(Value::from(name)),
        _ => event.add_tag(name),
    }
}
