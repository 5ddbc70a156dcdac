//! Answers HTTP requests to an agent: the executor API, the operator API, and the pages for people and tests.

use super::core::validate_call;
use super::run::{Inbox, Message, Reply};
use super::tokens::Tokens;
use crate::master::http::unparsable;
use crate::wire::body::{self, Answer};
use crate::wire::content::{self, Encoding};
use crate::wire::reflect;
use crate::wire::server::Handler;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use operator_api::call::Type;
use proto::mesos::v1::{agent as operator_api, executor};
use serde_json::{Value, json};
use std::path::PathBuf;
use tokio::sync::oneshot;

/// The HTTP side of one agent.
#[derive(Clone)]
pub(crate) struct AgentHttp {
    pub(crate) inbox: Inbox,
    pub(crate) version: String,
    pub(crate) work_dir: PathBuf,
    /// What executors have to show, if anything.
    pub(crate) tokens: Option<Tokens>,
}

/// What an agent answers on its domain socket: executors, at the path with its own name, and nobody else.
#[derive(Clone)]
pub(crate) struct AgentSocket(pub(crate) AgentHttp);

impl Handler for AgentSocket {
    const NAME: &'static str = AgentHttp::NAME;

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match request.uri().path() {
            "/slave(1)/api/v1/executor" => self.0.answer(request).await,
            _ => body::text(403, "403 Forbidden."),
        }
    }
}

impl Handler for AgentHttp {
    const NAME: &'static str = "Agent";

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let path =
            path.strip_prefix("/slave(1)").filter(|rest| rest.starts_with('/')).unwrap_or(path).to_owned();
        let answered = match path.as_str() {
            "/api/v1/executor" => self.executor(request).await,
            "/health" => Ok(body::empty(200)),
            "/version" => Ok(json_answer(&json!({ "version": self.version }))),
            "/state" => self.state().await,
            _ if path == "/api/v1" || path.starts_with("/api/v1/") => self.operator(request).await,
            _ => Err((404, "404 Not Found.".to_owned())),
        };
        answered.unwrap_or_else(|(status, text)| body::text(status, text))
    }
}

