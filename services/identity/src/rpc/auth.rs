//! `AuthService`: registering, signing in, tokens and the keys that sign them.
//! What ends sessions is in [`super::session`].

use std::time::Duration;

use chassis::{
    Caller, Principal, Time, event::Event, idempotency::REPLAYED, keys::SigningKey,
    listen::PeerAddr,
};
use contracts::identity::v1::{
    self as api, GuestUpgraded, IssueGuestTokenRequest, IssueGuestTokenResponse, Jwk, LoginRequest,
    LoginResponse, PasswordChanged, RefreshTokenRequest, RefreshTokenResponse, RegisterRequest,
    RegisterResponse, RevocationCause, UpgradeGuestRequest, UpgradeGuestResponse,
    auth_service_server::AuthService,
};
use tonic::{Request, Response, Status};

use super::{Arrival, Rpc, bearer, enrol, own_session, user_agent};
use crate::{
    domain::{self, Holder, Status as AccountStatus},
    error::Error,
    store::{
        account::{self, Attempt, Credentials, Newcomer},
        key, session as sessions,
    },
    token::{fingerprint, row_of},
};

/// How long after its end a session, or a key, is kept to be looked at.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How many rows one transaction of a sweep forgets at most.
const SWEEP_MAX: i64 = 1_000;
/// How many of those one sweep makes at most.
const SWEEPS_MAX: u32 = 100;

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl AuthService for Rpc {
    async fn register(&self, request: Request<RegisterRequest>) -> Reply<RegisterResponse> {
        let RegisterRequest { email, password, display_name, .. } = request.get_ref();
        let newcomer = self.newcomer(self.clock.id(), email, password, display_name).await?;
        let (this, user_agent) = (self.clone(), user_agent(&request));
        let response = self
            .database
            .once(&request, move |tx, _| {
                Box::pin(async move {
                    let now = this.clock.now();
                    let account = enrol(tx, &newcomer, now).await?;
                    let user_id = account.user_id.clone();
                    let tokens = this
                        .open_session(
                            tx,
                            Arrival { user_id, holder: Holder::User, user_agent },
                            now,
                        )
                        .await?;
                    Ok::<_, Error>(RegisterResponse {
                        user: Some(account.into()),
                        tokens: Some(tokens),
                    })
                })
            })
            .await?;
        Ok(self.with_tokens(response, |response| &mut response.tokens)?)
    }

    async fn login(&self, request: Request<LoginRequest>) -> Reply<LoginResponse> {
        let place = self.hasher.place()?;
        let email = domain::normalize_email(&request.get_ref().email);
        let attempts = self.attempts(&request, &email);
        account::charge(&self.database, attempts.clone(), self.clock.now()).await?;
        let found =
            account::credentials_of_email(&self.database, &email).await.map_err(Error::from)?;
        let hash = found.as_ref().map(|found| found.password_hash.as_str());
        let matches = place.verify(&request.get_ref().password, hash).await?;
        let Some(found) = found.filter(|_| matches) else {
            return Err(Error::InvalidCredentials.into());
        };
        let response = self.open_for(&request, found, attempts.clone()).await?;
        if response.metadata().contains_key(REPLAYED) {
            // The first call forgave its own attempt; this one was charged anew.
            self.forgive(attempts).await?;
        }
        Ok(self.with_tokens(response, |response| &mut response.tokens)?)
    }

    async fn refresh_token(
        &self,
        request: Request<RefreshTokenRequest>,
    ) -> Reply<RefreshTokenResponse> {
        let this = self.clone();
        let refreshed = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let now = this.clock.now();
                    let session = sessions::present(tx, &message.refresh_token, now).await?;
                    // The account before the session, in this order everywhere.
                    let bearer = bearer(tx, &session.user_id, session.holder).await?;
                    let expire_time =
                        this.lifetimes.expire_time(session.holder, session.create_time, now);
                    sessions::spend(tx, &session, &message.refresh_token, expire_time, now).await?;
                    let (draft, token_hash) =
                        this.mint.draft(bearer, &session.session_id, expire_time, now)?;
                    sessions::insert_token(tx, &session.session_id, token_hash, now).await?;
                    Ok::<_, Error>(RefreshTokenResponse { tokens: Some(draft) })
                })
            })
            .await;
        if let Err(Error::RefreshTokenReused { session_id }) = &refreshed {
            // What was refused was rolled back; this must be kept.
            self.revoke_stolen(session_id.clone()).await?;
        }
        Ok(self.with_tokens(refreshed?, |response| &mut response.tokens)?)
    }

    async fn issue_guest_token(
        &self,
        request: Request<IssueGuestTokenRequest>,
    ) -> Reply<IssueGuestTokenResponse> {
        let (this, user_agent) = (self.clone(), user_agent(&request));
        let response = self
            .database
            .once(&request, move |tx, _| {
                Box::pin(async move {
                    let guest_id = this.clock.id();
                    let arrival =
                        Arrival { user_id: guest_id.clone(), holder: Holder::Guest, user_agent };
                    let tokens = this.open_session(tx, arrival, this.clock.now()).await?;
                    Ok::<_, Error>(IssueGuestTokenResponse { guest_id, tokens: Some(tokens) })
                })
            })
            .await?;
        Ok(self.with_tokens(response, |response| &mut response.tokens)?)
    }

    async fn upgrade_guest(
        &self,
        request: Request<UpgradeGuestRequest>,
    ) -> Reply<UpgradeGuestResponse> {
        let Principal::Guest { id: guest_id } = Caller::of(&request).principal().clone() else {
            return Err(Error::NotAGuest.into());
        };
        let UpgradeGuestRequest { email, password, display_name, .. } = request.get_ref();
        let newcomer = self.newcomer(guest_id, email, password, display_name).await?;
        let (this, user_agent) = (self.clone(), user_agent(&request));
        let response = self
            .database
            .once(&request, move |tx, _| {
                Box::pin(async move {
                    let now = this.clock.now();
                    let account = enrol(tx, &newcomer, now).await?;
                    let user_id = account.user_id.clone();
                    sessions::revoke_all(tx, &user_id, "", RevocationCause::GuestUpgraded, now)
                        .await?;
                    let account = account::touch(tx, &user_id, now).await?;
                    let event = GuestUpgraded { user_id: user_id.clone() };
                    tx.publish(Event::new(&event).subject(&user_id).version(account.version))
                        .await?;
                    let tokens = this
                        .open_session(
                            tx,
                            Arrival { user_id, holder: Holder::User, user_agent },
                            now,
                        )
                        .await?;
                    Ok::<_, Error>(UpgradeGuestResponse {
                        user: Some(account.into()),
                        tokens: Some(tokens),
                    })
                })
            })
            .await?;
        Ok(self.with_tokens(response, |response| &mut response.tokens)?)
    }

    async fn change_password(
        &self,
        request: Request<api::ChangePasswordRequest>,
    ) -> Reply<api::ChangePasswordResponse> {
        let place = self.hasher.place()?;
        let user_id = Caller::of(&request).demand_subject()?.to_owned();
        let found =
            account::credentials_of_user(&self.database, &user_id).await.map_err(Error::from)?;
        let found = found.ok_or(Error::UserNotFound)?;
        let api::ChangePasswordRequest { current_password, new_password, .. } = request.get_ref();
        domain::check_password(new_password, &found.email)
            .map_err(|weakness| Error::WeakPassword { field: "new_password", weakness })?;
        let attempts = self.attempts(&request, &found.email);
        account::charge(&self.database, attempts.clone(), self.clock.now()).await?;
        // Judged inside, so that the repetition of a call that succeeded, whose
        // current password is no longer current, gets the first answer.
        let matches = place.verify(current_password, Some(&found.password_hash)).await?;
        let hash = place.hash(new_password).await?;
        let (this, own_session) = (self.clone(), own_session(&request));
        let response = self
            .database
            .once(&request, move |tx, _| {
                Box::pin(async move {
                    let now = this.clock.now();
                    if !matches {
                        return Err(Error::InvalidCredentials);
                    }
                    account::lock_active(tx, &user_id).await?;
                    let account =
                        account::set_password(tx, &user_id, &found.password_hash, &hash, now)
                            .await?;
                    let cause = RevocationCause::PasswordChanged;
                    let revoked_count =
                        sessions::revoke_all(tx, &user_id, &own_session, cause, now).await?;
                    let event = PasswordChanged { user_id: user_id.clone() };
                    tx.publish(Event::new(&event).subject(&user_id).version(account.version))
                        .await?;
                    account::forgive(tx, &attempts).await?;
                    Ok(api::ChangePasswordResponse { revoked_count })
                })
            })
            .await?;
        Ok(response)
    }

    async fn logout(&self, request: Request<api::LogoutRequest>) -> Reply<api::LogoutResponse> {
        self.end_session_of_token(request).await
    }

    async fn list_sessions(
        &self,
        request: Request<api::ListSessionsRequest>,
    ) -> Reply<api::ListSessionsResponse> {
        self.sessions_of_user(request).await
    }

    async fn revoke_session(
        &self,
        request: Request<api::RevokeSessionRequest>,
    ) -> Reply<api::RevokeSessionResponse> {
        self.end_session(request).await
    }

    async fn revoke_all_sessions(
        &self,
        request: Request<api::RevokeAllSessionsRequest>,
    ) -> Reply<api::RevokeAllSessionsResponse> {
        self.end_all_sessions(request).await
    }

    async fn get_jwks(
        &self,
        _request: Request<api::GetJwksRequest>,
    ) -> Reply<api::GetJwksResponse> {
        let keys = self.mint.published().into_iter().map(|key| Jwk {
            kid: key.kid,
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            alg: "EdDSA".to_owned(),
            r#use: "sig".to_owned(),
            x: key.x,
        });
        Ok(Response::new(api::GetJwksResponse { keys: keys.collect() }))
    }

    async fn rotate_signing_key(
        &self,
        request: Request<api::RotateSigningKeyRequest>,
    ) -> Reply<api::RotateSigningKeyResponse> {
        let next = row_of(&SigningKey::generate()?);
        let this = self.clone();
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let now = this.clock.now();
                    let kid = next.kid.clone();
                    let expire_time = this.mint.retirement(now);
                    let previous_kid = key::rotate(tx, next, expire_time, now).await?;
                    let previous_expire_time = if message.revoke_previous {
                        key::withdraw(tx, now).await?;
                        None
                    } else {
                        Some(expire_time.timestamp())
                    };
                    Ok::<_, Error>(api::RotateSigningKeyResponse {
                        kid,
                        previous_kid,
                        previous_expire_time,
                    })
                })
            })
            .await?;
        self.mint.reload().await?;
        Ok(response)
    }
}

