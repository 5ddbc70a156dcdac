//! Stands between the servers of a ZooKeeper ensemble: each reaches the others only through a SOCKS proxy of its own, so that
//! single links can be cut without any rights on this machine.

use crate::proxy::{Network, tunnel};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The links from one server to each of the others.
pub(crate) struct Links {
    /// Where its SOCKS proxy listens.
    pub(crate) address: SocketAddr,
    to: BTreeMap<usize, Arc<watch::Sender<Network>>>,
    _task: JoinSet<()>,
}

impl Links {
    /// The links of a server to all that listen at `ports`, by port.
    pub(crate) async fn to(ports: &BTreeMap<u16, usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let to: BTreeMap<usize, _> =
            ports.values().map(|server| (*server, Arc::new(watch::Sender::new(Network::Up)))).collect();
        let by_port = ports.iter().map(|(port, server)| (*port, Arc::clone(&to[server]))).collect();
        let mut task = JoinSet::new();
        task.spawn(serve(listener, by_port));
        Self { address, to, _task: task }
    }

    /// Changes the link to one server.
    pub(crate) fn set(&self, server: usize, network: Network) {
        self.to[&server].send_replace(network);
    }
}

async fn serve(listener: TcpListener, links: BTreeMap<u16, Arc<watch::Sender<Network>>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let links = links.clone();
        connections.spawn(async move { drop(connect(client, &links).await) });
    }
}

/// SOCKS 5 (RFC 1928) without authentication, CONNECT to an IPv4 address.
async fn connect(
    mut client: TcpStream,
    links: &BTreeMap<u16, Arc<watch::Sender<Network>>>,
) -> io::Result<()> {
    let mut greeting = [0; 2];
    client.read_exact(&mut greeting).await?;
    client.read_exact(&mut vec![0; usize::from(greeting[1])]).await?;
    client.write_all(&[5, 0]).await?;
    let mut request = [0; 10];
    client.read_exact(&mut request).await?;
    let [5, 1, 0, 1, a, b, c, d, high, low] = request else {
        return Err(io::Error::other(format!("no CONNECT to an IPv4 address: {request:?}")));
    };
    let port = u16::from_be_bytes([high, low]);
    let Some(link) = links.get(&port) else {
        return Err(io::Error::other(format!("no server listens at {port}")));
    };
    // Who connects over a link that is cut waits, as for a machine that does not answer.
    let up = link.subscribe().wait_for(|network| *network != Network::Silent).await.map(|network| *network);
    if up.is_ok_and(|network| network == Network::Down) {
        return Ok(());
    }
    let server = TcpStream::connect((Ipv4Addr::new(a, b, c, d), port)).await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    tunnel(client, server, Arc::clone(link)).await;
    Ok(())
}
