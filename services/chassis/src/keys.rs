//! Proof of who calls: users' tokens against the identity service's public keys,
//! and services' tokens against the mesh's own key.
//!
//! Users' tokens are JWTs (RFC 7519) signed with Ed25519 (RFC 8037). Nothing in
//! a token chooses how it is verified: the algorithm is fixed, the key is looked
//! up by `kid` among the keys already known, and `jku`, `x5u` and `jwk` headers
//! are never followed.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use contracts::mesh::v1::ErrorReason;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{Clock, Fault, Principal, Time};

/// `iss` and `aud` of a user's token.
pub const USER_TOKEN_ISSUER: &str = "mercat";
/// `iss` and `aud` of a service's token.
pub const SERVICE_TOKEN_ISSUER: &str = "mercat-mesh";
/// The longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far two clocks may disagree.
pub const LEEWAY: Duration = Duration::from_secs(60);
/// How long a service's own token is good for.
const SERVICE_TOKEN_LIFE: Duration = Duration::from_secs(600);
/// How many verified tokens are remembered, in each of two generations.
const VERIFIED_MAX: usize = 8 * 1024;
/// How soon an unknown `kid` may make us ask for the keys again. Whoever comes
/// sooner waits for that: a token signed with a brand-new key is not refused.
const FETCH_PAUSE: Duration = Duration::from_millis(100);

/// Settings of the `[identity]` table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// File with the 32-byte seed (base64url) of the key by which services of one
    /// mesh prove themselves to each other. Without it each process makes its
    /// own, and processes do not trust each other.
    pub mesh_key_file: Option<String>,
}

/// What a user's token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// [`USER_TOKEN_ISSUER`].
    pub iss: String,
    /// [`USER_TOKEN_ISSUER`].
    pub aud: String,
    /// The user's or guest's id.
    pub sub: String,
    /// Whose token it is.
    pub kind: Kind,
    /// Of staff: what the roles permit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub perms: Vec<String>,
    /// The session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sid: String,
    /// Issued, in seconds since 1970.
    pub iat: i64,
    /// Expires, in seconds since 1970.
    pub exp: i64,
    /// The token's own id.
    pub jti: String,
}

/// Whose token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A guest's.
    Guest,
    /// A customer's.
    Customer,
    /// Of a user with roles.
    Staff,
}

/// A public key as the identity service publishes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Names the key.
    pub kid: String,
    /// The Ed25519 public key, base64url without padding.
    pub x: String,
}

/// A key that signs users' tokens; the identity service alone has one.
pub struct SigningKey {
    kid: String,
    encoding: EncodingKey,
    public: PublicKey,
    pkcs8: Vec<u8>,
}

/// Asks the identity service for its public keys.
pub type Fetch = Arc<dyn Fn() -> BoxFuture<'static, Result<Vec<PublicKey>, Fault>> + Send + Sync>;

/// Verifies tokens and makes this service's own. Cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<Shared>);

struct Shared {
    clock: Clock,
    known: ArcSwap<HashMap<String, DecodingKey>>,
    trusted: HashMap<String, DecodingKey>,
    fetch: OnceLock<Fetch>,
    fetched: tokio::sync::Mutex<Option<Instant>>,
    verified: Mutex<Verified>,
    mesh: MeshKey,
    own: Mutex<Option<(HeaderValue, Time)>>,
    name: String,
}

/// The key shared by the services of one mesh.
#[derive(Clone)]
pub struct MeshKey {
    seed: [u8; 32],
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// Tokens that were verified, so that the next call with one costs a look-up.
#[derive(Default)]
struct Verified {
    young: HashMap<String, (Arc<Proof>, i64)>,
    old: HashMap<String, (Arc<Proof>, i64)>,
}

#[derive(Debug)]
enum Proof {
    User(Principal),
    Service(String),
}

#[derive(Serialize, Deserialize)]
struct ServiceClaims {
    iss: String,
    aud: String,
    sub: String,
    exp: i64,
}

#[derive(Deserialize)]
struct RawHeader {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

// === impl Keys ===

impl Keys {
    /// Keys for the service `name`: none of the identity service's yet. Those that
    /// are `trusted` count whatever the identity service says.
    pub fn new(name: &str, mesh: MeshKey, clock: Clock, trusted: &[PublicKey]) -> Self {
        let trusted: HashMap<_, _> = trusted
            .iter()
            .filter_map(|key| {
                Some((key.kid.clone(), DecodingKey::from_ed_components(&key.x).ok()?))
            })
            .collect();
        Self(Arc::new(Shared {
            clock,
            known: ArcSwap::from_pointee(trusted.clone()),
            trusted,
            fetch: OnceLock::new(),
            fetched: tokio::sync::Mutex::new(None),
            verified: Mutex::default(),
            mesh,
            own: Mutex::default(),
            name: name.to_owned(),
        }))
    }

