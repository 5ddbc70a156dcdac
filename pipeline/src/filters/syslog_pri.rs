//! Takes apart the priority of syslog messages.
use std::sync::Arc;

use crate::batch::{Batch, Fate, Filter};
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::ruby::to_i;
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::value::Value;

/// The tag of an event whose priority names a facility that does not exist.
const FAILURE: &str = "_syslogpriparsefailure";
/// The priority of messages without one: a notice of a user's program (RFC 3164).
const DEFAULT: i64 = 13;

plugin! {
    /// Takes apart the priority of a syslog message (RFC 3164): its facility and its severity, as numbers and as names.
    ///
    /// ```
    /// filter { syslog_pri { } }
    /// ```
    ///
    /// | | `disabled` | `v1`, `v8` |
    /// |---|---|---|
    /// | the priority | `syslog_pri` | `[log][syslog][priority]` |
    /// | the facility's number and name | `syslog_facility_code`, `syslog_facility` | `[log][syslog][facility][code]`, `[log][syslog][facility][name]` |
    /// | the severity's number and name | `syslog_severity_code`, `syslog_severity` | `[log][syslog][severity][code]`, `[log][syslog][severity][name]` |
    ///
    /// An event without a priority is taken for one of priority 13.
    filter "syslog_pri" => pub(crate) struct SyslogPriOptions {
        /// Add the names of facility and severity, too.
        use_labels: bool = true,
        /// The field that holds the priority; the table above has the default.
        syslog_pri_field_name: Option<FieldRef>,
        /// The names of the facilities, from 0.
        facility_labels: Vec<String> = [
            "kernel", "user-level", "mail", "daemon", "security/authorization", "syslogd", "line printer", "network news",
            "uucp", "clock", "security/authorization", "ftp", "ntp", "log audit", "log alert", "clock", "local0", "local1",
            "local2", "local3", "local4", "local5", "local6", "local7"
        ],
        /// The names of the severities, from 0.
        severity_labels: Vec<String> = [
            "emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"
        ],
        /// Which names the fields have: see the table above.
        ecs_compatibility: Ecs = "disabled",
    }
}

impl FilterOptions for SyslogPriOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        let ecs = self.ecs_compatibility;
        let field = |old: &str, names: &[&str]| {
            ecs.choose(FieldRef::top(old), FieldRef::from_names(&[&["log", "syslog"], names].concat()))
        };
        let priority = field("syslog_pri", &["priority"]);
        Ok(Box::new(SyslogPri {
            priority: self.syslog_pri_field_name.clone().unwrap_or(priority),
            facility: Part {
                code: field("syslog_facility_code", &["facility", "code"]),
                name: field("syslog_facility", &["facility", "name"]),
                names: self.facility_labels.clone(),
            },
            severity: Part {
                code: field("syslog_severity_code", &["severity", "code"]),
                name: field("syslog_severity", &["severity", "name"]),
                names: self.severity_labels.clone(),
            },
            use_labels: self.use_labels,
            on_success: OnSuccess::new(on_success),
        }))
    }
}

struct SyslogPri {
    priority: FieldRef,
    facility: Part,
    severity: Part,
    use_labels: bool,
    on_success: OnSuccess,
}

/// The facility or the severity.
struct Part {
    code: FieldRef,
    name: FieldRef,
    names: Vec<String>,
}

impl Part {
    /// Sets the name; as in Ruby, a code below zero counts from the last.
    fn set_name(&self, event: &mut Event, code: i64) -> bool {
        let place = match usize::try_from(code) {
            Ok(code) => Some(code),
            Err(_) => {
                usize::try_from(code.unsigned_abs()).ok().and_then(|back| self.names.len().checked_sub(back))
            }
        };
        let name = place.and_then(|place| self.names.get(place));
        name.is_some_and(|name| event.set(&self.name, name.as_str()).is_ok())
    }
}

impl Filter for SyslogPri {
    fn run(&mut self, batch: &mut Batch) {
        batch.each(|event| {
            self.take_apart(event);
            self.on_success.apply(event);
            Fate::Keep
        });
    }
}

impl SyslogPri {
    fn take_apart(&self, event: &mut Event) {
        let priority = match event.get(&self.priority) {
            None | Some(Value::Null | Value::Bool(false)) => DEFAULT,
            Some(Value::List(items)) => items.first().map_or(0, number),
            Some(value) => number(value),
        };
        let (severity, facility) = (priority & 7, priority >> 3);
        // Fields below something that is no map cannot be set.
        let _put = event.set(&self.severity.code, severity).and(event.set(&self.facility.code, facility));
        if !self.use_labels {
            return;
        }
        if usize::try_from(facility).is_ok_and(|f| f >= self.facility.names.len()) {
            return event.add_tag(FAILURE);
        }
        self.facility.set_name(event, facility);
        self.severity.set_name(event, severity);
    }
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the fraction is not wanted, and no priority is that large"
        )]
        Value::Float(number) => *number as i64,
        other => match to_i(&other.to_text()) {
            Value::Int(number) => number,
            _ => i64::MAX,
        },
    }
}
