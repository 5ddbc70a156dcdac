//! Takes bulk requests, as Elasticsearch does, and says yes to everything.
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

/// A request that has arrived.
pub struct Arrived {
    pub at: Instant,
    /// Its body, if bodies are wanted.
    pub body: Vec<u8>,
}

/// Listens until the process ends; tells of each request.
pub fn listen(bodies: bool) -> io::Result<(SocketAddr, Receiver<Arrived>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (tell, arrived) = mpsc::channel();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || serve(connection, bodies, &tell));
        }
    });
    Ok((address, arrived))
}

fn serve(mut connection: TcpStream, bodies: bool, tell: &Sender<Arrived>) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut filled = 0;
    loop {
        let head_end = loop {
            let head = buffer.get(..filled).unwrap_or_default();
            if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            match connection.read(buffer.get_mut(filled..).unwrap_or_default())? {
                0 => return Ok(()),
                n => filled += n,
            }
        };
        let head = String::from_utf8_lossy(buffer.get(..head_end).unwrap_or_default()).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let length: usize = length.unwrap_or(0);
        let mut body = Vec::new();
        let mut keep = |part: &[u8]| {
            if bodies {
                body.extend_from_slice(part);
            }
        };
        let here = (filled - head_end).min(length);
        keep(buffer.get(head_end..head_end + here).unwrap_or_default());
        buffer.copy_within(head_end + here..filled, 0);
        filled -= head_end + here;
        let mut left = length - here;
        while left > 0 {
            let room = left.min(buffer.len());
            match connection.read(buffer.get_mut(..room).unwrap_or_default())? {
                0 => return Ok(()),
                n => {
                    keep(buffer.get(..n).unwrap_or_default());
                    left -= n;
                }
            }
        }
        let at = Instant::now();
        connection.write_all(
            b"HTTP/1.1 200 OK\r\nx-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"errors\":false}",
        )?;
        let _nobody_listens = tell.send(Arrived { at, body });
    }
}