// === impl Rpc ===

impl Rpc {
    /// Somebody who registers with a password that is not too easy.
    async fn newcomer(
        &self,
        user_id: String,
        email: &str,
        password: &str,
        display_name: &str,
    ) -> Result<Newcomer, Error> {
        let email = domain::normalize_email(email);
        domain::check_password(password, &email)
            .map_err(|weakness| Error::WeakPassword { field: "password", weakness })?;
        let password_hash = self.hasher.place()?.hash(password).await?;
        Ok(Newcomer { user_id, email, display_name: display_name.to_owned(), password_hash })
    }

    /// Opens a session for somebody whose password was verified just now.
    async fn open_for(
        &self,
        request: &Request<LoginRequest>,
        verified: Credentials,
        attempts: Vec<Attempt>,
    ) -> Result<Response<LoginResponse>, Error> {
        let (this, user_agent) = (self.clone(), user_agent(request));
        self.database
            .once(request, move |tx, _| {
                Box::pin(async move {
                    let now = this.clock.now();
                    if verified.status == AccountStatus::Suspended {
                        return Err(Error::UserSuspended);
                    }
                    let Credentials { user_id, .. } = verified;
                    let account = account::lock_active(tx, &user_id).await?;
                    let tokens = this
                        .open_session(
                            tx,
                            Arrival { user_id, holder: Holder::User, user_agent },
                            now,
                        )
                        .await?;
                    account::forgive(tx, &attempts).await?;
                    Ok(LoginResponse { user: Some(account.into()), tokens: Some(tokens) })
                })
            })
            .await
    }

