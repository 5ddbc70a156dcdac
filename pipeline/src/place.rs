//! Names a field of an event by a text that may have parts for each event to fill in.
use std::borrow::Cow;

use crate::event::Event;
use crate::field::FieldRef;
use crate::template::Template;

/// A field, known before or only for each event.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Fixed(FieldRef),
    Filled(Template),
}

impl Place {
    pub(crate) fn new(name: &Template) -> Self {
        match name.as_literal() {
            Some(name) => Self::Fixed(reference(name)),
            None => Self::Filled(name.clone()),
        }
    }

    pub(crate) fn parse(name: &str) -> Self {
        Self::new(&Template::parse(name))
    }

    /// The field of just this name, whatever looks like a part to fill in.
    pub(crate) fn literal(name: &str) -> Self {
        Self::Fixed(reference(name))
    }

    /// The field it names in `event`.
    pub(crate) fn of(&self, event: &Event) -> Cow<'_, FieldRef> {
        match self {
            Self::Fixed(field) => Cow::Borrowed(field),
            Self::Filled(name) => Cow::Owned(reference(&name.render(event))),
        }
    }
}

/// The field that `name` refers to; what is no reference is the name of a field itself.
fn reference(name: &str) -> FieldRef {
    FieldRef::parse(name).unwrap_or_else(|_| FieldRef::top(name))
}
