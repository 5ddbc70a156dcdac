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

    /// Does all of it, in Logstash's order; a field that cannot be added is left out, and the event tagged.
    pub(crate) fn apply(&self, event: &mut Event) {
        for (place, values) in &self.add_field {
            if !add(event, place, values) {
                event.add_tag(ADD_FIELD_FAILURE);
            }
        }
        self.apply_rest(event);
    }

    /// Does all of it if each field can be added; otherwise what stands behind the first that cannot is left out.
    pub(crate) fn try_apply(&self, event: &mut Event) -> bool {
        let added = self.add_field.iter().all(|(place, values)| add(event, place, values));
        if added {
            self.apply_rest(event);
        }
        added
    }

    fn apply_rest(&self, event: &mut Event) {
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

/// Adds values to a field; whether all of them could be added.
fn add(event: &mut Event, place: &Place, values: &[Template]) -> bool {
    let field = place.of(event);
    values.iter().all(|value| {
        let value = value.render(event);
        event.append(&field, value).is_ok()
    })
}
