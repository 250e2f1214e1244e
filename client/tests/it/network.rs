//! Names and addresses in memory, with wires that can be cut and frozen.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use portcullis_client::{Connecting, Connection, Network, Resolving};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, watch};

/// What a wire holds before its writer waits, in bytes.
const WIRE: usize = 64 * 1024;

/// How a host is on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is reached.
    Open,
    /// It is reached, and nothing gets through.
    Frozen,
    /// It is gone, and so are its connections.
    Cut,
}

struct Host {
    connections: mpsc::Sender<DuplexStream>,
    line: watch::Sender<Line>,
}

/// A network. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Net {
    hosts: Arc<Mutex<BTreeMap<SocketAddr, Host>>>,
    name: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Net {
    /// Puts a host on the network; gives who connects to it.
    pub(crate) fn host(&self, address: SocketAddr) -> mpsc::Receiver<DuplexStream> {
        let (connections, accepted) = mpsc::channel(64);
        let line = watch::Sender::new(Line::Open);
        self.hosts.lock().insert(address, Host { connections, line });
        accepted
    }

    /// Changes how a host is reached.
    pub(crate) fn set(&self, address: SocketAddr, line: Line) {
        self.hosts.lock().get(&address).unwrap().line.send_replace(line);
    }

    /// Gives every name these addresses.
    pub(crate) fn name(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        *self.name.lock() = addresses.into_iter().collect();
    }
}

impl Network for Net {
    fn resolve(&self, _: &str, _: u16) -> Resolving {
        let addresses = self.name.lock().clone();
        Box::pin(async move { Ok(addresses) })
    }

    fn connect(&self, address: SocketAddr) -> Connecting {
        let hosts = self.hosts.lock();
        let host = hosts.get(&address);
        let host = host.map(|host| (host.connections.clone(), host.line.subscribe()));
        Box::pin(async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let (connections, line) = host.ok_or_else(refused)?;
            let now = *line.borrow();
            match now {
                Line::Open => {}
                Line::Frozen => pending().await,
                Line::Cut => return Err(refused()),
            }
            let (near, near_end) = tokio::io::duplex(WIRE);
            let (far_end, far) = tokio::io::duplex(WIRE);
            connections.send(far).await.map_err(|_gone| refused())?;
            tokio::spawn(wire(near_end, far_end, line));
            Ok(Box::new(near) as Box<dyn Connection>)
        })
    }
}

/// Carries bytes both ways for as long as the line is open.
async fn wire(near: DuplexStream, far: DuplexStream, mut line: watch::Receiver<Line>) {
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    let (there, back) = (line.clone(), line.clone());
    tokio::select! {
        () = carry(near_read, far_write, there) => {}
        () = carry(far_read, near_write, back) => {}
        _ = line.wait_for(|line| *line == Line::Cut) => {}
    }
}

async fn carry(
    mut from: tokio::io::ReadHalf<DuplexStream>,
    mut to: tokio::io::WriteHalf<DuplexStream>,
    mut line: watch::Receiver<Line>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if line.wait_for(|line| *line != Line::Frozen).await.is_err()
            || to.write_all(&bytes[..count]).await.is_err()
        {
            return;
        }
    }
}
