//! Connections in, replies out: the one place of the responder that does IO.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Reply, Shared};

/// The largest request that is read, in bytes.
const MAX_REQUEST: usize = 64 * 1024;

/// Serves until it is aborted. The connections are owned here, so that they end with it.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(respond(&shared, request).await) }
    });
    // A connection ends in an error when the client cut it, which is not for us to report.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    shared.requests.lock().push(format!("{} {path}", head.method));
    let Ok(body) = Limited::new(body, MAX_REQUEST).collect().await else {
        return status(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let answering = shared.replies.lock().get(path.as_str()).cloned();
    let reply = answering.map_or(Reply::Status(404), |answer| answer(&body.to_bytes()));
    match reply {
        Reply::Bytes(bytes) => Response::new(Full::from(bytes)),
        Reply::Status(code) => {
            status(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
        Reply::Redirect(url) => {
            let mut response = status(StatusCode::FOUND);
            if let Ok(url) = url.parse() {
                response.headers_mut().insert(LOCATION, url);
            }
            response
        }
        Reply::Hang => std::future::pending().await,
    }
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = code;
    response
}
