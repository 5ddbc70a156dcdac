//! Names the identifiers of the cluster, so that one kind is never taken for another.

use proto::mesos::v1 as mesos;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(crate) String);

        impl $name {
            /// The text of the id.
            #[allow(dead_code, reason = "not every kind of id becomes a path")]
            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }

            /// As it goes over the wire.
            pub(crate) fn wire(&self) -> mesos::$name {
                mesos::$name { value: self.0.clone() }
            }
        }

        impl From<&mesos::$name> for $name {
            fn from(id: &mesos::$name) -> Self {
                Self(id.value.clone())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A framework, for as long as it lives; issued by a master, kept by the scheduler.
    FrameworkId
);
id!(
    /// An agent, over its restarts.
    AgentId
);
id!(
    /// An executor, unique within its framework and agent.
    ExecutorId
);
id!(
    /// A task, unique within its framework.
    TaskId
);
id!(
    /// An offer; used once.
    OfferId
);

/// Says what is wrong with an id that becomes a component of a path on an agent.
pub(crate) fn path_component_error(id: &str) -> Option<String> {
    if id.is_empty() {
        Some("ID must not be empty".into())
    } else if id.len() > 255 {
        Some(format!("'{id}' must not be longer than 255 characters"))
    } else if id == "." || id == ".." {
        Some(format!("'{id}' is disallowed"))
    } else if id.chars().any(|c| c.is_control() || c == '/' || c == '\\') {
        Some(format!("'{id}' contains invalid characters"))
    } else {
        None
    }
}

/// Sixteen bytes that are a UUID of a version that Mesos knows (1 to 5).
pub(crate) fn is_uuid(bytes: &[u8]) -> bool {
    uuid::Uuid::from_slice(bytes)
        .is_ok_and(|uuid| (1..=5).contains(&uuid.get_version_num()) && !uuid.is_nil())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_would_leave_their_directory_are_refused() {
        for bad in ["", ".", "..", "a/b", "a\\b", "a\nb", &"x".repeat(256)] {
            assert!(path_component_error(bad).is_some(), "{bad:?}");
        }
        for good in ["logherd.n1.1", "a b", "...", "ü", &"x".repeat(255)] {
            assert_eq!(path_component_error(good), None, "{good:?}");
        }
    }

    #[test]
    fn only_uuids_of_the_versions_that_mesos_knows_count() {
        let of_version = |version: u8| {
            let mut bytes = [0x11_u8; 16];
            bytes[6] = (version << 4) | 1;
            bytes[8] = 0x81;
            bytes
        };
        for version in 1..=5 {
            assert!(is_uuid(&of_version(version)), "v{version}");
        }
        for version in [0, 6, 7, 8] {
            assert!(!is_uuid(&of_version(version)), "v{version}");
        }
        assert!(!is_uuid(&[0; 16]));
        assert!(!is_uuid(&[1; 5]));
    }
}
