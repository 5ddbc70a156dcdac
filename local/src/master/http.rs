//! Answers HTTP requests to a master: the scheduler API, the operator API, and the pages for people and tests.

use super::core::validate_call;
use super::run::{Inbox, Message, Reply};
use super::state_json;
use crate::wire::basic;
use crate::wire::body::{self, Answer};
use crate::wire::content::{self, Encoding};
use crate::wire::reflect;
use crate::wire::server::Handler;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use operator_api::call::Type;
use operator_api::response::GetState;
use proto::mesos::v1::{self as mesos, master as operator_api, scheduler};
use std::sync::Arc;
use tokio::sync::oneshot;

const STREAM_ID: &str = "mesos-stream-id";

/// The HTTP side of one master.
#[derive(Clone)]
pub(crate) struct MasterHttp {
    pub(crate) inbox: Inbox,
    pub(crate) info: mesos::MasterInfo,
    /// Principals and secrets; none means that nobody is asked.
    pub(crate) credentials: Arc<[(String, String)]>,
}

impl Handler for MasterHttp {
    const NAME: &'static str = "Master";

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let path =
            path.strip_prefix("/master").filter(|rest| rest.starts_with('/')).unwrap_or(path).to_owned();
        let answered = match path.as_str() {
            "/api/v1/scheduler" => self.scheduler(request).await,
            "/health" => Ok(body::empty(200)),
            "/redirect" => Ok(body::redirect(&format!("//{}", self.address()))),
            "/version" => Ok(json(&serde_json::json!({ "version": self.info.version() }))),
            "/teardown" => self.teardown(request).await,
            "/maintenance/schedule" | "/maintenance/status" | "/machine/down" | "/machine/up" => {
                self.maintenance(request, &path).await
            }
            "/metrics/snapshot" => self.metrics().await,
            "/state" | "/slaves" | "/frameworks" | "/tasks" => self.page(&path).await,
            _ if path == "/api/v1" || path.starts_with("/api/v1/") => self.operator(request).await,
            _ => Err((404, "404 Not Found.".to_owned())),
        };
        answered.unwrap_or_else(|(status, text)| body::text(status, text))
    }
}

