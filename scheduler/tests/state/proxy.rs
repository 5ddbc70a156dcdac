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

    /// Changes the network.
    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
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
    tokio::select! {
        () = carry(from_client, to_server, one) => {}
        () = carry(from_server, to_client, other) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut network: watch::Receiver<Network>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = tokio::select! {
            down = network.wait_for(|network| *network == Network::Down) => { drop(down); return }
            read = from.read(&mut buffer) => read.unwrap_or(0),
        };
        if read == 0 || network.wait_for(|network| *network != Network::Silent).await.is_err() {
            return;
        }
        if *network.borrow() == Network::Down || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
