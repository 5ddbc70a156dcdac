//! The HTTP edge that master and agents share: content types, bodies, event streams, the server.

pub(crate) mod basic;
pub(crate) mod body;
pub(crate) mod content;
pub(crate) mod reflect;
pub(crate) mod server;
pub(crate) mod socket;
pub(crate) mod stream;