impl MasterHttp {
    async fn scheduler(&self, request: Request<Incoming>) -> Result<Answer, content::Refusal> {
        if request.method() != Method::POST {
            return Ok(body::wrong_method("POST", request.method()));
        }
        let headers = request.headers().clone();
        let principal = match basic::principal(&self.credentials, "mesos-master-scheduler", &headers) {
            Ok(principal) => principal,
            Err(unauthorized) => return Ok(*unauthorized),
        };
        let encoding = content::of_body(&headers)?;
        let bytes = body::read(request.into_body()).await?;
        let call: scheduler::Call = reflect::decode("mesos.v1.scheduler.Call", encoding, &bytes)
            .map_err(|problem| unparsable(encoding, &problem))?;
        let kind = validate_call(&call)
            .map_err(|problem| (400, format!("Failed to validate scheduler::Call: {problem}")))?;
        let encoding =
            if kind == scheduler::call::Type::Subscribe { content::of_answer(&headers)? } else { encoding };
        let stream_id = headers.get(STREAM_ID).map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Call { call: Box::new(call), encoding, stream_id, principal, reply }).await?;
        finish(answer, encoding).await
    }

    async fn operator(&self, request: Request<Incoming>) -> Result<Answer, content::Refusal> {
        if request.method() != Method::POST {
            return Ok(body::wrong_method("POST", request.method()));
        }
        let headers = request.headers().clone();
        if let Err(unauthorized) = self.operator_principal(&headers) {
            return Ok(*unauthorized);
        }
        let encoding = content::of_body(&headers)?;
        let bytes = body::read(request.into_body()).await?;
        let call: operator_api::Call = reflect::decode("mesos.v1.master.Call", encoding, &bytes)
            .map_err(|problem| unparsable(encoding, &problem))?;
        if call.r#type.is_none_or(|number| Type::try_from(number).is_err()) {
            return Err((400, "Failed to validate master::Call: Expecting 'type' to be present".into()));
        }
        let encoding = content::of_answer(&headers)?;
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Operator { call: Box::new(call), encoding, reply }).await?;
        finish(answer, encoding).await
    }

    /// Who calls as an operator; nobody is asked where there are no credentials.
    pub(super) fn operator_principal(&self, headers: &HeaderMap) -> Result<Option<String>, Box<Answer>> {
        basic::principal(&self.credentials, "mesos-master-readwrite", headers)
    }

    /// `POST /teardown` with the form `frameworkId=…`.
    async fn teardown(&self, request: Request<Incoming>) -> Result<Answer, content::Refusal> {
        if request.method() != Method::POST {
            return Ok(body::wrong_method("POST", request.method()));
        }
        if let Err(unauthorized) = self.operator_principal(request.headers()) {
            return Ok(*unauthorized);
        }
        let bytes = body::read(request.into_body()).await?;
        let form = String::from_utf8_lossy(&bytes).into_owned();
        let id = form.split('&').find_map(|pair| pair.strip_prefix("frameworkId="));
        let Some(id) = id else { return Err((400, "Missing 'frameworkId' query parameter".into())) };
        let teardown =
            operator_api::call::Teardown { framework_id: mesos::FrameworkId { value: id.to_owned() } };
        let call = operator_api::Call { teardown: Some(teardown), ..call(Type::Teardown) };
        match self.ask(call).await? {
            Reply::Refused(status, text) => Err((status, text)),
            _ => Ok(body::empty(200)),
        }
    }

    async fn metrics(&self) -> Result<Answer, content::Refusal> {
        let metrics = match self.ask(call(Type::GetMetrics)).await? {
            Reply::Response(response) => response.get_metrics.unwrap_or_default().metrics,
            _ => Vec::new(),
        };
        let map: serde_json::Map<String, serde_json::Value> = metrics
            .into_iter()
            .map(|metric| (metric.name, metric.value.unwrap_or_default().into()))
            .collect();
        Ok(json(&map.into()))
    }

    async fn page(&self, path: &str) -> Result<Answer, content::Refusal> {
        let state = match self.ask(call(Type::GetState)).await? {
            Reply::Response(response) => response.get_state.unwrap_or_default(),
            _ => GetState::default(),
        };
        let whole = state_json::state(&self.info, &state);
        let only = |names: [&str; 2]| {
            let parts = names.map(|name| (name.to_owned(), whole.get(name).cloned().unwrap_or_default()));
            serde_json::Value::Object(parts.into_iter().collect())
        };
        let part = match path {
            "/slaves" => only(["slaves", "recovered_slaves"]),
            "/frameworks" => only(["frameworks", "completed_frameworks"]),
            "/tasks" => serde_json::json!({ "tasks": state_json::tasks(&state) }),
            _ => whole.clone(),
        };
        Ok(json(&part))
    }

    pub(super) async fn ask(&self, call: operator_api::Call) -> Result<Reply, content::Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Operator { call: Box::new(call), encoding: Encoding::Protobuf, reply }).await?;
        answer.await.map_err(|_| stopping())
    }

    async fn tell(&self, message: Message) -> Result<(), content::Refusal> {
        if self.inbox.tell(message).await { Ok(()) } else { Err(stopping()) }
    }

    fn address(&self) -> String {
        format!("{}:{}", self.info.hostname(), self.info.port)
    }
}

pub(super) fn call(kind: Type) -> operator_api::Call {
    operator_api::Call { r#type: Some(kind.into()), ..Default::default() }
}

fn stopping() -> content::Refusal {
    (503, "the master is stopping".into())
}

/// The text that a real Mesos gives, with the cause after it.
pub(crate) fn unparsable(encoding: Encoding, problem: &str) -> content::Refusal {
    match encoding {
        Encoding::Protobuf => (400, format!("Failed to parse body into Call protobuf ({problem})")),
        Encoding::Json => (400, format!("Failed to convert JSON into Call protobuf: {problem}")),
    }
}

async fn finish(answer: oneshot::Receiver<Reply>, encoding: Encoding) -> Result<Answer, content::Refusal> {
    Ok(match answer.await.map_err(|_| stopping())? {
        Reply::Refused(status, text) => body::text(status, text),
        Reply::Accepted => body::empty(202),
        Reply::Done => body::empty(200),
        Reply::Response(response) => {
            let bytes = reflect::encode("mesos.v1.master.Response", encoding, &*response)
                .map_err(|problem| (500, format!("cannot encode the response: {problem}")))?;
            body::encoded(encoding, bytes)
        }
        Reply::Stream { body, stream_id } => stream_answer(body, encoding, stream_id),
    })
}

fn stream_answer(body: body::Body, encoding: Encoding, stream_id: Option<String>) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
    if let Some(id) = stream_id.and_then(|id| HeaderValue::from_str(&id).ok()) {
        answer.headers_mut().insert(STREAM_ID, id);
    }
    answer
}

fn json(value: &serde_json::Value) -> Answer {
    body::whole(200, "application/json", value.to_string())
}
