//! Any message in, a message of a given length out: what gRPC alone costs here.
//!
//! A stock tonic server with one unary method on tokio's single-threaded runtime and the system's
//! allocator, in a process of its own. It is what throughputs are told as a ratio to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use anyhow::Context as _;
use http::{Request, Response};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, StdError};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic_prost::ProstCodec;

pub(crate) mod https;

/// The path of the method.
pub(crate) const PATH: &str = "/portcullis.loadtest.Echo/Echo";
/// The longest reply that may be asked for, in bytes.
pub(crate) const MAX_REPLY: usize = 60_000;

/// What goes in and out.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct EchoMessage {
    /// Anything.
    #[prost(bytes = "vec", tag = "1")]
    payload: Vec<u8>,
}

impl EchoMessage {
    /// A message that is `length` bytes long when it is encoded.
    pub(crate) fn of_length(length: usize) -> Self {
        let head = |payload: usize| if payload < 0x80 { 2 } else { 3 };
        let payload = length.saturating_sub(head(length.saturating_sub(2)));
        Self { payload: vec![b'.'; payload] }
    }
}

#[derive(Clone)]
struct Echo {
    reply: EchoMessage,
}

impl NamedService for Echo {
    const NAME: &'static str = "portcullis.loadtest.Echo";
}

impl UnaryService<EchoMessage> for Echo {
    type Response = EchoMessage;
    type Future = BoxFuture<tonic::Response<EchoMessage>, tonic::Status>;

    fn call(&mut self, _request: tonic::Request<EchoMessage>) -> Self::Future {
        let reply = self.reply.clone();
        Box::pin(async move { Ok(tonic::Response::new(reply)) })
    }
}

impl<B> Service<Request<B>> for Echo
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    // As tonic's code generator writes it.
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<EchoMessage, EchoMessage>::default());
            Ok(grpc.unary(echo, request).await)
        })
    }
}

/// Serves replies of `reply` bytes at `address` until the process ends, and says where to `listening`.
///
/// # Errors
/// When the address cannot be listened on, or the reply is to be longer than [`MAX_REPLY`].
pub(crate) fn serve(
    address: SocketAddr,
    reply: usize,
    listening: impl FnOnce(SocketAddr) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    anyhow::ensure!(reply <= MAX_REPLY, "a reply of {reply} bytes: at most {MAX_REPLY} are sent");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("failed to listen on {address}"))?;
        listening(listener.local_addr()?)?;
        let echo = Echo { reply: EchoMessage::of_length(reply) };
        // Of a listener that is given, the server does not set this itself: replies would wait for the
        // acknowledgement of those before.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        tonic::transport::Server::builder().add_service(echo).serve_with_incoming(incoming).await?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_reply_is_as_long_as_asked() {
        for length in [3, 100, 129, 131, 132, 500, 16_000] {
            assert_eq!(EchoMessage::of_length(length).encoded_len(), length, "{length}");
        }
    }

    #[test]
    fn a_reply_past_the_bound_is_refused() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let error = serve(address, MAX_REPLY + 1, |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("60001"), "{error}");
    }
}
