//! Speaks gRPC as far as the one method of the control plane needs it. What generated code would do for each stream, encode
//! what it is given into a buffer of its own, is done here once for all of them: streams send shared bytes.
use super::http2::fields;
use super::link::{Gone, Link};
use super::said::Said;
use super::{Desk, HELLO_MAX, HELLO_TIMEOUT, KEEPALIVE, KEEPALIVE_TIMEOUT};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use prost::Message;
use proto::control::{ToExecutor, to_executor};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tonic::transport::CertificateDer;
use tonic::{Code, Status};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// How long the other side may take to close a connection that has ended.
const LINGER: Duration = Duration::from_secs(2);

/// A message as gRPC frames it: not compressed, its length, itself.
pub(super) fn frame(body: to_executor::Body) -> Bytes {
    let message = ToExecutor { body: Some(body) };
    let mut frame = BytesMut::with_capacity(5 + message.encoded_len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

/// Serves one connection until its end. `shown`: the certificate that the executor came with.
pub(super) async fn serve<T>(desk: Desk, io: T, shown: Option<CertificateDer<'static>>) -> Result<(), Gone>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut said = Said::new(Link::new(io), HELLO_MAX);
    let mut head = HeaderMap::from_iter([(header::CONTENT_TYPE, GRPC)]);
    let (answered, status) = match timeout(HELLO_TIMEOUT, said.link.asked()).await {
        Err(_) => (false, Status::deadline_exceeded("no request came")),
        Ok(Err(gone)) => return Err(gone),
        Ok(Ok(false)) => (false, Status::unimplemented("there is only Attach")),
        Ok(Ok(true)) => converse(desk, &mut said, shown, &fields(true, &head)).await?,
    };
    if let Err(error) = status.add_header(&mut head) {
        tracing::debug!(%error, "the end of a stream could not be said in words");
    }
    if answered {
        head.remove(header::CONTENT_TYPE);
    }
    match timeout(LINGER, said.link.end(&fields(!answered, &head))).await {
        Ok(Err(Gone::Closed)) | Err(_) => Ok(()),
        Ok(ended) => ended,
    }
}

/// Takes an executor in and tells it what there is to tell. Gives how that ended, and whether a response was begun before.
async fn converse<T>(
    desk: Desk,
    said: &mut Said<T>,
    shown: Option<CertificateDer<'static>>,
    head: &[u8],
) -> Result<(bool, Status), Gone>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let stop = desk.stop.clone();
    let mut attached = match desk.attach(said, shown).await {
        Ok(attached) => attached,
        Err(status) => return Ok((false, status)),
    };
    said.link.answer(head);
    let ended = loop {
        match attached.next(said).await {
            Some(Ok(frame)) => tokio::select! {
                sent = timeout(KEEPALIVE + KEEPALIVE_TIMEOUT, said.link.send(frame)) => match sent {
                    Ok(sent) => sent?,
                    Err(_) => return Err(Gone::Silent),
                },
                () = stop.cancelled() => break Status::new(Code::Ok, ""),
            },
            Some(Err(status)) => break status,
            None => break Status::new(Code::Ok, ""),
        }
    };
    Ok((true, ended))
}
