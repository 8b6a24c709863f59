//! The service behind every gateway: a tonic server that answers from memory with
//! messages encoded before, so that it stays far cheaper than what is measured.
//!
//!     backend ADDRESS     serves
//!     backend --data DIR  writes the descriptors, and what the load sends

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    fs,
    future::{Future, Ready, ready},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use peers::{Raw, v1};
use prost::Message;
use tonic::{
    Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
};
use tower_service::Service;

/// The answers.
struct Store {
    by_id: HashMap<String, Bytes>,
    list_of_50: Bytes,
}

#[derive(Clone)]
struct Catalog(Arc<Store>);

#[derive(Clone, Copy)]
enum Method {
    Get,
    List,
    Create,
}

struct Handler(Arc<Store>, Method);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--data", folder] => write(Path::new(folder)),
        [address] => serve(address).await,
        _ => Err("usage: backend ADDRESS | backend --data DIR".into()),
    }
}

fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    let get = v1::GetProductRequest { id: "p-000007".to_owned() };
    let list = v1::ListProductsRequest { page_size: 50, page_token: String::new() };
    fs::write(folder.join("catalog.fds"), peers::DESCRIPTORS)?;
    fs::write(folder.join("get.grpc"), frame(&get))?;
    fs::write(folder.join("list.grpc"), frame(&list))?;
    fs::write(folder.join("create.grpc"), frame(&peers::product(7)))?;
    Ok(())
}

fn frame(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

async fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let products = (0..1_000).map(peers::product);
    let store = Arc::new(Store {
        by_id: products
            .map(|product| (product.id.clone(), product.encode_to_vec().into()))
            .collect(),
        list_of_50: peers::list(50).encode_to_vec().into(),
    });
    tonic::transport::Server::builder()
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20)
        .max_concurrent_streams(1_024)
        // wrk drops its connections with requests in flight, gateways then reset
        // those streams, and the usual bound of 20 would end the connection.
        .http2_max_pending_accept_reset_streams(Some(100_000))
        .add_service(Catalog(store))
        .serve(address.parse()?)
        .await?;
    Ok(())
}

// === impl Catalog ===

impl NamedService for Catalog {
    const NAME: &'static str = "catalog.v1.Catalog";
}

impl Service<Request<Body>> for Catalog {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = match request.uri().path() {
            "/catalog.v1.Catalog/GetProduct" => Method::Get,
            "/catalog.v1.Catalog/ListProducts" => Method::List,
            "/catalog.v1.Catalog/CreateProduct" => Method::Create,
            _ => return Box::pin(ready(Ok(Status::unimplemented("").into_http()))),
        };
        let handler = Handler(Arc::clone(&self.0), method);
        Box::pin(async move { Ok(Grpc::new(Raw).unary(handler, request).await) })
    }
}

// === impl Handler ===

impl UnaryService<Bytes> for Handler {
    type Response = Bytes;
    type Future = Ready<Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        ready(self.answer(request.into_inner()).map(tonic::Response::new))
    }
}

impl Handler {
    fn answer(&self, request: Bytes) -> Result<Bytes, Status> {
        let unreadable = |error: prost::DecodeError| Status::invalid_argument(error.to_string());
        match self.1 {
            Method::Get => {
                let asked = v1::GetProductRequest::decode(request).map_err(unreadable)?;
                let found = self.0.by_id.get(&asked.id).cloned();
                found.ok_or_else(|| Status::not_found("no such product"))
            }
            Method::List => {
                let asked = v1::ListProductsRequest::decode(request).map_err(unreadable)?;
                if asked.page_size == 50 {
                    return Ok(self.0.list_of_50.clone());
                }
                let size = usize::try_from(asked.page_size).unwrap_or(0).min(1_000);
                Ok(peers::list(size).encode_to_vec().into())
            }
            Method::Create => {
                // Decoded and encoded again: what the gateway sent is really read.
                let product = v1::Product::decode(request).map_err(unreadable)?;
                let is_whole = !product.id.is_empty()
                    && product.price.is_some()
                    && product.create_time.is_some()
                    && !product.tags.is_empty();
                if !is_whole {
                    return Err(Status::invalid_argument("incomplete product"));
                }
                Ok(product.encode_to_vec().into())
            }
        }
    }
}
