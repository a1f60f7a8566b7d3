//! What the sandbox answers over HTTP: the console's files and the part of the REST API that official SDKs use at start.
//! Who may ask (loopback `Host` and `Origin` only) is judged by the gateway before anything comes here.

mod rest;
mod routes;

use std::{pin::Pin, sync::Arc};

use backplane::Bus;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use store::Store;

use super::workspace::Workspace;

/// Larger request bodies are refused.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Answers requests that are not the gateway's own.
pub type Web = Arc<
    dyn Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>
        + Send
        + Sync,
>;

/// The sandbox's pages and REST API on this workspace.
#[must_use]
pub fn web(bus: Bus, store: Store) -> Web {
    let workspace = Arc::new(Workspace::new(bus, store));
    Arc::new(move |request| {
        let workspace = workspace.clone();
        Box::pin(async move { answer(&workspace, request).await })
    })
}

/// One request, its body read.
struct Asked<'a> {
    method: &'a Method,
    path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
    body: Bytes,
}

async fn answer(workspace: &Workspace, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if let Some(file) = FILES
        .iter()
        .find(|file| file.path == head.uri.path() && head.method == Method::GET)
    {
        return file.response();
    }
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return json(
            StatusCode::PAYLOAD_TOO_LARGE,
            r#"{"success":false,"error":"the body is too large"}"#.to_owned(),
        );
    };
    let asked = Asked {
        method: &head.method,
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
        body: body.to_bytes(),
    };
    workspace.rest(&asked).await
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A file of the console, part of the binary.
struct File {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const FILES: [File; 13] = [
    File {
        path: "/",
        content_type: "text/html; charset=utf-8",
        text: include_str!("console/index.html"),
    },
    File {
        path: "/console.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("console/console.css"),
    },
    File {
        path: "/console.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("console/console.js"),
    },
    File {
        path: "/ddp.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("console/ddp.js"),
    },
    File {
        path: "/dom.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("console/dom.js"),
    },
    File {
        path: "/messages.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("console/messages.js"),
    },
    File {
        path: "/experiments.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("console/experiments.js"),
    },
    File {
        path: "/tour.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("console/tour.js"),
    },
    File {
        path: "/crowd.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("console/crowd.js"),
    },
    File {
        path: "/stalled.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("console/stalled.js"),
    },
    File {
        path: "/figures.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("console/figures.js"),
    },
    File {
        path: "/frames.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("console/frames.js"),
    },
    File {
        path: "/favicon.svg",
        content_type: "image/svg+xml",
        text: include_str!("console/favicon.svg"),
    },
];

impl File {
    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from_static(self.text.as_bytes())));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Isolation from other origins; also what lets a worker of the console put its thread to sleep.
        headers.insert(
            "cross-origin-opener-policy",
            HeaderValue::from_static("same-origin"),
        );
        headers.insert(
            "cross-origin-embedder-policy",
            HeaderValue::from_static("require-corp"),
        );
        // Markup in a message is text; should it ever become more, this still runs no script of it.
        headers.insert(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'self'; worker-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
        );
        response
    }
}
