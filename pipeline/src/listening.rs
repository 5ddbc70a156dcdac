//! Opens the sockets of inputs that others send to.
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::runtime::source::InputError;

/// A socket for datagrams.
pub(crate) fn udp(host: &str, port: u16, buffer: Option<usize>) -> Result<UdpSocket, InputError> {
    let open = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    };
    first(host, port, open)
}

/// Opens a socket at the first address of a host at which that is possible.
fn first<T>(host: &str, port: u16, open: impl Fn(SocketAddr) -> std::io::Result<T>) -> Result<T, InputError> {
    use std::net::ToSocketAddrs;
    let wrong = |error: std::io::Error| InputError(format!("listen on {host}:{port}: {error}"));
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs().map_err(wrong)? {
        match open(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(wrong(last))
}
