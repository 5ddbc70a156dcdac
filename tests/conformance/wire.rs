//! Speaks the v1 API without any help: requests, status codes, streams of records.

use crate::place::Place;
use prost::Message;
use proto::recordio::{Decoder, Limits};
use reqwest::{Client, Method, Response};
use std::marker::PhantomData;
use std::time::Duration;

pub(crate) const PROTOBUF: &str = "application/x-protobuf";
/// The headers that every well-formed call has.
pub(crate) const PLAIN: [(&str, &str); 2] = [("content-type", PROTOBUF), ("accept", PROTOBUF)];

/// A client of one cluster.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    master: String,
    credentials: Option<(String, String)>,
    patience: Duration,
}

impl Http {
    pub(crate) fn new(place: &Place) -> Self {
        // What else of this process needs TLS may have chosen already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().http1_only().redirect(reqwest::redirect::Policy::none()).no_proxy();
        Self {
            client: client.build().unwrap(),
            master: place.master.clone(),
            credentials: place.credentials.clone(),
            patience: place.patience,
        }
    }

    /// One request to the master.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response {
        self.ask_at(&self.master, (method, path), headers, body).await
    }

    /// One request to any address.
    pub(crate) async fn ask_at(
        &self,
        address: &str,
        (method, path): (Method, &str),
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response {
        let mut request = self.client.request(method, format!("http://{address}{path}")).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some((principal, secret)) = &self.credentials {
            request = request.basic_auth(principal, Some(secret));
        }
        let answer = tokio::time::timeout(self.patience, request.send()).await;
        answer.expect("an answer in time").unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The status of one POST to the scheduler API.
    pub(crate) async fn status(&self, headers: &[(&str, &str)], body: Vec<u8>) -> u16 {
        self.ask(Method::POST, "/api/v1/scheduler", headers, body).await.status().as_u16()
    }
}

/// The events of one stream.
pub(crate) struct Events<E> {
    body: Option<Response>,
    decoder: Decoder,
    patience: Duration,
    kind: PhantomData<E>,
}

impl<E: Message + Default> Events<E> {
    pub(crate) fn new(body: Response, patience: Duration) -> Self {
        Self { body: Some(body), decoder: Decoder::new(Limits::default()), patience, kind: PhantomData }
    }

    /// The next event; none when the stream has ended or broken.
    async fn read(&mut self) -> Option<E> {
        loop {
            if let Some(record) = self.decoder.next().unwrap() {
                return Some(E::decode(record).unwrap());
            }
            let chunk = self.body.as_mut()?.chunk().await.ok()??;
            self.decoder.push(&chunk);
        }
    }

    pub(crate) async fn next(&mut self) -> Option<E> {
        let patience = self.patience;
        tokio::time::timeout(patience, self.read()).await.expect("an event or the end in time")
    }

    /// The first event of which the function makes something; others are dropped.
    pub(crate) async fn find<T>(&mut self, what: &str, mut wanted: impl FnMut(E) -> Option<T>) -> T {
        let patience = self.patience;
        let found = tokio::time::timeout(patience, async {
            loop {
                let event = self.read().await.unwrap_or_else(|| panic!("the stream ended before {what}"));
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("not in time: {what}"))
    }

    /// What comes within a time.
    pub(crate) async fn during(&mut self, time: Duration) -> Vec<E> {
        let mut events = Vec::new();
        let listened = tokio::time::timeout(time, async {
            while let Some(event) = self.read().await {
                events.push(event);
            }
        });
        // Either the stream ended or the time is over; both end the list.
        drop(listened.await);
        events
    }

    /// Everything until the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<E> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Closes the connection.
    pub(crate) fn hang_up(&mut self) {
        self.body = None;
    }
}
