//! Holds the filters: one file for each, and what they share.
//!
//! A filter that cannot do its work on an event tags it and lets it go on; `add_field` and the like, which every filter
//! has, happen only to events on which the filter did its work.
pub(crate) mod date;
pub(crate) mod drop;
pub(crate) mod grok;
pub(crate) mod json;
pub(crate) mod mutate;

#[cfg(test)]
mod tests;

use crate::event::Event;

/// Tags an event on which a filter failed.
fn tag(event: &mut Event, tags: &[String]) {
    for tag in tags {
        event.add_tag(tag);
    }
}
