//! The address for operators: `/metrics`, `/health` and `/ready`, over HTTP.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the figures, as OpenMetrics |
//! | `/health` | 200 while the process can answer |
//! | `/ready` | 200 while writes are accepted; 503 with the reason after the log has failed, and during the end |

use crate::metrics::Figures;
use crate::shared::Shared;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
/// Connections at a time.
const MOST_CONNECTIONS: usize = 64;
/// A client that takes longer to send the head of a request is cut.
const PATIENCE: Duration = Duration::from_secs(10);
/// After an error of accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the threads of the server end, so that `/ready` says that it is ending.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let figures = Arc::new(Figures::of(&shared));
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (shared, figures) = (Arc::clone(&shared), Arc::clone(&figures));
        tokio::spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| {
                let response = answer(request.method(), request.uri().path(), &shared, &figures);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), answer);
            // An error is the client's: it has gone, or sent no HTTP.
            let _ = connection.await;
            drop(place);
        });
    }
}

fn answer(method: &Method, path: &str, shared: &Shared, figures: &Figures) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => match figures.text() {
            Ok(figures) => response(StatusCode::OK, METRICS, figures),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the figures cannot be written\n"),
        },
        "/health" => text(StatusCode::OK, "ok\n"),
        "/ready" => match not_ready(shared) {
            None => text(StatusCode::OK, "ready\n"),
            Some(reason) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason + "\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /health and /ready\n"),
    }
}

fn not_ready(shared: &Shared) -> Option<String> {
    if shared.is_stopping() {
        return Some("the server is ending".to_string());
    }
    shared.store.engine.stats().failed.map(|reason| format!("no write is accepted: {reason}"))
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, TEXT, text)
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
