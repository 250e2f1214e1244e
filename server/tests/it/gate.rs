//! A registry in, the same out, with requests that wait until the test lets them go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_TYPE, LINK};
use http::request::Parts;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::{Site, eventually};

/// Stands between the service and its registry.
pub(crate) struct Gate {
    held: watch::Sender<Option<String>>,
    waiting: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Gate {
    /// Puts an open gate before the registry of `site`.
    pub(crate) async fn before(site: &mut Site) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let host = site.config.registry.hosts.get_mut(site.registry.host()).unwrap();
        host.endpoint = Some(address.to_string());
        let (held, watched) = watch::channel(None);
        let waiting = Arc::new(AtomicUsize::new(0));
        let (count, registry) = (Arc::clone(&waiting), site.registry.address());
        let client = reqwest::Client::new();
        let router = Router::new().fallback(move |request: Request| {
            let (watched, count, client) = (watched.clone(), Arc::clone(&count), client.clone());
            let (request, _) = request.into_parts();
            async move {
                pass(watched, &count, request.uri.path()).await;
                forward(&client, registry, &request).await
            }
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { held, waiting, server }
    }

    /// Holds up all requests whose path holds `part`, from now on.
    pub(crate) fn hold(&self, part: &str) {
        self.held.send_replace(Some(part.to_owned()));
    }

    /// Lets all requests go on.
    pub(crate) fn open(&self) {
        self.held.send_replace(None);
    }

    /// Waits until a request is held up.
    pub(crate) async fn until_one_waits(&self) {
        let waits = async || (self.waiting.load(Ordering::SeqCst) > 0).then_some(());
        eventually("a request at the gate", waits).await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass(mut watched: watch::Receiver<Option<String>>, waiting: &AtomicUsize, path: &str) {
    let open = |held: &Option<String>| held.as_ref().is_none_or(|part| !path.contains(part));
    if open(&watched.borrow()) {
        return;
    }
    waiting.fetch_add(1, Ordering::SeqCst);
    watched.wait_for(open).await.unwrap();
    waiting.fetch_sub(1, Ordering::SeqCst);
}

async fn forward(client: &reqwest::Client, registry: SocketAddr, request: &Parts) -> Response {
    let mut onward = client.get(format!("http://{registry}{}", request.uri));
    if let Some(accept) = request.headers.get(ACCEPT) {
        onward = onward.header(ACCEPT, accept);
    }
    let answer = onward.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for name in [CONTENT_TYPE, LINK] {
        if let Some(value) = answer.headers().get(&name) {
            response = response.header(name, value);
        }
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}
