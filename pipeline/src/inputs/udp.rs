//! Receives datagrams.
use std::net::IpAddr;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;
use crate::listening;
use crate::plugins::InputOptions;
use crate::runtime::lines::{BYTES_MAX, LINES_MAX};
use crate::runtime::source::{Input, InputError, Intake, Source};
use crate::spec::plugin;
use crate::value::Value;

plugin! {
    /// Receives datagrams; each is a message.
    ///
    /// ```
    /// input { udp { port => 5514 codec => json } }
    /// ```
    ///
    /// Each event has the field `host`: the address of the sender. Nobody can be told to send slower: what comes while the
    /// pipeline and the queue are full is lost, first in the system's buffer (`receive_buffer_bytes`). With the codec `line` or
    /// `json_lines` a datagram may hold several messages.
    input "udp" => pub(crate) struct UdpOptions {
        /// The address to listen on. `0.0.0.0` is reachable from everywhere.
        host: String = "0.0.0.0",
        /// The port to listen on.
        port: u16,
        /// The longest datagram; what is longer is cut off.
        buffer_size: Placed<usize> = 65536,
        /// The system's buffer for what was not read yet; it may give less than that.
        receive_buffer_bytes: Option<usize>,
        /// How many datagrams wait for the pipeline.
        queue_size: Placed<usize> = 2000,
        /// The field that holds the sender's address: `host`, or `[host][ip]` with `ecs_compatibility => v1`, when left out.
        source_ip_fieldname: Option<FieldRef>,
        /// With `v1` or `v8` the field of the sender is `[host][ip]`.
        ecs_compatibility: Ecs = "disabled",
    }
    accepted {
        "workers" => "datagrams are decoded one after the other, in their order",
    }
    validate = check
}

fn check(options: &UdpOptions, problems: &mut Problems) {
    for (size, what) in [(&options.buffer_size, "datagrams are"), (&options.queue_size, "the queue is")] {
        if size.value == 0 {
            problems.error(size.span, format!("{what} empty")).hint("leave it out");
        }
    }
}

impl InputOptions for UdpOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        Ok(Box::new(Udp { options: self.clone() }))
    }
}

struct Udp {
    options: UdpOptions,
}

impl Input for Udp {
    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            let UdpOptions { host, port, receive_buffer_bytes, buffer_size, queue_size, .. } = &self.options;
            let socket = listening::udp(host, *port, *receive_buffer_bytes)?;
            let (datagrams_in, datagrams) = mpsc::channel(queue_size.value);
            let field = self.options.source_ip_fieldname.clone().unwrap_or_else(|| {
                let ecs = self.options.ecs_compatibility;
                ecs.choose(FieldRef::top("host"), FieldRef::from_names(&["host", "ip"]))
            });
            let receive = async {
                tokio::select! {
                    never = receive(&socket, buffer_size.value, datagrams_in) => never,
                    () = intake.stop.cancelled() => {}
                }
                // Somebody else may take its place while what waits is sent.
                drop(socket);
            };
            // The first ends at a stop, and with it the second, once it has sent what waits.
            tokio::join!(receive, send(datagrams, &field, &intake));
            Ok(())
        })
    }
}

/// A datagram and its sender.
pub(super) type Datagram = (Bytes, IpAddr);

/// Receives datagrams into a queue; what comes while it is full is left to the system's buffer.
pub(super) async fn receive(socket: &UdpSocket, longest: usize, queue: mpsc::Sender<Datagram>) {
    let mut buffer = vec![0; longest];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((0, _)) => {}
            Ok((length, from)) => {
                let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                if queue.send((bytes, from.ip().to_canonical())).await.is_err() {
                    return;
                }
            }
            // What the system tells of an earlier answer is nothing that a receiver could do something about.
            Err(error) => tracing::debug!(%error, "receive a datagram"),
        }
    }
}

