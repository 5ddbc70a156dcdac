//! Adds to events what the options that every input has ask for: `add_field`, `tags`, `type`.
use crate::event::Event;
use crate::field::FieldRef;
use crate::plan::CommonInput;
use crate::template::Template;

/// What is added to each event of an input.
pub(crate) struct Decorate(CommonInput);

impl Decorate {
    /// `None` if there is nothing to add.
    pub(crate) fn new(common: &CommonInput) -> Option<Self> {
        let nothing = common.add_field.is_empty() && common.tags.is_empty() && common.set_type.is_none();
        (!nothing).then(|| Self(common.clone()))
    }

    /// Adds it.
    pub(crate) fn apply(&self, event: &mut Event) {
        if let Some(word) = &self.0.set_type
            && event.fields().get("type").is_none()
        {
            event.fields_mut().insert("type", word.as_str().into());
        }
        add_fields(&self.0.add_field, event);
        for tag in &self.0.tags {
            let tag = tag.render(event);
            event.push_tag(tag);
        }
    }
}

fn add_fields(fields: &[(Template, Vec<Template>)], event: &mut Event) {
    for (name, values) in fields {
        let Ok(field) = FieldRef::parse(&name.render(event)) else { continue };
        for value in values {
            let value = value.render(event);
            if event.append(&field, value).is_err() {
                event.add_tag("_add_field_failure");
            }
        }
    }
}
