//! Stands between a client and its server, and partitions them: silently, with connections left open, or not.
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// It carries.
    Up,
    /// Nothing arrives any more, and nobody is told.
    Silent,
    /// Connections break, and new ones end at once.
    Down,
    /// So many answers of the server still arrive; at each of so many after them the connection breaks instead, once the server
    /// has said it. Then it carries again.
    LosesAnswers {
        /// How many arrive.
        after: usize,
        /// How many do not.
        lost: usize,
    },
}

/// A network of its own for one client.
pub(crate) struct Proxy {
    /// Where the client connects.
    pub(crate) address: SocketAddr,
    network: Arc<watch::Sender<Network>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// A proxy for the server at that port.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = Arc::new(watch::Sender::new(Network::Up));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, port, Arc::clone(&network)));
        Self { address, network, _tasks: tasks }
    }

    /// What the network does now.
    #[allow(dead_code, reason = "not every test program that has this module asks")]
    pub(crate) fn network(&self) -> Network {
        *self.network.borrow()
    }

    /// Changes the network.
    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

impl Network {
    /// What it is after another answer, and whether that one is lost.
    fn after_answer(self) -> (Self, bool) {
        match self {
            Self::LosesAnswers { lost: 0, .. } => (Self::Up, false),
            Self::LosesAnswers { after: 0, lost: 1 } => (Self::Up, true),
            Self::LosesAnswers { after: 0, lost } => (Self::LosesAnswers { after: 0, lost: lost - 1 }, true),
            Self::LosesAnswers { after, lost } => (Self::LosesAnswers { after: after - 1, lost }, false),
            other => (other, false),
        }
    }
}

/// Whether these bytes are a ZooKeeper server's answer to a sign of life, which comes at any time.
fn is_ping(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(&(-2_i32).to_be_bytes())
}

async fn serve(listener: TcpListener, port: u16, network: Arc<watch::Sender<Network>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        if *network.borrow() == Network::Down {
            continue;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
        connections.spawn(tunnel(client, server, Arc::clone(&network)));
    }
}

/// Carries both ways for as long as the network lets it.
pub(crate) async fn tunnel(client: TcpStream, server: TcpStream, network: Arc<watch::Sender<Network>>) {
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (one, other) = (network.subscribe(), network.subscribe());
    let answers = |bytes: &[u8]| {
        let mut is_lost = false;
        if !is_ping(bytes) {
            network.send_modify(|network| (*network, is_lost) = network.after_answer());
        }
        is_lost
    };
    tokio::select! {
        () = carry(from_client, to_server, one, |_| false) => {}
        () = carry(from_server, to_client, other, answers) => {}
    }
}

/// Carries one way, until the network breaks or something is lost.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
    is_lost: impl Fn(&[u8]) -> bool,
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = tokio::select! {
            down = network.wait_for(|network| *network == Network::Down) => { drop(down); return }
            read = from.read(&mut buffer) => read.unwrap_or(0),
        };
        if read == 0 || network.wait_for(|network| *network != Network::Silent).await.is_err() {
            return;
        }
        if *network.borrow() == Network::Down
            || is_lost(&buffer[..read])
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}
