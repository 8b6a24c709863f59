//! `AuthService`, continued: looking at sessions and ending them.

use chassis::Caller;
use contracts::identity::v1::{
    ListSessionsRequest, ListSessionsResponse, LogoutRequest, LogoutResponse, RevocationCause,
    RevokeAllSessionsRequest, RevokeAllSessionsResponse, RevokeSessionRequest,
    RevokeSessionResponse,
};
use tonic::{Request, Response, Status};

use super::{Rpc, demand_reach, own_session};
use crate::{error::Error, store::session as sessions};

impl Rpc {
    /// `Logout`.
    pub(super) async fn end_session_of_token(
        &self,
        request: Request<LogoutRequest>,
    ) -> Result<Response<LogoutResponse>, Status> {
        let clock = self.clock.clone();
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    if let Some(session) = sessions::of_token(tx, &message.refresh_token).await? {
                        sessions::revoke(
                            tx,
                            &session.session_id,
                            RevocationCause::Logout,
                            clock.now(),
                        )
                        .await?;
                    }
                    Ok::<_, Error>(LogoutResponse {})
                })
            })
            .await?;
        Ok(response)
    }

    /// `ListSessions`.
    pub(super) async fn sessions_of_user(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let current = own_session(&request);
        let ListSessionsRequest { user_id, page_size, page_token } = request.get_ref();
        demand_reach(Caller::of(&request).scope(), user_id)?;
        let page = self.pages.page(*page_size, page_token, &["sessions", user_id])?;
        let now = self.clock.now();
        let found = sessions::list(&self.database, user_id, page.after(), page.limit(), now)
            .await
            .map_err(Error::from)?;
        let (found, next_page_token) =
            page.finish(found, |last| (last.create_time, last.session_id.clone()));
        let sessions =
            found.into_iter().map(|session| session.into_message(&current, now)).collect();
        Ok(Response::new(ListSessionsResponse { sessions, next_page_token }))
    }

    /// `RevokeSession`.
    pub(super) async fn end_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let scope = Caller::of(&request).scope().clone();
        let (clock, current) = (self.clock.clone(), own_session(&request));
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let now = clock.now();
                    let session_id = &message.session_id;
                    sessions::find(tx, session_id, scope.owner()).await?;
                    sessions::revoke(tx, session_id, RevocationCause::Requested, now).await?;
                    let session = sessions::find(tx, session_id, scope.owner()).await?;
                    Ok::<_, Error>(RevokeSessionResponse {
                        session: Some(session.into_message(&current, now)),
                    })
                })
            })
            .await?;
        Ok(response)
    }

    /// `RevokeAllSessions`.
    pub(super) async fn end_all_sessions(
        &self,
        request: Request<RevokeAllSessionsRequest>,
    ) -> Result<Response<RevokeAllSessionsResponse>, Status> {
        demand_reach(Caller::of(&request).scope(), &request.get_ref().user_id)?;
        let clock = self.clock.clone();
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let cause = RevocationCause::Requested;
                    let revoked_count =
                        sessions::revoke_all(tx, &message.user_id, "", cause, clock.now()).await?;
                    Ok::<_, Error>(RevokeAllSessionsResponse { revoked_count })
                })
            })
            .await?;
        Ok(response)
    }
}
