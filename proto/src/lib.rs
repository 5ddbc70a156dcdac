//! Everything on a wire.
//!
//! - [`mesos`]: our subset of the Mesos v1 API, generated from `mesos/*.proto`, which we wrote from the published field
//!   numbers. Every field that must survive a round trip (resources, tasks, executors, updates) is there.
//! - [`recordio`]: the framing of Mesos' event streams.
//! - [`announcement`]: the one MESSAGE that a scheduler sends to executors by Mesos: where it listens.
//! - [`handover`]: what an executor says while another one still has the data that it is to go on with.
//! - [`tls`]: handshakes with servers of Mesos, by rustls or OpenSSL, on a socket that the user opens.
//! - [`credentials`]: what an executor needs for TLS on the control plane, as it is handed over with its launch.
//! - [`movement`]: what moved between two reports of a node, which is sent in the place of the second.
//! - [`control`]: the gRPC service between scheduler and executors, generated from `control/control.proto`.
//!
//! The flow: bytes of a connection go through [`recordio`] and come out as records, a record is decoded as a message of
//! [`mesos`]. `tests/recorded.rs` holds both against exchanges recorded with a real Mesos (`fixtures/`).
//!
//! What does not live here: decisions, connections, retries, files. Wire types stop at the edge modules of their users
//! (`mesos.rs`, `control.rs`); inside, each crate has types of its own.

pub mod announcement;
pub mod credentials;
pub mod handover;
pub mod movement;
pub mod recordio;
pub mod tls;

/// The Mesos v1 API (`mesos.v1`), one module per protobuf package.
pub mod mesos {
    /// `mesos.v1`: ids, offers, tasks, executors, statuses.
    #[allow(missing_docs, clippy::all, reason = "generated code")]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/mesos.v1.rs"));
        /// `mesos.v1.scheduler`
        pub mod scheduler {
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.scheduler.rs"));
        }
        /// `mesos.v1.executor`
        pub mod executor {
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.executor.rs"));
        }
        /// `mesos.v1.master`
        pub mod master {
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.master.rs"));
        }
        /// `mesos.v1.agent`
        pub mod agent {
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.agent.rs"));
        }
        /// `mesos.v1.maintenance`
        pub mod maintenance {
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.maintenance.rs"));
        }
    }

    /// The compiled `FileDescriptorSet` of all files above, for tools that print messages as JSON.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mesos.bin"));
}

/// The control plane (`logherd.control.v1`).
#[allow(missing_docs, clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]
pub mod control {
    tonic::include_proto!("logherd.control.v1");

    /// The version of this protocol. A scheduler refuses an executor that speaks a newer one.
    pub const PROTOCOL: u32 = 1;
}
