//! Does to an event what the options that every filter has ask for once the filter succeeded.
use crate::event::Event;
use crate::place::Place;
use crate::plan::CommonFilter;
use crate::template::Template;

/// The tag of an event that a field could not be added to.
const ADD_FIELD_FAILURE: &str = "_add_field_failure";

/// `add_field`, `remove_field`, `add_tag` and `remove_tag`, made ready.
#[derive(Clone, Debug)]
pub(crate) struct OnSuccess {
    add_field: Vec<(Place, Vec<Template>)>,
    remove_field: Vec<Place>,
    add_tag: Vec<Template>,
    remove_tag: Vec<Template>,
}

impl OnSuccess {
    pub(crate) fn new(common: &CommonFilter) -> Self {
        let add = |(name, values): &(Template, Vec<Template>)| (Place::new(name), values.clone());
        Self {
            add_field: common.add_field.iter().map(add).collect(),
            remove_field: common.remove_field.iter().map(Place::new).collect(),
            add_tag: common.add_tag.clone(),
            remove_tag: common.remove_tag.clone(),
        }
    }

    /// Does all of it, in Logstash's order.
    pub(crate) fn apply(&self, event: &mut Event) {
        for (place, values) in &self.add_field {
            let field = place.of(event);
            for value in values {
                let value = value.render(event);
                if event.append(&field, value).is_err() {
                    event.add_tag(ADD_FIELD_FAILURE);
                }
            }
        }
        for place in &self.remove_field {
            let field = place.of(event);
            event.remove(&field);
        }
        for tag in &self.add_tag {
            let tag = tag.render(event);
            event.push_tag(tag);
        }
        for tag in &self.remove_tag {
            let tag = tag.render(event);
            event.remove_tag(&tag);
        }
    }
}
