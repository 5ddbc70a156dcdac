//! Sends events as datagrams.
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::codec::{Encode, encoder};
use crate::dead_letter::DeadLetters;
use crate::event::Event;
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
    /// Nobody tells whether datagrams arrive; one that cannot be sent, because it is too long for instance, is lost and counted.
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
    fn build(&self, site: OutputSite) -> Result<Box<dyn Output>, String> {
        let server = Server { host: self.host.clone(), port: self.port, way: Way::Udp };
        Ok(Box::new(Udp {
            link: Link::to(server),
            encode: encoder(&self.codec)?,
            dead_letters: site.dead_letters,
        }))
    }
}

struct Udp {
    link: Link,
    encode: Arc<dyn Encode>,
    dead_letters: DeadLetters,
}

impl Output for Udp {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let encoded = |event: &Event| {
                let mut bytes = Vec::new();
                self.encode.encode(event, &mut bytes);
                bytes
            };
            let datagrams: Vec<Vec<u8>> = load.iter().map(encoded).collect();
            let lost = self.link.send(&datagrams).await.map_err(Failure::whole)?;
            self.dead_letters.count_dropped(lost);
            Ok(())
        })
    }
}