    /// What counts against whoever guesses: the account first, and the network
    /// address if this is where the connection of the client ends.
    fn attempts<T>(&self, request: &Request<T>, email: &str) -> Vec<Attempt> {
        let mut attempts =
            vec![Attempt { subject: fingerprint("account", email), limit: self.account_limit }];
        let peer = request
            .extensions()
            .get::<PeerAddr>()
            .filter(|_| Caller::of(request).service().is_none());
        if let Some(PeerAddr(peer)) = peer {
            let subject = fingerprint("address", &peer.ip().to_string());
            attempts.push(Attempt { subject, limit: self.address_limit });
        }
        attempts
    }

    async fn forgive(&self, attempts: Vec<Attempt>) -> Result<(), Error> {
        self.database
            .write(move |tx| Box::pin(async move { Ok(account::forgive(tx, &attempts).await?) }))
            .await
    }

    async fn revoke_stolen(&self, session_id: String) -> Result<(), Error> {
        let now = self.clock.now();
        tracing::warn!(session_id, "a spent refresh token came back; its session was ended");
        self.database
            .write(move |tx| {
                Box::pin(async move {
                    sessions::revoke(tx, &session_id, RevocationCause::TokenReused, now).await
                })
            })
            .await
    }

    /// Forgets what can no longer matter.
    pub(crate) async fn sweep(&self) -> Result<(), Error> {
        let now: Time = self.clock.now();
        let longest = self.lifetimes.refresh.max(self.lifetimes.guest);
        for _ in 0..SWEEPS_MAX {
            let swept = self
                .database
                .write(move |tx| {
                    Box::pin(sessions::sweep(tx, now - KEPT, now - longest, SWEEP_MAX))
                })
                .await?;
            if swept == 0 {
                break;
            }
        }
        self.database
            .write(move |tx| {
                Box::pin(async move {
                    account::sweep_attempts(tx, now, SWEEP_MAX).await?;
                    key::sweep(tx, now - KEPT).await?;
                    Ok::<_, Error>(())
                })
            })
            .await?;
        self.mint.reload().await
    }
}
