//! Makes tokens: access tokens with the signing keys, refresh tokens with a
//! secret of this service.
//!
//! Whatever answers a repeated request is kept with its `request_id`, and no
//! token may be kept in a form that can be used. So a transaction makes a
//! *draft*: what the tokens will say, without signature and without secret. The
//! tokens themselves are made from it when the answer leaves, the same ones
//! each time, because Ed25519 and HMAC are deterministic.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::{
    Clock, Database, Fault, Time,
    keys::{Claims, Keys, Kind, LEEWAY, PublicKey, SigningKey, USER_TOKEN_ISSUER},
};
use contracts::identity::v1::Tokens;

use crate::{
    error::Error,
    store::key::{self, KeyRow},
};

/// The secret from which refresh tokens are made.
const REFRESH_SECRET: &str = "refresh_token";
/// How much longer than its tokens a retired key verifies: clocks differ, and
/// another replica signs with it until it looks again.
const RETIREMENT_MARGIN: Duration = Duration::from_secs(120);

/// Makes tokens. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mint(Arc<Shared>);

struct Shared {
    database: Database,
    clock: Clock,
    keys: Keys,
    refresh_secret: hmac::Key,
    ring: ArcSwap<Ring>,
    access_lifetime: Duration,
}

/// The signing keys as they were last read.
#[derive(Default)]
struct Ring {
    signing: Option<Arc<SigningKey>>,
    all: HashMap<String, (Arc<SigningKey>, Option<Time>)>,
}

/// Whose tokens they will be.
#[derive(Debug, Clone)]
pub(crate) struct Bearer {
    pub user_id: String,
    pub kind: Kind,
    pub permissions: Vec<String>,
}

// === impl Mint ===

impl Mint {
    /// Reads the keys, and makes the first ones if there are none.
    pub(crate) async fn open(
        database: Database,
        clock: Clock,
        keys: Keys,
        access_lifetime: Duration,
    ) -> Result<Self, Error> {
        let made = clock.token().into_bytes();
        let secret = key::secret_or_insert(&database, REFRESH_SECRET, made).await?;
        let mint = Self(Arc::new(Shared {
            refresh_secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            ring: ArcSwap::default(),
            database,
            clock,
            keys,
            access_lifetime,
        }));
        if !key::any_signs(&mint.0.database).await? {
            let first = SigningKey::generate()?;
            key::insert_first(&mint.0.database, row_of(&first), mint.0.clock.now()).await?;
        }
        mint.reload().await?;
        Ok(mint)
    }

    /// Reads the keys again: another replica may have rotated them, and retired
    /// ones run out.
    pub(crate) async fn reload(&self) -> Result<(), Error> {
        let mut ring = Ring::default();
        for row in key::all(&self.0.database).await? {
            let key = Arc::new(SigningKey::from_pkcs8(&row.pkcs8)?);
            if row.expire_time.is_none() {
                ring.signing = Some(Arc::clone(&key));
            }
            ring.all.insert(row.kid, (key, row.expire_time));
        }
        self.0.ring.store(Arc::new(ring));
        self.0.keys.install(&self.published())?;
        Ok(())
    }

    /// The public keys that verify now.
    pub(crate) fn published(&self) -> Vec<PublicKey> {
        let now = self.0.clock.now();
        let ring = self.0.ring.load();
        let mut keys: Vec<_> = ring
            .all
            .values()
            .filter(|(_, expire_time)| expire_time.is_none_or(|expire_time| now < expire_time))
            .map(|(key, expire_time)| (*expire_time, key.public().clone()))
            .collect();
        // The one that signs first, then those that last longest.
        keys.sort_by(|(one, a), (other, b)| {
            one.is_some().cmp(&other.is_some()).then(other.cmp(one)).then(a.kid.cmp(&b.kid))
        });
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Until when a key that is retired now must verify.
    pub(crate) fn retirement(&self, now: Time) -> Time {
        now + (self.0.access_lifetime + LEEWAY + RETIREMENT_MARGIN)
    }

    /// What the tokens of a session will say, and the digest by which its
    /// refresh token will be found.
    pub(crate) fn draft(
        &self,
        bearer: Bearer,
        session_id: &str,
        session_expire_time: Time,
        now: Time,
    ) -> Result<(Tokens, Vec<u8>), Error> {
        let signing = self.signing()?;
        let seconds = |time: Time| time.micros() / 1_000_000;
        let expire_time = (now + self.0.access_lifetime).min(session_expire_time);
        let claims = Claims {
            iss: USER_TOKEN_ISSUER.to_owned(),
            aud: USER_TOKEN_ISSUER.to_owned(),
            sub: bearer.user_id,
            kind: bearer.kind,
            perms: bearer.permissions,
            sid: session_id.to_owned(),
            iat: seconds(now),
            exp: seconds(expire_time),
            jti: self.0.clock.id(),
        };
        let claims =
            serde_json::to_string(&claims).map_err(|error| Fault::internal().because(error))?;
        let handle = self.0.clock.token();
        let token_hash = hash(&self.refresh_token(&handle));
        let draft = Tokens {
            access_token: format!("{} {claims}", signing.public().kid),
            access_token_expire_time: Some(expire_time.timestamp()),
            refresh_token: handle,
            refresh_token_expire_time: Some(session_expire_time.timestamp()),
            session_id: session_id.to_owned(),
        };
        Ok((draft, token_hash))
    }

    /// The tokens of a draft.
    pub(crate) fn strike(&self, draft: &mut Tokens) -> Result<(), Error> {
        let (kid, claims) = draft
            .access_token
            .split_once(' ')
            .ok_or_else(|| Fault::internal().because("a draft of tokens names no key"))?;
        let claims: Claims =
            serde_json::from_str(claims).map_err(|error| Fault::internal().because(error))?;
        // A key that is gone by now signed nothing that is still good.
        let key = self.0.ring.load().all.get(kid).map(|(key, _)| Arc::clone(key));
        let key = key.map_or_else(|| self.signing(), Ok)?;
        draft.access_token = key.sign(&claims)?;
        draft.refresh_token = self.refresh_token(&draft.refresh_token);
        Ok(())
    }

    fn signing(&self) -> Result<Arc<SigningKey>, Error> {
        let ring = self.0.ring.load();
        ring.signing
            .clone()
            .ok_or_else(|| Fault::internal().because("there is no signing key").into())
    }

    /// 256 bits that nobody can tell from random who has not the secret.
    fn refresh_token(&self, handle: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0.refresh_secret, handle.as_bytes()))
    }
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mint(***)")
    }
}

/// The form in which a refresh token is kept.
pub(crate) fn hash(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().to_vec()
}

/// A name for something that shall not be kept itself.
pub(crate) fn fingerprint(kind: &str, of: &str) -> String {
    format!("{kind}/{}", URL_SAFE_NO_PAD.encode(hash(of)))
}

/// A key as it is kept.
pub(crate) fn row_of(key: &SigningKey) -> KeyRow {
    KeyRow { kid: key.public().kid.clone(), pkcs8: key.pkcs8().to_vec(), expire_time: None }
}

/// The session that an access token belongs to; empty if it says none. The token
/// was verified before the call got here, so that it need only be read.
pub(crate) fn session_of(authorization: Option<&str>) -> String {
    #[derive(serde::Deserialize)]
    struct Session {
        #[serde(default)]
        sid: String,
    }
    authorization
        .and_then(|value| value.split_once(' '))
        .and_then(|(_, token)| token.split('.').nth(1))
        .and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok())
        .and_then(|payload| serde_json::from_slice::<Session>(&payload).ok())
        .map(|session| session.sid)
        .unwrap_or_default()
}
