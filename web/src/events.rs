//! Streams changes of the view as server-sent events.
use crate::app::App;
use crate::problem::Problem;
use crate::view::View;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use serde::Serialize;
use std::convert::Infallible;
use std::time::{Duration, UNIX_EPOCH};

/// Changes closer together than this are one event.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a reader waits before it connects again.
const RETRY: Duration = Duration::from_secs(2);
/// How often a comment is sent when nothing changes: proxies end connections that are silent for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What an event says: enough to know whether to read more.
#[derive(Serialize)]
struct Pulse<'a> {
    phase: &'a str,
    writable: bool,
    revision: u64,
    nodes_known: usize,
    nodes_covered: usize,
    containers: usize,
    containers_streaming: usize,
    events_out: u64,
    events_per_second: f64,
    dropped_lines: u64,
    dead_letters: u64,
}

/// `GET /api/v1/events`: the newest view at once, then each change, until the reader or the server goes.
pub(crate) async fn stream(State(app): State<App>) -> Result<Response, Problem> {
    let room = app.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::unavailable(
            "too many event streams are open; close some pages or read `/api/v1/status` instead",
        )
    })?;
    let stop = app.stop.clone();
    let events = changes(&app).map(move |event| {
        let _held_while_the_stream_lives = &room;
        Ok::<_, Infallible>(event)
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
    let events = events.take_until(stop.cancelled_owned());
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn changes(app: &App) -> impl Stream<Item = Event> + Send + use<> {
    let mut view = app.view.clone();
    view.mark_changed();
    // Ids differ between processes, so that an id of a former one is never taken for one of ours.
    let process = app.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    stream::unfold((view, 0u64), move |(mut view, sent)| async move {
        if sent > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        view.changed().await.ok()?;
        let event = event(&view.borrow_and_update().clone(), &format!("{process:x}-{sent}"));
        Some((event, (view, sent + 1)))
    })
}

fn event(view: &View, id: &str) -> Event {
    let status = &view.status;
    let pulse = Pulse {
        phase: &status.phase,
        writable: status.writable,
        revision: status.revision.0,
        nodes_known: status.nodes_known,
        nodes_covered: status.nodes_covered,
        containers: status.containers,
        containers_streaming: status.containers_streaming,
        events_out: status.events_out,
        events_per_second: status.events_per_second,
        dropped_lines: status.dropped_lines,
        dead_letters: status.dead_letters,
    };
    // JSON has no line breaks of its own here, and numbers and strings can always be written.
    let data = serde_json::to_string(&pulse).unwrap_or_default();
    Event::default().event("view").id(id).retry(RETRY).data(data)
}
