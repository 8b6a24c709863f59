//! `LocationService`.

use chassis::Fault;
use contracts::{
    inventory::v1::{
        self, CreateLocationRequest, DeleteLocationRequest, DeleteLocationResponse,
        GetLocationRequest, ListLocationsRequest, ListLocationsResponse, UpdateLocationRequest,
        location_service_server::LocationService,
    },
    mesh::v1::ErrorReason,
};
use tonic::{Request, Response, Status};

use super::{Rpc, version_of};
use crate::{
    error::Error,
    store::location::{self, Location},
};

impl From<Location> for v1::Location {
    fn from(location: Location) -> Self {
        Self {
            location_id: location.location_id,
            code: location.code,
            display_name: location.display_name,
            priority: location.priority,
            active: location.active,
            etag: location.version.to_string(),
            create_time: Some(location.create_time.timestamp()),
            update_time: Some(location.update_time.timestamp()),
        }
    }
}

#[tonic::async_trait]
impl LocationService for Rpc {
    async fn create_location(
        &self,
        request: Request<CreateLocationRequest>,
    ) -> Result<Response<v1::Location>, Status> {
        let (location_id, now) = (self.clock.id(), self.clock.now());
        let created = self.database.once(&request, move |tx, message: CreateLocationRequest| {
            Box::pin(async move {
                let location = Location {
                    location_id,
                    code: message.code,
                    display_name: message.display_name,
                    priority: message.priority,
                    active: !message.inactive,
                    version: 1,
                    create_time: now,
                    update_time: now,
                };
                Ok::<v1::Location, Error>(location::insert(tx, location).await?.into())
            })
        });
        Ok(created.await?)
    }

    async fn get_location(
        &self,
        request: Request<GetLocationRequest>,
    ) -> Result<Response<v1::Location>, Status> {
        let location = location::get(&self.database, request.into_inner().location_id).await?;
        Ok(Response::new(location.into()))
    }

    async fn list_locations(
        &self,
        request: Request<ListLocationsRequest>,
    ) -> Result<Response<ListLocationsResponse>, Status> {
        let request = request.into_inner();
        let page = self.pages.page(request.page_size, &request.page_token, &[])?;
        let found = location::list(&self.database, page.after(), page.limit())
            .await
            .map_err(Error::from)?;
        let (found, next_page_token) =
            page.finish(found, |last| (last.priority, last.location_id.clone()));
        let locations = found.into_iter().map(Into::into).collect();
        Ok(Response::new(ListLocationsResponse { locations, next_page_token }))
    }

    async fn update_location(
        &self,
        request: Request<UpdateLocationRequest>,
    ) -> Result<Response<v1::Location>, Status> {
        let now = self.clock.now();
        let updated = self.database.once(&request, move |tx, message: UpdateLocationRequest| {
            Box::pin(async move {
                let new = message.location.unwrap_or_default();
                let mask = message.update_mask.map(|mask| mask.paths).unwrap_or_default();
                let old = location::lock(tx, &new.location_id, version_of(&new.etag)?).await?;
                let location = merge(old, new, &mask)?;
                Ok::<v1::Location, Error>(location::update(tx, location, now).await?.into())
            })
        });
        Ok(updated.await?)
    }

    async fn delete_location(
        &self,
        request: Request<DeleteLocationRequest>,
    ) -> Result<Response<DeleteLocationResponse>, Status> {
        let deleted = self.database.once(&request, move |tx, message: DeleteLocationRequest| {
            Box::pin(async move {
                location::lock(tx, &message.location_id, version_of(&message.etag)?).await?;
                location::delete(tx, &message.location_id).await?;
                Ok::<_, Error>(DeleteLocationResponse {})
            })
        });
        Ok(deleted.await?)
    }
}

/// The location with the values that the mask names: those that are not empty if
/// it names none, all of them for `*`.
fn merge(mut location: Location, new: v1::Location, mask: &[String]) -> Result<Location, Error> {
    const FIELDS: [&str; 4] = ["code", "display_name", "priority", "active"];
    if let Some(path) = mask.iter().find(|path| *path != "*" && !FIELDS.contains(&path.as_str())) {
        return Err(Error::MaskInvalid { path: path.clone() });
    }
    let named = |field: &str, populated: bool| match mask {
        [] => populated,
        mask => mask.iter().any(|path| path == field || path == "*"),
    };
    if named("code", !new.code.is_empty()) {
        if new.code.is_empty() {
            return Err(Error::Refused(
                Fault::invalid_argument(ErrorReason::InvalidField)
                    .message("a location must have a code")
                    .violation(
                        "location.code",
                        "is empty: give it a value or leave it out of the update mask",
                    ),
            ));
        }
        location.code = new.code;
    }
    if named("display_name", !new.display_name.is_empty()) {
        location.display_name = new.display_name;
    }
    if named("priority", new.priority != 0) {
        location.priority = new.priority;
    }
    if named("active", new.active) {
        location.active = new.active;
    }
    Ok(location)
}
