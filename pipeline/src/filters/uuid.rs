//! Gives events ids that no other event has.
use std::sync::Arc;

use crate::batch::{Batch, Fate, Filter};
use crate::field::FieldRef;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::value::Value;

plugin! {
    /// Gives each event a random id (a UUID of version 4).
    ///
    /// ```
    /// filter { uuid { target => "id" overwrite => true } }
    /// ```
    ///
    /// An event that is read again, because it was not acknowledged before a restart, gets another id; `fingerprint` gives
    /// the same one again.
    filter "uuid" => pub(crate) struct UuidOptions {
        /// The field to put the id into.
        target: FieldRef,
        /// Replace what the field holds already.
        overwrite: bool = false,
    }
}

impl FilterOptions for UuidOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        Ok(Box::new(Uuid { options: self.clone(), on_success: OnSuccess::new(on_success) }))
    }
}

struct Uuid {
    options: UuidOptions,
    on_success: OnSuccess,
}

impl Filter for Uuid {
    fn run(&mut self, batch: &mut Batch) {
        let UuidOptions { target, overwrite } = &self.options;
        batch.each(|event| {
            if *overwrite || matches!(event.get(target), None | Some(Value::Null)) {
                let id = uuid::Uuid::new_v4().hyphenated().to_string();
                // Where a value cannot be put, Logstash does not say so either.
                let _put = event.set(target, id);
            }
            self.on_success.apply(event);
            Fate::Keep
        });
    }
}
