//! `UserService`, continued: address books.

use chassis::Caller;
use contracts::identity::v1::{
    self as api, AddressUse, CreateAddressRequest, DeleteAddressRequest, DeleteAddressResponse,
    GetAddressRequest, ListAddressesRequest, ListAddressesResponse, SetDefaultAddressRequest,
    SetDefaultAddressResponse, UpdateAddressRequest,
};
use tonic::{Request, Response, Status};

use super::{Rpc, demand_reach, lock_for};
use crate::{
    domain::{self, ADDRESSES_MAX},
    error::Error,
    store::{account, address as addresses},
};

impl Rpc {
    /// `CreateAddress`.
    pub(super) async fn add_address(
        &self,
        request: Request<CreateAddressRequest>,
    ) -> Result<Response<api::Address>, Status> {
        let scope = Caller::of(&request).scope().clone();
        demand_reach(&scope, &request.get_ref().user_id)?;
        let (clock, address_id) = (self.clock.clone(), self.clock.id());
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let user_id = &message.user_id;
                    let api::Address { label, postal_address, .. } =
                        message.address.unwrap_or_default();
                    let postal = postal_address
                        .ok_or(Error::FieldMissing { field: "address.postal_address" })?;
                    // Held, so that two who add at once count each other.
                    lock_for(tx, &scope, user_id).await?;
                    let count = addresses::count(tx, user_id).await?;
                    if count >= ADDRESSES_MAX {
                        return Err(Error::AddressLimitReached);
                    }
                    addresses::insert(tx, &address_id, user_id, &label, &postal, clock.now())
                        .await?;
                    if count == 0 {
                        let only = Some(Some(address_id.as_str()));
                        account::set_defaults(tx, user_id, only, only).await?;
                    }
                    Ok(addresses::get(tx, &address_id, None).await?.into())
                })
            })
            .await?;
        Ok(response)
    }

    /// `GetAddress`.
    pub(super) async fn one_address(
        &self,
        request: Request<GetAddressRequest>,
    ) -> Result<Response<api::Address>, Status> {
        let owner = Caller::of(&request).scope().owner();
        let found = addresses::find(&self.database, &request.get_ref().address_id, owner).await;
        Ok(Response::new(found.map_err(Error::from)?.ok_or(Error::AddressNotFound)?.into()))
    }

    /// `ListAddresses`.
    pub(super) async fn addresses_of_user(
        &self,
        request: Request<ListAddressesRequest>,
    ) -> Result<Response<ListAddressesResponse>, Status> {
        let ListAddressesRequest { user_id, page_size, page_token } = request.get_ref();
        demand_reach(Caller::of(&request).scope(), user_id)?;
        let page = self.pages.page(*page_size, page_token, &["addresses", user_id])?;
        account::find(&self.database, user_id)
            .await
            .map_err(Error::from)?
            .ok_or(Error::UserNotFound)?;
        let found = addresses::list(&self.database, user_id, page.after(), page.limit())
            .await
            .map_err(Error::from)?;
        let (found, next_page_token) = page.finish(found, |last| last.address_id.clone());
        let addresses = found.into_iter().map(api::Address::from).collect();
        Ok(Response::new(ListAddressesResponse { addresses, next_page_token }))
    }

    /// `UpdateAddress`.
    pub(super) async fn change_address(
        &self,
        request: Request<UpdateAddressRequest>,
    ) -> Result<Response<api::Address>, Status> {
        let scope = Caller::of(&request).scope().clone();
        let clock = self.clock.clone();
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let given = message.address.unwrap_or_default();
                    if given.address_id.is_empty() {
                        return Err(Error::FieldMissing { field: "address.address_id" });
                    }
                    let mask = message.update_mask.as_ref().map(|mask| mask.paths.as_slice());
                    let fields = [
                        ("label", !given.label.is_empty()),
                        ("postal_address", given.postal_address.is_some()),
                    ];
                    let chosen = domain::fields_to_update(mask, &fields).map_err(|path| {
                        Error::MaskInvalid { path, known: "`label` or `postal_address`" }
                    })?;
                    let mut address = addresses::get(tx, &given.address_id, scope.owner()).await?;
                    lock_for(tx, &scope, &address.user_id).await?;
                    if !domain::etag_matches(&given.etag, address.version) {
                        return Err(Error::EtagMismatch { field: "address.etag" });
                    }
                    if chosen.contains("label") {
                        address.label = given.label;
                    }
                    if chosen.contains("postal_address") {
                        address.postal = given
                            .postal_address
                            .ok_or(Error::FieldMissing { field: "address.postal_address" })?;
                    }
                    if chosen.is_empty() {
                        return Ok(address.into());
                    }
                    Ok(addresses::update(tx, &address, clock.now()).await?.into())
                })
            })
            .await?;
        Ok(response)
    }

    /// `DeleteAddress`.
    pub(super) async fn remove_address(
        &self,
        request: Request<DeleteAddressRequest>,
    ) -> Result<Response<DeleteAddressResponse>, Status> {
        let scope = Caller::of(&request).scope().clone();
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let owner =
                        addresses::get(tx, &message.address_id, scope.owner()).await?.user_id;
                    lock_for(tx, &scope, &owner).await?;
                    let address = addresses::get(tx, &message.address_id, scope.owner()).await?;
                    if !domain::etag_matches(&message.etag, address.version) {
                        return Err(Error::EtagMismatch { field: "etag" });
                    }
                    let shipping = address.default_shipping.then_some(None);
                    let billing = address.default_billing.then_some(None);
                    account::set_defaults(tx, &owner, shipping, billing).await?;
                    addresses::delete(tx, &message.address_id).await?;
                    Ok::<_, Error>(DeleteAddressResponse {})
                })
            })
            .await?;
        Ok(response)
    }

    /// `SetDefaultAddress`.
    pub(super) async fn choose_default_address(
        &self,
        request: Request<SetDefaultAddressRequest>,
    ) -> Result<Response<SetDefaultAddressResponse>, Status> {
        let scope = Caller::of(&request).scope().clone();
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let address_id = message.address_id.as_str();
                    let owner = addresses::get(tx, address_id, scope.owner()).await?.user_id;
                    lock_for(tx, &scope, &owner).await?;
                    // Again, now that nobody can remove it.
                    addresses::get(tx, address_id, scope.owner()).await?;
                    let (shipping, billing) = match message.r#use() {
                        AddressUse::Shipping => (Some(Some(address_id)), None),
                        AddressUse::Billing => (None, Some(Some(address_id))),
                        AddressUse::Unspecified => {
                            return Err(Error::FieldMissing { field: "use" });
                        }
                    };
                    account::set_defaults(tx, &owner, shipping, billing).await?;
                    let address = addresses::get(tx, address_id, scope.owner()).await?;
                    Ok(SetDefaultAddressResponse { address: Some(address.into()) })
                })
            })
            .await?;
        Ok(response)
    }
}