    /// Where to ask for the public keys. The first call counts.
    pub fn fetch_from(&self, fetch: Fetch) {
        let _already_set = self.0.fetch.set(fetch);
    }

    /// Takes these public keys as the ones that count. Keys are replaced as a
    /// whole: one that is missing verifies nothing any more.
    pub fn install(&self, keys: &[PublicKey]) -> Result<(), Fault> {
        let mut known = keys
            .iter()
            .map(|key| Ok((key.kid.clone(), DecodingKey::from_ed_components(&key.x)?)))
            .collect::<Result<HashMap<_, _>, jsonwebtoken::errors::Error>>()
            .map_err(|error| Fault::internal().because(error))?;
        known.extend(self.0.trusted.clone());
        self.0.known.store(Arc::new(known));
        let mut verified = self.0.verified.lock().unwrap_or_else(PoisonError::into_inner);
        *verified = Verified::default();
        Ok(())
    }

    /// Who is behind a user's token.
    pub async fn verify(&self, token: &str) -> Result<Principal, Fault> {
        if let Some(proof) = self.remembered(token) {
            return match &*proof {
                Proof::User(principal) => Ok(principal.clone()),
                Proof::Service(_) => Err(invalid("it is a service's token")),
            };
        }
        let kid = checked_header(token)?.kid.ok_or_else(|| invalid("it names no key"))?;
        if !self.0.known.load().contains_key(&kid) {
            self.refresh().await?;
        }
        let known = self.0.known.load();
        let key = known.get(&kid).ok_or_else(|| invalid("its key is not known"))?;
        let claims: Claims = decode(token, key, USER_TOKEN_ISSUER)?;
        let now = self.seconds();
        let leeway = seconds(LEEWAY);
        if claims.exp.saturating_add(leeway) < now {
            return Err(invalid("it has expired: refresh it"));
        }
        if claims.iat.saturating_sub(leeway) > now {
            return Err(invalid("it was issued in the future"));
        }
        let expires = claims.exp.saturating_add(leeway);
        let principal = claims.principal();
        self.remember(token, Proof::User(principal.clone()), expires);
        Ok(principal)
    }

    /// The service behind a service's token.
    pub fn verify_service(&self, token: &str) -> Result<String, Fault> {
        if let Some(proof) = self.remembered(token) {
            return match &*proof {
                Proof::Service(name) => Ok(name.clone()),
                Proof::User(_) => Err(invalid("it is a user's token")),
            };
        }
        checked_header(token)?;
        let claims: ServiceClaims = decode(token, &self.0.mesh.decoding, SERVICE_TOKEN_ISSUER)?;
        let expires = claims.exp.saturating_add(seconds(LEEWAY));
        if expires < self.seconds() {
            return Err(invalid("the service's token has expired"));
        }
        self.remember(token, Proof::Service(claims.sub.clone()), expires);
        Ok(claims.sub)
    }

    /// This service's own token, as a header value.
    pub fn own_token(&self) -> Option<HeaderValue> {
        let now = self.0.clock.now();
        let mut own = self.0.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, renew)) = &*own
            && now < *renew
        {
            return Some(token.clone());
        }
        let token = self.service_token(&self.0.name)?;
        let mut value = HeaderValue::from_str(&token).ok()?;
        value.set_sensitive(true);
        *own = Some((value.clone(), now + SERVICE_TOKEN_LIFE / 2));
        Some(value)
    }

    fn service_token(&self, name: &str) -> Option<String> {
        self.0.mesh.token(name, self.seconds())
    }

    /// Asks the identity service for its keys, unless that was just done. Done
    /// every so often, it makes sure that a withdrawn key is believed no longer.
    pub async fn refresh(&self) -> Result<(), Fault> {
        let Some(fetch) = self.0.fetch.get() else { return Ok(()) };
        let asked = Instant::now();
        let mut fetched = self.0.fetched.lock().await;
        if let Some(last) = *fetched {
            if last >= asked {
                return Ok(());
            }
            tokio::time::sleep_until(last + FETCH_PAUSE).await;
        }
        let keys = fetch().await.map_err(|fault| {
            Fault::unavailable(ErrorReason::Unavailable)
                .message("the identity service, which vouches for tokens, is away")
                .retry_after(FETCH_PAUSE)
                .because(fault)
        })?;
        *fetched = Some(Instant::now());
        self.install(&keys)
    }

    fn remembered(&self, token: &str) -> Option<Arc<Proof>> {
        let now = self.seconds();
        let verified = self.0.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let (proof, expires) = verified.young.get(token).or_else(|| verified.old.get(token))?;
        (*expires >= now).then(|| proof.clone())
    }

    fn remember(&self, token: &str, proof: Proof, expires: i64) {
        let mut verified = self.0.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.young.len() >= VERIFIED_MAX {
            verified.old = std::mem::take(&mut verified.young);
        }
        verified.young.insert(token.to_owned(), (Arc::new(proof), expires));
    }

