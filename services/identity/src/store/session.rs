//! Sessions, and the chain of refresh tokens in each.

use chassis::{
    Database, Time, args,
    event::Event,
    store::{self, FromRow, Row, Tx},
};
use contracts::identity::v1::{self as api, RevocationCause, SessionFamilyRevoked};

use crate::{domain::Holder, error::Error, token::hash};

chassis::statements! {
    /// A new session.
    INSERT = "
        insert into session (
            session_id, user_id, kind, state, user_agent, create_time, refresh_time, expire_time
        ) values ($1, $2, $3, 'ACTIVE', $4, $5, $5, $6)";
    /// A new refresh token, the only live one of its session.
    INSERT_TOKEN = "
        insert into refresh_token (token_hash, session_id, state, create_time) values ($1, $2, 'LIVE', $3)";
    /// A refresh token and its session.
    FIND_TOKEN = "
        select refresh_token.state as token_state, session.session_id, session.user_id, session.kind, session.state,
            session.user_agent, session.create_time, session.refresh_time, session.expire_time, session.revoke_time
        from refresh_token
        join session on session.session_id = refresh_token.session_id
        where refresh_token.token_hash = $1";
    /// Spends a refresh token, once.
    SPEND_TOKEN = "
        update refresh_token set state = 'SPENT' where token_hash = $1 and state = 'LIVE'";
    /// A session lives on.
    EXTEND = "
        update session set refresh_time = $2, expire_time = $3 where session_id = $1 and state = 'ACTIVE'";
    /// One session.
    FIND = "
        select session_id, user_id, kind, state, user_agent, create_time, refresh_time, expire_time, revoke_time
        from session
        where session_id = $1 and (cast($2 as text) is null or user_id = $2)";
    /// A page of the sessions of one user that can be refreshed, newest first.
    LIST = "
        select session_id, user_id, kind, state, user_agent, create_time, refresh_time, expire_time, revoke_time
        from session
        where user_id = $1 and state = 'ACTIVE' and expire_time > $2
            and (cast($3 as bigint) is null or (create_time, session_id) < ($3, $4))
        order by create_time desc, session_id desc
        limit $5";
    /// Ends one session.
    REVOKE = "
        update session set state = 'REVOKED', revoke_time = $2 where session_id = $1 and state = 'ACTIVE'
        returning session_id, user_id";
    /// Ends the sessions of a user, but one.
    REVOKE_ALL = "
        update session set state = 'REVOKED', revoke_time = $2
        where user_id = $1 and state = 'ACTIVE' and expire_time > $2 and session_id <> $3
        returning session_id, user_id";
    /// Forgets sessions that ended long ago, and their tokens.
    SWEEP = "
        delete from session
        where session_id in (select session_id from session where expire_time < $1 order by expire_time limit $2)";
    /// Forgets spent tokens that are as old as a session can be without a refresh.
    SWEEP_TOKENS = "
        delete from refresh_token
        where token_hash in (
            select token_hash from refresh_token where state = 'SPENT' and create_time < $1
            order by create_time limit $2
        )";
}

/// A session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub session_id: String,
    pub user_id: String,
    pub holder: Holder,
    pub active: bool,
    pub user_agent: String,
    pub create_time: Time,
    pub refresh_time: Time,
    pub expire_time: Time,
    pub revoke_time: Option<Time>,
}

/// A session as its refresh token found it.
struct Presented {
    live: bool,
    session: Session,
}

// === impl Session ===

impl FromRow for Session {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        Ok(Self {
            session_id: row.get("session_id")?,
            user_id: row.get("user_id")?,
            holder: Holder::parse(&row.get::<String>("kind")?),
            active: row.get::<String>("state")? == "ACTIVE",
            user_agent: row.get("user_agent")?,
            create_time: row.get("create_time")?,
            refresh_time: row.get("refresh_time")?,
            expire_time: row.get("expire_time")?,
            revoke_time: row.get("revoke_time")?,
        })
    }
}