impl AgentHttp {
    async fn executor(&self, request: Request<Incoming>) -> Result<Answer, content::Refusal> {
        let claims = match self.tokens.as_ref().map(|tokens| tokens.claims(request.headers())).transpose() {
            Ok(claims) => claims,
            Err(unauthorized) => return Ok(*unauthorized),
        };
        if request.method() != Method::POST {
            return Ok(body::wrong_method("POST", request.method()));
        }
        let headers = request.headers().clone();
        let encoding = content::of_body(&headers)?;
        let bytes = body::read(request.into_body()).await?;
        let call: executor::Call = reflect::decode("mesos.v1.executor.Call", encoding, &bytes)
            .map_err(|problem| unparsable(encoding, &problem))?;
        let kind = validate_call(&call)
            .map_err(|problem| (400, format!("Failed to validate Executor::Call: {problem}")))?;
        let encoding =
            if kind == executor::call::Type::Subscribe { content::of_answer(&headers)? } else { encoding };
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Call { call: Box::new(call), claims, encoding, reply }).await?;
        finish(answer, encoding).await
    }

    async fn operator(&self, request: Request<Incoming>) -> Result<Answer, content::Refusal> {
        if request.method() != Method::POST {
            return Ok(body::wrong_method("POST", request.method()));
        }
        let headers = request.headers().clone();
        let encoding = content::of_body(&headers)?;
        let bytes = body::read(request.into_body()).await?;
        let call: operator_api::Call = reflect::decode("mesos.v1.agent.Call", encoding, &bytes)
            .map_err(|problem| unparsable(encoding, &problem))?;
        let encoding = content::of_answer(&headers)?;
        finish(self.ask(call).await?, encoding).await
    }

    /// The part of `/state` from which the sandboxes of executors can be found.
    async fn state(&self) -> Result<Answer, content::Refusal> {
        let call = |kind: Type| operator_api::Call { r#type: Some(kind.into()), ..Default::default() };
        let mut answers = Vec::new();
        for kind in [Type::GetAgent, Type::GetContainers, Type::GetState] {
            match self.ask(call(kind)).await?.await.map_err(|_| stopping())? {
                Reply::Response(response) => answers.push(*response),
                _ => return Err(stopping()),
            }
        }
        let info =
            answers.iter().find_map(|answer| answer.get_agent.clone()).and_then(|agent| agent.agent_info);
        let info = info.unwrap_or_default();
        let containers = answers.iter().find_map(|answer| answer.get_containers.clone()).unwrap_or_default();
        let state = answers.iter().find_map(|answer| answer.get_state.clone()).unwrap_or_default();
        let id = info.id.as_ref().map(|id| id.value.clone()).unwrap_or_default();
        let frameworks = state.get_frameworks.unwrap_or_default().frameworks;
        let tasks = state.get_tasks.unwrap_or_default();
        let tasks: Vec<_> = tasks.launched_tasks.into_iter().chain(tasks.queued_tasks).collect();
        let executors = |framework: &str| -> Vec<Value> {
            let own = containers
                .containers
                .iter()
                .filter(|one| one.framework_id.as_ref().is_some_and(|id| id.value == framework));
            own.map(|one| {
                let executor = one.executor_id.as_ref().map(|id| id.value.as_str()).unwrap_or_default();
                let sandbox = self.work_dir.join(format!(
                    "slaves/{id}/frameworks/{framework}/executors/{executor}/runs/{}",
                    one.container_id.value
                ));
                let of_executor =
                    tasks.iter().filter(|t| t.executor_id.as_ref().is_some_and(|e| e.value == executor));
                json!({
                    "id": executor,
                    "name": one.executor_name(),
                    "container": one.container_id.value,
                    "directory": sandbox.display().to_string(),
                    "tasks": of_executor.map(|task| json!({
                        "id": task.task_id.value, "name": task.name, "state": task.state().as_str_name(),
                    })).collect::<Vec<_>>(),
                })
            })
            .collect()
        };
        Ok(json_answer(&json!({
            "id": id,
            "hostname": info.hostname,
            "version": self.version,
            "flags": { "work_dir": self.work_dir.display().to_string() },
            "frameworks": frameworks.iter().map(|framework| {
                let id = framework.framework_info.id.as_ref().map(|id| id.value.as_str()).unwrap_or_default();
                json!({ "id": id, "name": framework.framework_info.name, "executors": executors(id) })
            }).collect::<Vec<_>>(),
        })))
    }

    async fn ask(&self, call: operator_api::Call) -> Result<oneshot::Receiver<Reply>, content::Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Operator { call: Box::new(call), reply }).await?;
        Ok(answer)
    }

    async fn tell(&self, message: Message) -> Result<(), content::Refusal> {
        if self.inbox.tell(message).await { Ok(()) } else { Err(stopping()) }
    }
}

fn stopping() -> content::Refusal {
    (503, "the agent is stopping".into())
}

async fn finish(answer: oneshot::Receiver<Reply>, encoding: Encoding) -> Result<Answer, content::Refusal> {
    Ok(match answer.await.map_err(|_| stopping())? {
        Reply::Refused(status, text) => body::text(status, text),
        Reply::Accepted => body::empty(202),
        Reply::Response(response) => {
            let bytes = reflect::encode("mesos.v1.agent.Response", encoding, &*response)
                .map_err(|problem| (500, format!("cannot encode the response: {problem}")))?;
            body::encoded(encoding, bytes)
        }
        Reply::Stream(body) => {
            let mut answer = Response::new(body);
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
            answer
        }
    })
}

fn json_answer(value: &Value) -> Answer {
    body::whole(200, "application/json", value.to_string())
}
