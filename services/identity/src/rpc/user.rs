//! `UserService`: accounts. Its address book is in [`super::address`].

use std::collections::HashMap;

use chassis::{Caller, event::Event};
use contracts::identity::v1::{
    self as api, BatchGetUsersRequest, BatchGetUsersResponse, GetMeRequest, GetMeResponse,
    GetUserRequest, ListUsersRequest, ListUsersResponse, ReactivateUserRequest,
    ReactivateUserResponse, RevocationCause, SuspendUserRequest, SuspendUserResponse,
    UpdateMeRequest, UpdateMeResponse, User, UserReactivated, UserStatus, UserSuspended,
    user_service_server::UserService,
};
use tonic::{Request, Response, Status};

use super::{Rpc, demand_all, demand_reach};
use crate::{
    domain::{self, ADMIN_ROLE_ID, Status as AccountStatus},
    error::Error,
    store::{
        access as roles,
        account::{self, Filter},
        session as sessions,
    },
};

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl UserService for Rpc {
    async fn get_me(&self, request: Request<GetMeRequest>) -> Reply<GetMeResponse> {
        let user_id = Caller::of(&request).demand_subject()?;
        let account = account::find(&self.database, user_id).await.map_err(Error::from)?;
        let account = account.ok_or(Error::UserNotFound)?;
        let permissions =
            roles::permissions_of_user(&self.database, user_id).await.map_err(Error::from)?;
        Ok(Response::new(GetMeResponse { user: Some(account.into()), permissions }))
    }

    async fn update_me(&self, request: Request<UpdateMeRequest>) -> Reply<UpdateMeResponse> {
        let user_id = Caller::of(&request).demand_subject()?.to_owned();
        let clock = self.clock.clone();
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let user = message.user.unwrap_or_default();
                    let mask = message.update_mask.as_ref().map(|mask| mask.paths.as_slice());
                    let fields = [("display_name", !user.display_name.is_empty())];
                    let chosen = domain::fields_to_update(mask, &fields)
                        .map_err(|path| Error::MaskInvalid { path, known: "`display_name`" })?;
                    let mut account = account::lock_active(tx, &user_id).await?;
                    if !domain::etag_matches(&user.etag, account.version) {
                        return Err(Error::EtagMismatch { field: "user.etag" });
                    }
                    if chosen.contains("display_name") {
                        account = account::set_display_name(
                            tx,
                            &user_id,
                            &user.display_name,
                            clock.now(),
                        )
                        .await?;
                    }
                    Ok(UpdateMeResponse { user: Some(account.into()) })
                })
            })
            .await?;
        Ok(response)
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Reply<User> {
        let user_id = &request.get_ref().user_id;
        demand_reach(Caller::of(&request).scope(), user_id)?;
        let account = account::find(&self.database, user_id).await.map_err(Error::from)?;
        Ok(Response::new(account.ok_or(Error::UserNotFound)?.into()))
    }

    async fn batch_get_users(
        &self,
        request: Request<BatchGetUsersRequest>,
    ) -> Reply<BatchGetUsersResponse> {
        let user_ids = &request.get_ref().user_ids;
        let found = account::find_many(&self.database, user_ids).await.map_err(Error::from)?;
        let found: HashMap<String, User> =
            found.into_iter().map(|account| (account.user_id.clone(), account.into())).collect();
        let users = user_ids.iter().filter_map(|user_id| found.get(user_id).cloned()).collect();
        Ok(Response::new(BatchGetUsersResponse { users }))
    }

    async fn list_users(&self, request: Request<ListUsersRequest>) -> Reply<ListUsersResponse> {
        let message = request.get_ref();
        let filter = Filter {
            status: match message.status() {
                UserStatus::Unspecified => None,
                UserStatus::Active => Some(AccountStatus::Active),
                UserStatus::Suspended => Some(AccountStatus::Suspended),
            },
            email: Some(domain::normalize_email(&message.email)).filter(|email| !email.is_empty()),
        };
        let status = filter.status.map_or("", AccountStatus::as_str);
        let email = filter.email.as_deref().unwrap_or_default();
        let page =
            self.pages.page(message.page_size, &message.page_token, &["users", status, email])?;
        let found = account::list(&self.database, &filter, page.after(), page.limit())
            .await
            .map_err(Error::from)?;
        let (found, next_page_token) =
            page.finish(found, |last| (last.create_time, last.user_id.clone()));
        let users = found.into_iter().map(User::from).collect();
        Ok(Response::new(ListUsersResponse { users, next_page_token }))
    }

    async fn suspend_user(
        &self,
        request: Request<SuspendUserRequest>,
    ) -> Reply<SuspendUserResponse> {
        let (caller, clock) = (Caller::of(&request).clone(), self.clock.clone());
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let (now, user_id) = (clock.now(), &message.user_id);
                    // The role before the account, in this order everywhere.
                    roles::lock(tx, ADMIN_ROLE_ID).await?;
                    let account = account::lock(tx, user_id).await?;
                    demand_all(&caller, &roles::permissions_in(tx, user_id).await?)?;
                    if account.status == AccountStatus::Suspended {
                        return Ok(SuspendUserResponse { user: Some(account.into()) });
                    }
                    if roles::has_role(tx, user_id, ADMIN_ROLE_ID).await?
                        && !roles::another_admin(tx, user_id).await?
                    {
                        return Err(Error::LastAdmin);
                    }
                    let account =
                        account::set_status(tx, user_id, AccountStatus::Suspended, now).await?;
                    sessions::revoke_all(tx, user_id, "", RevocationCause::UserSuspended, now)
                        .await?;
                    let event = UserSuspended {
                        user_id: user_id.clone(),
                        actor_id: caller.subject().unwrap_or_default().to_owned(),
                        note: message.note.clone(),
                    };
                    tx.publish(Event::new(&event).subject(user_id).version(account.version))
                        .await?;
                    Ok(SuspendUserResponse { user: Some(account.into()) })
                })
            })
            .await?;
        Ok(response)
    }

    async fn reactivate_user(
        &self,
        request: Request<ReactivateUserRequest>,
    ) -> Reply<ReactivateUserResponse> {
        let (caller, clock) = (Caller::of(&request).clone(), self.clock.clone());
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let user_id = &message.user_id;
                    let account = account::lock(tx, user_id).await?;
                    demand_all(&caller, &roles::permissions_in(tx, user_id).await?)?;
                    if account.status == AccountStatus::Active {
                        return Ok(ReactivateUserResponse { user: Some(account.into()) });
                    }
                    let account =
                        account::set_status(tx, user_id, AccountStatus::Active, clock.now())
                            .await?;
                    let actor_id = caller.subject().unwrap_or_default().to_owned();
                    let event = UserReactivated { user_id: user_id.clone(), actor_id };
                    tx.publish(Event::new(&event).subject(user_id).version(account.version))
                        .await?;
                    Ok::<_, Error>(ReactivateUserResponse { user: Some(account.into()) })
                })
            })
            .await?;
        Ok(response)
    }

    async fn create_address(
        &self,
        request: Request<api::CreateAddressRequest>,
    ) -> Reply<api::Address> {
        self.add_address(request).await
    }

    async fn get_address(&self, request: Request<api::GetAddressRequest>) -> Reply<api::Address> {
        self.one_address(request).await
    }

    async fn list_addresses(
        &self,
        request: Request<api::ListAddressesRequest>,
    ) -> Reply<api::ListAddressesResponse> {
        self.addresses_of_user(request).await
    }

    async fn update_address(
        &self,
        request: Request<api::UpdateAddressRequest>,
    ) -> Reply<api::Address> {
        self.change_address(request).await
    }

    async fn delete_address(
        &self,
        request: Request<api::DeleteAddressRequest>,
    ) -> Reply<api::DeleteAddressResponse> {
        self.remove_address(request).await
    }

    async fn set_default_address(
        &self,
        request: Request<api::SetDefaultAddressRequest>,
    ) -> Reply<api::SetDefaultAddressResponse> {
        self.choose_default_address(request).await
    }
}
