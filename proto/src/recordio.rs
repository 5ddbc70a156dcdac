//! The framing of Mesos event streams.
