//! Holds the filters: one file for each, and what they share.
//!
//! A filter that cannot do its work on an event tags it and lets it go on; `add_field` and the like, which every filter
//! has, happen only to events on which the filter did its work.
pub(crate) mod cidr;
pub(crate) mod clone;
pub(crate) mod csv;
pub(crate) mod date;
pub(crate) mod de_dot;
pub(crate) mod dissect;
pub(crate) mod drop;
pub(crate) mod fingerprint;
pub(crate) mod grok;
pub(crate) mod json;
pub(crate) mod kv;
pub(crate) mod mutate;
pub(crate) mod prune;
pub(crate) mod split;
pub(crate) mod syslog_pri;
pub(crate) mod throttle;
pub(crate) mod translate;
pub(crate) mod truncate;
pub(crate) mod urldecode;
pub(crate) mod uuid;

#[cfg(test)]
mod tests;

use crate::event::Event;

/// Tags an event on which a filter failed.
fn tag(event: &mut Event, tags: &[String]) {
    for tag in tags {
        event.add_tag(tag);
    }
}