/// Takes what waits in a queue, as much as travels together.
pub(super) async fn take(queue: &mut mpsc::Receiver<Datagram>) -> Vec<Datagram> {
    let mut datagrams = Vec::new();
    let mut bytes = 0;
    let Some(first) = queue.recv().await else { return datagrams };
    bytes += first.0.len();
    datagrams.push(first);
    while datagrams.len() < LINES_MAX && bytes < BYTES_MAX {
        let Ok(next) = queue.try_recv() else { break };
        bytes += next.0.len();
        datagrams.push(next);
    }
    datagrams
}

async fn send(mut queue: mpsc::Receiver<Datagram>, field: &FieldRef, intake: &Intake) {
    let source = intake.fleeting(Vec::new());
    loop {
        let datagrams = take(&mut queue).await;
        if datagrams.is_empty() {
            return;
        }
        let size = datagrams.iter().map(|(bytes, _)| bytes.len()).sum();
        let events = datagrams.into_iter().flat_map(|datagram| decoded(datagram, field, intake, &source));
        let events: Vec<Event> = events.collect();
        // Whoever sent them cannot send them again: they go out even when the pipeline is stopped.
        if intake.send_events_last(&source, events, size, 0).await.is_err() {
            return;
        }
    }
}

fn decoded((bytes, from): Datagram, field: &FieldRef, intake: &Intake, source: &Source) -> Vec<Event> {
    let mut events = intake.decoded(source, bytes);
    for event in &mut events {
        if event.get(field).is_none_or(|value| *value == Value::Null) {
            // Where something else stands in its way the event goes without.
            let _set = event.set(field, Value::from(from.to_string()));
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::inputs::{Trial, free_port};

    async fn sent(input: &str, datagrams: &[&[u8]], events: usize) -> Vec<serde_json::Value> {
        let port = free_port();
        let mut trial = Trial::start(&input.replace("PORT", &port.to_string()));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(("127.0.0.1", port)).await.unwrap();
        // Until somebody listens, nothing arrives, and the next to be sent tells so.
        trial
            .until("somebody listens", async || {
                let probed = socket.send(b"").await.is_ok();
                tokio::task::yield_now().await;
                probed && socket.send(b"").await.is_ok() && listens(port)
            })
            .await;
        for datagram in datagrams {
            socket.send(datagram).await.unwrap();
        }
        trial.events(events).await
    }

    /// Whether the port is taken.
    fn listens(port: u16) -> bool {
        std::net::UdpSocket::bind(("0.0.0.0", port)).is_err()
    }

    #[tokio::test]
    async fn each_datagram_is_a_message_of_its_sender() {
        let events = sent("udp { port => PORT }", &[b"one", b"two\nlines"], 2).await;
        let got: Vec<_> =
            events.iter().map(|e| (e["message"].as_str().unwrap(), e["host"].as_str().unwrap())).collect();
        assert_eq!(got, [("one", "127.0.0.1"), ("two\nlines", "127.0.0.1")]);
    }

    #[tokio::test]
    async fn a_codec_for_lines_finds_several_messages_in_a_datagram() {
        let input = "udp { port => PORT codec => json_lines source_ip_fieldname => '[from][ip]' }";
        let events =
            sent(input, &[b"{\"a\":1}\n{\"a\":2}", b"{\"a\":3,\"from\":{\"ip\":\"mine\"}}\n"], 3).await;
        let got: Vec<_> = events.iter().map(|e| (e["a"].clone(), e["from"]["ip"].clone())).collect();
        assert_eq!(
            got,
            [(1.into(), "127.0.0.1".into()), (2.into(), "127.0.0.1".into()), (3.into(), "mine".into())]
        );
    }

    #[tokio::test]
    async fn lines_of_a_datagram_are_put_together() {
        let input = "udp { port => PORT ecs_compatibility => v1 codec => multiline { pattern => '^ ' what => previous } }";
        let events = sent(input, &[b"a\n b\nc"], 2).await;
        assert_eq!((&events[0]["message"], &events[1]["message"]), (&"a\n b".into(), &"c".into()));
        assert_eq!(events[0]["host"]["ip"], "127.0.0.1");
    }
}
