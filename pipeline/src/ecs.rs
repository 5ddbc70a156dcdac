//! Names the two ways in which plugins name the fields that they set.
use crate::field::FieldRef;
use crate::spec::words;

words! {
    /// Which names the fields have that a plugin sets by itself.
    pub(crate) enum Ecs {
        /// Logstash's old names.
        Disabled = "disabled",
        /// Those of the Elastic Common Schema.
        V1 = "v1",
        /// Those of the Elastic Common Schema.
        V8 = "v8",
    }
}

impl Ecs {
    /// Where codecs keep the message as it came.
    pub(crate) fn original(self) -> Option<FieldRef> {
        self.choose(None, Some(FieldRef::from_names(&["event", "original"])))
    }

    /// One of two, by the names that are wanted.
    pub(crate) fn choose<T>(self, old: T, ecs: T) -> T {
        match self {
            Self::Disabled => old,
            Self::V1 | Self::V8 => ecs,
        }
    }
}
