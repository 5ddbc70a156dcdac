//! Sends events as datagrams.
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::codec::{Encode, encoder};
use crate::lang::kinds::CodecCall;
use crate::link::{Link, Server, Way};
use crate::plugins::OutputOptions;
use crate::runtime::load::{Failure, Load, Output};
use crate::spec::plugin;
use crate::topology::OutputSite;

plugin! {
    /// Sends each event as a datagram.
    ///
    /// ```
    /// output { udp { host => "logs.example.com" port => 5000 } }
    /// ```
    ///
    /// Nobody tells whether datagrams arrive; one that cannot be sent, because it is too long for instance, is lost.
    output "udp" => pub(crate) struct UdpOptions {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// How an event is written.
        codec: CodecCall = "json",
    }
    accepted {
        "retry_count" => "what was sent counts as delivered",
        "retry_backoff_ms" => "what was sent counts as delivered",
    }
}

impl OutputOptions for UdpOptions {
    fn build(&self, _site: OutputSite) -> Result<Box<dyn Output>, String> {
        let server = Server { host: self.host.clone(), port: self.port, way: Way::Udp };
        Ok(Box::new(Udp { link: Link::to(server), encode: encoder(&self.codec)? }))
    }
}

struct Udp {
    link: Link,
    encode: Arc<dyn Encode>,
}

impl Output for Udp {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            for event in load.iter() {
                let mut bytes = Vec::new();
                self.encode.encode(event, &mut bytes);
                if let Err(reason) = self.link.send(&[bytes]).await {
                    tracing::debug!(reason, "a datagram was not sent");
                }
            }
            Ok(())
        })
    }
}
