//! The crate of the service: what `services/loyalty` would be, in one file, with
//! the code that `build.rs` would generate written by hand.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use chassis::{
    Channel, Database, Error, Fault, Migration, Routes, Service, Statement, args,
    service::Context as Parts,
    store::{self, Tx},
};
use futures_util::{Stream, StreamExt as _, future::BoxFuture, stream};
use http::{Request, Response, uri::PathAndQuery};
use tonic::{
    Status, Streaming,
    body::Body,
    client::Grpc as Client,
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

/// How many messages come before a stream's error.
pub(crate) const MESSAGES: usize = 3;

// === generated, in a service that is one ===

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Balance {
    #[prost(string, tag = "1")]
    pub(crate) member_id: String,
    #[prost(int64, tag = "2")]
    pub(crate) points: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GetBalance {
    #[prost(string, tag = "1")]
    pub(crate) member_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EarnPoints {
    #[prost(string, tag = "1")]
    pub(crate) request_id: String,
    #[prost(string, tag = "2")]
    pub(crate) member_id: String,
    #[prost(int64, tag = "3")]
    pub(crate) points: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WatchPoints {
    #[prost(string, tag = "1")]
    pub(crate) member_id: String,
}

#[derive(Clone, Copy)]
enum ErrorReason {
    MemberLeft,
}

impl contracts::Reason for ErrorReason {
    const DOMAIN: &'static str = "mercat.loyalty.v1";

    fn reason(self) -> &'static str {
        match self {
            Self::MemberLeft => "MEMBER_LEFT",
        }
    }
}

impl NamedService for Loyalty {
    const NAME: &'static str = "mercat.loyalty.v1.LoyaltyService";
}

impl tonic::codegen::Service<Request<Body>> for Loyalty {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match method.as_str() {
                "GetBalance" => Grpc::new(ProstCodec::default()).unary(Get(service), request).await,
                "EarnPoints" => {
                    Grpc::new(ProstCodec::default()).unary(Earn(service), request).await
                }
                _ => {
                    Grpc::new(ProstCodec::default()).server_streaming(Watch(service), request).await
                }
            })
        })
    }
}

struct Get(Loyalty);
struct Earn(Loyalty);
struct Watch(Loyalty);

impl UnaryService<GetBalance> for Get {
    type Response = Balance;
    type Future = BoxFuture<'static, Result<tonic::Response<Balance>, Status>>;

    fn call(&mut self, request: tonic::Request<GetBalance>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move {
            Ok(service
                .get_balance(request.into_inner().member_id)
                .await
                .map(tonic::Response::new)?)
        })
    }
}

impl UnaryService<EarnPoints> for Earn {
    type Response = Balance;
    type Future = BoxFuture<'static, Result<tonic::Response<Balance>, Status>>;

    fn call(&mut self, request: tonic::Request<EarnPoints>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move {
            Ok(service.earn_points(request.into_inner()).await.map(tonic::Response::new)?)
        })
    }
}

impl ServerStreamingService<WatchPoints> for Watch {
    type Response = Balance;
    type ResponseStream = std::pin::Pin<Box<dyn Stream<Item = Result<Balance, Status>> + Send>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<WatchPoints>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move {
            let balance = service.get_balance(request.into_inner().member_id).await?;
            let left =
                Fault::failed_precondition(ErrorReason::MemberLeft).message("the member has left");
            let messages =
                stream::iter(vec![Ok(balance); MESSAGES]).chain(stream::iter([Err(left.into())]));
            let messages: Self::ResponseStream = Box::pin(messages);
            Ok(tonic::Response::new(messages))
        })
    }
}

async fn ready(channel: Channel) -> Client<Channel> {
    let mut client = Client::new(channel);
    client.ready().await.expect("the channel is ready");
    client
}

/// The generated client's call.
pub(crate) async fn get_balance(channel: Channel, request: &GetBalance) -> Result<Balance, Status> {
    let path = PathAndQuery::from_static("/mercat.loyalty.v1.LoyaltyService/GetBalance");
    let codec = ProstCodec::<GetBalance, Balance>::default();
    let answer =
        ready(channel).await.unary(tonic::Request::new(request.clone()), path, codec).await?;
    Ok(answer.into_inner())
}

/// The generated client's call.
pub(crate) async fn watch_points(
    channel: Channel,
    request: &WatchPoints,
) -> Result<Streaming<Balance>, Status> {
    let path = PathAndQuery::from_static("/mercat.loyalty.v1.LoyaltyService/WatchPoints");
    let codec = ProstCodec::<WatchPoints, Balance>::default();
    let answer = ready(channel)
        .await
        .server_streaming(tonic::Request::new(request.clone()), path, codec)
        .await?;
    Ok(answer.into_inner())
}

// === src/lib.rs ===

/// Points for shoppers who come back.
#[derive(Clone)]
pub(crate) struct Loyalty {
    database: Database,
}

impl Service for Loyalty {
    const NAME: &'static str = "loyalty";
    const MIGRATIONS: &'static [Migration] = &[Migration {
        name: "0001_loyalty",
        sql: "create table earning (
    request_id TEXT NOT NULL,
    member_id TEXT NOT NULL,
    points BIGINT NOT NULL,
    constraint earning_pkey primary key (request_id)
);",
    }];
    const STATEMENTS: &'static [&'static [Statement]] = &[STATEMENTS];
    type Config = ();

    fn build(parts: Parts<()>) -> BoxFuture<'static, Result<Routes, Error>> {
        Box::pin(async move { Ok(Routes::new().add(Self { database: parts.database })) })
    }
}

// === src/store.rs ===

chassis::statements! {
    /// The points of a member.
    SUM = "select cast(coalesce(sum(points), 0) as bigint) from earning where member_id = $1";
    /// Points, given once.
    EARN = "insert into earning (request_id, member_id, points) values ($1, $2, $3) on conflict (request_id) do nothing";
}

// === src/rpc.rs ===

impl Loyalty {
    async fn get_balance(&self, member_id: String) -> Result<Balance, Fault> {
        let points = self.database.fetch_one::<i64>(SUM, args![&member_id]).await?;
        Ok(Balance { member_id, points })
    }

    async fn earn_points(&self, earn: EarnPoints) -> Result<Balance, Fault> {
        self.database
            .write(move |tx: &mut Tx| {
                Box::pin(async move {
                    tx.execute(EARN, args![earn.request_id, &earn.member_id, earn.points]).await?;
                    let points = tx.fetch_one::<i64>(SUM, args![&earn.member_id]).await?;
                    Ok::<_, store::Error>(Balance { member_id: earn.member_id, points })
                })
            })
            .await
            .map_err(Fault::from)
    }
}

// === reflection, as grpcurl asks for it ===

#[derive(Clone, PartialEq, prost::Message)]
struct Question {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, optional, tag = "6")]
    services: Option<Services>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    service: Vec<Named>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// The services that a port says it has.
pub(crate) async fn list_services(channel: Channel) -> Vec<String> {
    let path =
        PathAndQuery::from_static("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    let codec = ProstCodec::<Question, Answer>::default();
    let asked = Question { list_services: Some(String::new()), ..Question::default() };
    let mut client = ready(channel).await;
    let answers = client
        .streaming(tonic::Request::new(stream::iter([asked])), path, codec)
        .await
        .expect("it answers");
    let answer =
        answers.into_inner().message().await.expect("it answers well").expect("it answers at all");
    answer.services.unwrap_or_default().service.into_iter().map(|named| named.name).collect()
}