impl Session {
    /// As the contract says it; `current` is the session that asks.
    pub(crate) fn into_message(self, current: &str, now: Time) -> api::Session {
        let state = match (self.active, self.expire_time > now) {
            (false, _) => api::SessionState::Revoked,
            (true, true) => api::SessionState::Active,
            (true, false) => api::SessionState::Expired,
        };
        api::Session {
            current: self.session_id == current,
            session_id: self.session_id,
            user_id: self.user_id,
            state: state.into(),
            user_agent: self.user_agent,
            create_time: Some(self.create_time.timestamp()),
            refresh_time: Some(self.refresh_time.timestamp()),
            expire_time: Some(self.expire_time.timestamp()),
            revoke_time: self.revoke_time.map(Time::timestamp),
        }
    }
}

impl FromRow for Presented {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        Ok(Self {
            live: row.get::<String>("token_state")? == "LIVE",
            session: Session::from_row(row)?,
        })
    }
}

// === reading ===

/// One session, if the caller may see it.
pub(crate) async fn find(
    tx: &mut Tx,
    session_id: &str,
    owner: Option<&str>,
) -> Result<Session, Error> {
    tx.fetch_optional(FIND, args![session_id, owner]).await?.ok_or(Error::SessionNotFound)
}

/// A page of the sessions of one user.
pub(crate) async fn list(
    database: &Database,
    user_id: &str,
    after: Option<(Time, String)>,
    limit: i64,
    now: Time,
) -> Result<Vec<Session>, store::Error> {
    let (time, session_id) = after.unzip();
    database.fetch_all(LIST, args![user_id, now, time, session_id, limit]).await
}

/// The session of a refresh token, spent or not.
pub(crate) async fn of_token(tx: &mut Tx, token: &str) -> Result<Option<Session>, store::Error> {
    let presented: Option<Presented> = tx.fetch_optional(FIND_TOKEN, args![hash(token)]).await?;
    Ok(presented.map(|presented| presented.session))
}

/// The session of a refresh token that looks live.
pub(crate) async fn present(tx: &mut Tx, token: &str, now: Time) -> Result<Session, Error> {
    let presented: Option<Presented> = tx.fetch_optional(FIND_TOKEN, args![hash(token)]).await?;
    let Presented { live, session } = presented.ok_or(Error::RefreshTokenInvalid)?;
    if !session.active {
        return Err(Error::RefreshTokenInvalid);
    }
    if !live {
        return Err(Error::RefreshTokenReused { session_id: session.session_id });
    }
    if session.expire_time <= now {
        return Err(Error::RefreshTokenExpired);
    }
    Ok(session)
}

// === writing ===

/// Opens a session with its first refresh token.
pub(crate) async fn insert(
    tx: &mut Tx,
    session: &Session,
    token_hash: Vec<u8>,
) -> Result<(), store::Error> {
    tx.execute(
        INSERT,
        args![
            &session.session_id,
            &session.user_id,
            session.holder.as_str(),
            &session.user_agent,
            session.create_time,
            session.expire_time
        ],
    )
    .await?;
    insert_token(tx, &session.session_id, token_hash, session.create_time).await
}

/// Gives a session its next refresh token.
pub(crate) async fn insert_token(
    tx: &mut Tx,
    session_id: &str,
    token_hash: Vec<u8>,
    now: Time,
) -> Result<(), store::Error> {
    tx.execute(INSERT_TOKEN, args![token_hash, session_id, now]).await?;
    Ok(())
}

/// Spends a live refresh token and lets its session live on until `expire_time`.
/// Of two who present one token, the second finds it spent.
pub(crate) async fn spend(
    tx: &mut Tx,
    session: &Session,
    token: &str,
    expire_time: Time,
    now: Time,
) -> Result<(), Error> {
    if tx.execute(SPEND_TOKEN, args![hash(token)]).await? == 0 {
        return Err(Error::RefreshTokenReused { session_id: session.session_id.clone() });
    }
    if tx.execute(EXTEND, args![&session.session_id, now, expire_time]).await? == 0 {
        return Err(Error::RefreshTokenInvalid);
    }
    Ok(())
}

