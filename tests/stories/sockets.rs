//! Story: programs that write into sockets: TCP, UDP, and those of this machine.

use crate::eventually::eventually;
use crate::output::Tally;
use crate::service::accepts;
use crate::world::{SOON, START, World, free_port};
use std::net::UdpSocket;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

const WRITERS: usize = 4;
const EACH: usize = 5_000;

/// The lines of one of several writers.
fn lines(writer: usize) -> String {
    (1..=EACH).map(|n| format!("line {}.\n", writer * EACH + n)).collect()
}

async fn all_once(world: &World) {
    let output = world.output("out.log");
    let all = async || match output.count() {
        count if count >= WRITERS * EACH => Ok(()),
        count => Err(format!("{count} lines")),
    };
    eventually("all lines", START, all).await;
    let Tally { lines, distinct, torn, first_missing, .. } = output.tally("line ", ".");
    assert_eq!((lines, distinct, torn, first_missing), (WRITERS * EACH, WRITERS * EACH, 0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_several_connections_come_out_whole_and_once() {
    let world = World::new().await;
    let port = free_port();
    let input = format!(r#"input {{ tcp {{ host => "127.0.0.1" port => {port} }} }} "#);
    let mut run = world.run(&(input + &world.writes("out.log")), &[]).await;
    accepts("the input listens", port).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            // In pieces that end anywhere but at the end of a line.
            for piece in lines(writer).as_bytes().chunks(1_459) {
                stream.write_all(piece).await.unwrap();
            }
            stream.shutdown().await.unwrap();
        });
    }
    writers.join_all().await;
    all_once(&world).await;
    assert!(run.stop().await.success(), "{}", run.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_written_into_a_socket_of_the_machine_come_out_whole_and_once_also_after_a_restart() {
    let world = World::new().await;
    let socket = world.path("app.sock");
    let input = format!(r#"input {{ unix {{ path => "{}" force_unlink => true }} }} "#, socket.display());
    let mut run = world.run(&(input + &world.writes("out.log")), &[]).await;
    for half in 0..2 {
        let mut writers = JoinSet::new();
        for writer in [half, half + 2] {
            let socket = socket.clone();
            let connect = async || UnixStream::connect(&socket).await.map_err(|error| error.to_string());
            let (mut stream, _) = eventually("the socket is there", SOON, connect).await;
            writers.spawn(async move {
                stream.write_all(lines(writer).as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
        writers.join_all().await;
        if half == 0 {
            let output = world.output("out.log");
            let all = async || match output.count() {
                count if count == 2 * EACH => Ok(()),
                count => Err(format!("{count} lines")),
            };
            eventually("the lines of the first two", START, all).await;
            assert!(run.stop().await.success(), "{}", run.printed());
            run.start_again();
        }
    }
    all_once(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_datagram_is_an_event_with_the_address_of_its_sender() {
    let world = World::new().await;
    let (port, out) = (free_port(), world.path("out.json").display().to_string());
    let config = format!(
        r#"input {{ udp {{ host => "127.0.0.1" port => {port} }} }}
        output {{ file {{ path => "{out}" codec => json_lines }} }}"#
    );
    let _run = world.run(&config, &[]).await;
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(("127.0.0.1", port)).unwrap();
    let output = world.output("out.json");
    // Nobody answers: until one comes out, nobody knows that somebody listens. An error tells of the one before.
    let listens = async || {
        drop(sender.send(b"probe"));
        output.holds("probe")
    };
    eventually("the input listens", SOON, listens).await;
    for number in 1..=200 {
        sender.send(format!("datagram {number}\nin two lines").as_bytes()).unwrap();
    }
    eventually("the last one", SOON, async || output.holds("datagram 200")).await;
    let events = output.events();
    let of: Vec<_> = events.iter().filter(|event| event["message"] != "probe").collect();
    assert_eq!(of.len(), 200);
    assert_eq!(
        (&of[6]["message"], &of[6]["host"]),
        (&"datagram 7\nin two lines".into(), &"127.0.0.1".into())
    );
}
