//! Any body in, a body of a given length out: what HTTPS alone costs here.
//!
//! Stock hyper over rustls on tokio's single-threaded runtime and the system's allocator, in a process of
//! its own. It reads each body whole, as who looks into it must.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::MAX_REPLY;
use crate::certificate;

/// Serves replies of `reply` bytes at `address` until the process ends, with the certificate in `folder`,
/// and says where to `listening`.
///
/// # Errors
/// When the address cannot be listened on, the certificate cannot be used, or the reply is to be longer than
/// [`MAX_REPLY`].
pub(crate) fn serve(
    address: SocketAddr,
    reply: usize,
    folder: &Path,
    listening: impl FnOnce(SocketAddr) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    anyhow::ensure!(reply <= MAX_REPLY, "a reply of {reply} bytes: at most {MAX_REPLY} are sent");
    let acceptor = TlsAcceptor::from(certificate::server(folder)?);
    let reply = Bytes::from(vec![b'.'; reply]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("failed to listen on {address}"))?;
        listening(listener.local_addr()?)?;
        accept(&listener, acceptor, reply).await
    })
}

async fn accept(listener: &TcpListener, acceptor: TlsAcceptor, reply: Bytes) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await.context("failed to accept a connection")?;
        // A client may go away at any time; that is nothing to report.
        tokio::spawn(connection(acceptor.clone(), stream, reply.clone()));
    }
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, reply: Bytes) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let service = service_fn(|request| answer(request, reply.clone()));
    Ok(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?)
}

/// A body that ends early is answered as any other: nobody is there to read it.
async fn answer(
    request: Request<Incoming>,
    reply: Bytes,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let read = request.into_body().collect().await;
    drop(read);
    let mut response = Response::new(Full::new(reply));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_past_the_bound_is_refused() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let error = serve(address, MAX_REPLY + 1, Path::new(""), |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("60001"), "{error}");
    }
}
