//! A port that speaks gRPC as any tonic server does: HTTP/2 with prior knowledge
//! on loopback, and nothing of the mesh's own.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::body::Body;
use tower_service::Service;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    _server: JoinSet<()>,
}

// === impl Upstream ===

impl Upstream {
    /// Serves on a free port of loopback.
    pub async fn start<S>(service: S) -> io::Result<Self>
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut server = JoinSet::new();
        server.spawn(serve(listener, service));
        Ok(Self { address, _server: server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve<S>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let service = TowerToHyperService::new(service.clone());
                connections.spawn(async move {
                    let builder = Builder::new(TokioExecutor::new()).http2_only();
                    // How a connection ends is the client's business.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}
