//! Serves the page's own style sheet, script and picture.
use crate::app::App;
use crate::conditional;
use crate::problem::Problem;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

struct Asset {
    path: &'static str,
    media_type: &'static str,
    content: &'static str,
}

const ASSETS: [Asset; 3] = [
    Asset {
        path: "/assets/page.css",
        media_type: "text/css; charset=utf-8",
        content: include_str!("../assets/page.css"),
    },
    Asset {
        path: "/assets/page.js",
        media_type: "text/javascript; charset=utf-8",
        content: include_str!("../assets/page.js"),
    },
    Asset {
        path: "/assets/logo.svg",
        media_type: "image/svg+xml",
        content: include_str!("../assets/logo.svg"),
    },
];

/// A text that changes with any asset: part of their addresses in the page, so that they may be cached for ever.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in &ASSETS {
        hash.update(asset.content);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
});

/// The routes.
pub(crate) fn routes() -> Router<App> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        router.route(asset.path, get(move |headers: HeaderMap| async move { send(asset, &headers) }))
    })
}

fn send(asset: &'static Asset, headers: &HeaderMap) -> Result<Response, Problem> {
    let tag = format!("\"{}\"", *VERSION);
    let mut response = match conditional::reads(headers, &tag)? {
        true => asset.content.into_response(),
        false => StatusCode::NOT_MODIFIED.into_response(),
    };
    conditional::set_tag(&mut response, &tag);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    Ok(response)
}
