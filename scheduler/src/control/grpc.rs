//! Speaks gRPC as far as the one method of the control plane needs it. What generated code would do for each stream, encode
//! what it is given into a buffer of its own, is done here once for all of them: streams send shared bytes.
use super::said::Said;
use super::{Attached, Desk, HELLO_MAX};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message;
use proto::control::{ToExecutor, to_executor};
use std::convert::Infallible;
use std::task::{Context, Poll};
use tonic::codegen::{Body, BoxFuture, Service, StdError};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

const PATH: &str = "/logherd.control.v1.Control/Attach";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

impl<B> Service<http::Request<B>> for Desk
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let desk = self.clone();
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("there is only Attach").into_http());
            }
            let (parts, body) = request.into_parts();
            let shown = Request::from_parts(MetadataMap::new(), parts.extensions, ()).peer_certs();
            let said = Said::new(tonic::body::Body::new(body), HELLO_MAX);
            Ok(match desk.attach(said, shown).await {
                Ok(attached) => respond(attached),
                Err(status) => status.into_http(),
            })
        })
    }
}

/// A message as gRPC frames it: not compressed, its length, itself.
pub(super) fn frame(body: to_executor::Body) -> Bytes {
    let message = ToExecutor { body: Some(body) };
    let mut frame = BytesMut::with_capacity(5 + message.encoded_len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

/// The response whose body is what an executor is told, until its trailers say how it ended.
fn respond(attached: Attached) -> http::Response<tonic::body::Body> {
    let frames = unfold(Some(attached), |attached| async move {
        let mut attached = attached?;
        let (frame, rest) = match attached.next().await {
            Some(Ok(bytes)) => (Frame::data(bytes), Some(attached)),
            Some(Err(status)) => (Frame::trailers(trailers(&status)), None),
            None => (Frame::trailers(trailers(&Status::new(Code::Ok, ""))), None),
        };
        Some((Ok::<_, Infallible>(frame), rest))
    });
    let mut response = http::Response::new(tonic::body::Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(error) = status.add_header(&mut trailers) {
        tracing::debug!(%error, "the end of a stream could not be said in words");
    }
    trailers
}
