//! Callers of every kind.

use std::task::{Context, Poll};

use chassis::{
    Channel, Clock,
    keys::{Claims, Kind, SigningKey, USER_TOKEN_ISSUER},
};
use http::{HeaderValue, Request, header::AUTHORIZATION};
use tonic::body::Body;
use tower::Service;

/// A channel to the service under test for one caller: give it to a generated
/// client.
#[derive(Debug, Clone)]
pub struct As {
    channel: Channel,
    authorization: Option<HeaderValue>,
}

// === impl As ===

impl As {
    /// A channel with or without a user's token.
    pub fn new(channel: Channel, token: Option<String>) -> Self {
        let authorization = token.map(|token| {
            HeaderValue::from_str(&format!("Bearer {token}")).expect("a token is a header value")
        });
        Self { channel, authorization }
    }
}

impl Service<Request<Body>> for As {
    type Response = <Channel as Service<Request<Body>>>::Response;
    type Error = <Channel as Service<Request<Body>>>::Error;
    type Future = <Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.channel.call(request)
    }
}

/// A user's token, good for 15 minutes.
///
/// # Panics
/// If it cannot be signed.
pub fn token(
    signing: &SigningKey,
    clock: &Clock,
    id: &str,
    kind: Kind,
    permissions: &[&str],
) -> String {
    let now = clock.now().micros() / 1_000_000;
    let claims = Claims {
        iss: USER_TOKEN_ISSUER.to_owned(),
        aud: USER_TOKEN_ISSUER.to_owned(),
        sub: id.to_owned(),
        kind,
        perms: permissions.iter().map(|permission| (*permission).to_owned()).collect(),
        sid: String::new(),
        iat: now,
        exp: now + 15 * 60,
        jti: clock.id(),
    };
    signing.sign(&claims).expect("a token can be signed")
}