    fn seconds(&self) -> i64 {
        self.0.clock.now().micros() / 1_000_000
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("service", &self.0.name).finish_non_exhaustive()
    }
}

// === impl Claims ===

impl Claims {
    fn principal(self) -> Principal {
        match self.kind {
            Kind::Guest => Principal::Guest { id: self.sub },
            Kind::Customer => Principal::Customer { id: self.sub },
            Kind::Staff => Principal::Staff { id: self.sub, permissions: self.perms },
        }
    }
}

// === impl SigningKey ===

impl SigningKey {
    /// A new key. `kid` is the RFC 7638-like fingerprint of its public half.
    pub fn generate() -> Result<Self, Fault> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let document = Ed25519KeyPair::generate_pkcs8(&random)
            .map_err(|error| Fault::internal().because(error))?;
        Self::from_pkcs8(document.as_ref())
    }

    /// A key that was kept.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Fault> {
        let pair =
            Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|error| Fault::internal().because(error))?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let digest =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, pair.public_key().as_ref());
        let kid = URL_SAFE_NO_PAD.encode(digest.as_ref().get(..12).unwrap_or_default());
        Ok(Self {
            encoding: EncodingKey::from_ed_der(pkcs8),
            public: PublicKey { kid: kid.clone(), x },
            pkcs8: pkcs8.to_vec(),
            kid,
        })
    }

    /// The form to keep. A secret.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The half to publish.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a user's token.
    pub fn sign(&self, claims: &Claims) -> Result<String, Fault> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding)
            .map_err(|error| Fault::internal().because(error))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

// === impl MeshKey ===

impl MeshKey {
    /// The key of a 32-byte seed.
    pub fn from_seed(seed: &[u8]) -> Result<Self, Fault> {
        let seed: [u8; 32] = seed.try_into().map_err(|_| {
            Fault::internal().because(format!("the mesh's key has {} bytes, not 32", seed.len()))
        })?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|error| Fault::internal().because(error))?;
        let pkcs8 = pair.to_pkcs8().map_err(|error| Fault::internal().because(error))?;
        Ok(Self {
            seed,
            encoding: EncodingKey::from_ed_der(pkcs8.as_ref()),
            decoding: DecodingKey::from_ed_der(pair.public_key().as_ref()),
        })
    }

    /// A key of which no other process knows.
    pub fn ephemeral() -> Result<Self, Fault> {
        let mut seed = [0_u8; 32];
        aws_lc_rs::rand::fill(&mut seed).map_err(|error| Fault::internal().because(error))?;
        Self::from_seed(&seed)
    }

    /// A secret for another purpose, the same in every process of the mesh.
    pub fn derive(&self, purpose: &str) -> Vec<u8> {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.seed);
        aws_lc_rs::hmac::sign(&key, purpose.as_bytes()).as_ref().to_vec()
    }

    /// Proof of being the service `name`, good for ten minutes from `now_seconds`.
    pub fn token(&self, name: &str, now_seconds: i64) -> Option<String> {
        let claims = ServiceClaims {
            iss: SERVICE_TOKEN_ISSUER.to_owned(),
            aud: SERVICE_TOKEN_ISSUER.to_owned(),
            sub: name.to_owned(),
            exp: now_seconds.saturating_add(seconds(SERVICE_TOKEN_LIFE)),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.encoding).ok()
    }
}

impl fmt::Debug for MeshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshKey(***)")
    }
}

// === the token ===

/// Reads the header by itself first: what it asks for is refused, not followed.
fn checked_header(token: &str) -> Result<RawHeader, Fault> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(invalid("it is too long"));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(_), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(invalid("it is not a signed JWT"));
    };
    let header =
        URL_SAFE_NO_PAD.decode(header).map_err(|_| invalid("its header is not base64url"))?;
    let header: RawHeader =
        serde_json::from_slice(&header).map_err(|_| invalid("its header is not a JWT's"))?;
    if header.alg != "EdDSA" {
        return Err(invalid("its algorithm is not EdDSA"));
    }
    if header.crit.is_some() {
        return Err(invalid("it demands an extension"));
    }
    Ok(header)
}

fn decode<T: serde::de::DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
    issuer: &str,
) -> Result<T, Fault> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&[issuer]);
    validation.set_issuer(&[issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Expiry is judged by our own clock, which a test can turn.
    validation.validate_exp = false;
    jsonwebtoken::decode(token, key, &validation)
        .map(|data| data.claims)
        .map_err(|error| invalid("its signature or claims do not hold").because(error))
}

fn invalid(why: &str) -> Fault {
    Fault::unauthenticated(ErrorReason::TokenInvalid)
        .message(format!("the token is not valid: {why}"))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