/// Ends one session. Says so once, however often it is called.
pub(crate) async fn revoke(
    tx: &mut Tx,
    session_id: &str,
    cause: RevocationCause,
    now: Time,
) -> Result<(), Error> {
    let ended: Vec<(String, String)> = tx.fetch_all(REVOKE, args![session_id, now]).await?;
    announce(tx, ended, cause).await?;
    Ok(())
}

/// Ends every session of a user but `spared`, and counts them.
pub(crate) async fn revoke_all(
    tx: &mut Tx,
    user_id: &str,
    spared: &str,
    cause: RevocationCause,
    now: Time,
) -> Result<i64, Error> {
    let ended: Vec<(String, String)> =
        tx.fetch_all(REVOKE_ALL, args![user_id, now, spared]).await?;
    announce(tx, ended, cause).await
}

async fn announce(
    tx: &mut Tx,
    ended: Vec<(String, String)>,
    cause: RevocationCause,
) -> Result<i64, Error> {
    let mut count = 0;
    for (session_id, user_id) in ended {
        let event =
            SessionFamilyRevoked { session_id: session_id.clone(), user_id, cause: cause.into() };
        // A session ends once, so this is all that is ever told of it.
        tx.publish(Event::new(&event).subject(session_id).version(1)).await?;
        count += 1;
    }
    Ok(count)
}

/// Forgets sessions and tokens that cannot matter any more, so many of each at
/// most. Says how many it was.
pub(crate) async fn sweep(
    tx: &mut Tx,
    ended_before: Time,
    spent_before: Time,
    limit: i64,
) -> Result<u64, store::Error> {
    let tokens = tx.execute(SWEEP_TOKENS, args![spent_before, limit]).await?;
    Ok(tokens + tx.execute(SWEEP, args![ended_before, limit]).await?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use contracts::identity::v1::{
        IssueGuestTokenRequest, RefreshTokenRequest, auth_service_client::AuthServiceClient,
    };

    use super::*;
    use crate::Identity;

    #[tokio::test]
    async fn what_ended_long_ago_is_forgotten_and_what_lives_is_not() {
        let fixture = testkit::service::<Identity>().start().await;
        let mut auth = AuthServiceClient::new(fixture.anonymous());
        let mut guests = Vec::new();
        for _ in 0..3 {
            let guest = auth.issue_guest_token(IssueGuestTokenRequest::default()).await.unwrap();
            let spent = guest.into_inner().tokens.unwrap().refresh_token;
            let request =
                RefreshTokenRequest { refresh_token: spent, ..RefreshTokenRequest::default() };
            guests.push(auth.refresh_token(request).await.unwrap().into_inner().tokens.unwrap());
            fixture.clock.advance(Duration::from_secs(20 * 86_400));
        }
        let now = fixture.clock.now();
        let database = fixture.running().database().clone();
        let sweep = |limit| {
            let database = database.clone();
            async move {
                database
                    .write(move |tx| {
                        Box::pin(sweep(tx, now, now - Duration::from_secs(50 * 86_400), limit))
                    })
                    .await
                    .unwrap()
            }
        };
        // The spent token of the first guest; the first guest's session, the second's.
        assert_eq!((sweep(1).await, sweep(1).await, sweep(1).await), (2, 1, 0));
        for (guest, lives) in guests.into_iter().zip([false, false, true]) {
            let request = RefreshTokenRequest {
                refresh_token: guest.refresh_token,
                ..RefreshTokenRequest::default()
            };
            assert_eq!(auth.refresh_token(request).await.is_ok(), lives);
        }
    }
}
