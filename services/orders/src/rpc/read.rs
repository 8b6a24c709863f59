//! Looking at orders.

use chassis::{Caller, Time};
use contracts::orders::v1::{
    BatchGetOrdersRequest, BatchGetOrdersResponse, GetOrderRequest, ListFulfillmentsRequest,
    ListFulfillmentsResponse, ListOrderEventsRequest, ListOrderEventsResponse, ListOrdersRequest,
    ListOrdersResponse, Order as Message, OrderStatus,
};
use tonic::Request;

use super::{Rpc, owner_of};
use crate::{
    Error,
    domain::{Named as _, Order},
    store::{self, Filter},
};

impl Rpc {
    pub(super) async fn one(&self, request: &Request<GetOrderRequest>) -> Result<Message, Error> {
        let owner = owner_of(request);
        Ok(Message::from(&self.demand(&request.get_ref().order_id, owner.as_deref()).await?))
    }

    /// An order that the caller may see.
    pub(super) async fn demand(&self, order_id: &str, owner: Option<&str>) -> Result<Order, Error> {
        store::find_order(&self.database, order_id, owner)
            .await?
            .ok_or_else(|| Error::OrderNotFound(order_id.to_owned()))
    }

    pub(super) async fn many(
        &self,
        request: &Request<BatchGetOrdersRequest>,
    ) -> Result<BatchGetOrdersResponse, Error> {
        let scope = Caller::of(request).scope();
        let found = store::find_orders(&self.database, &request.get_ref().order_ids).await?;
        let orders =
            found.iter().filter(|order| scope.covers(&order.owner_id)).map(Message::from).collect();
        Ok(BatchGetOrdersResponse { orders })
    }

    pub(super) async fn list(
        &self,
        request: &Request<ListOrdersRequest>,
    ) -> Result<ListOrdersResponse, Error> {
        let own = owner_of(request);
        let request = request.get_ref();
        let asked = (!request.owner_id.is_empty()).then(|| request.owner_id.clone());
        let owner_id = match (own, asked) {
            (Some(own), Some(asked)) if own != asked => return Err(Error::OwnerForeign),
            (Some(own), _) => Some(own),
            (None, asked) => asked,
        };
        let status = Some(request.status()).filter(|status| *status != OrderStatus::Unspecified);
        let filter = Filter {
            owner_id,
            status,
            from: request.min_create_time.map(Time::from),
            until: request.max_create_time.map(Time::from),
            number: (!request.number.is_empty()).then(|| request.number.clone()),
        };
        let bound =
            |time: Option<Time>| time.map(|time| time.micros().to_string()).unwrap_or_default();
        let (from, until) = (bound(filter.from), bound(filter.until));
        let parts = [
            filter.owner_id.as_deref().unwrap_or_default(),
            status.map(|status| status.name()).unwrap_or_default(),
            &from,
            &until,
            &request.number,
        ];
        let page = self.pages.page(request.page_size, &request.page_token, &parts)?;
        let found = store::list_orders(&self.database, &filter, page.after(), page.limit()).await?;
        let (found, next_page_token) =
            page.finish(found, |last| (last.create_time.micros(), last.order_id.clone()));
        Ok(ListOrdersResponse {
            orders: found.iter().map(Message::from).collect(),
            next_page_token,
        })
    }

    pub(super) async fn timeline(
        &self,
        request: &Request<ListOrderEventsRequest>,
    ) -> Result<ListOrderEventsResponse, Error> {
        let owner = owner_of(request);
        let request = request.get_ref();
        self.demand(&request.order_id, owner.as_deref()).await?;
        let sees = if owner.is_none() { "staff" } else { "owner" };
        let page =
            self.pages.page(request.page_size, &request.page_token, &[&request.order_id, sees])?;
        let found = store::list_events(
            &self.database,
            &request.order_id,
            page.after::<String>(),
            owner.is_none(),
            page.limit(),
        )
        .await?;
        let (found, next_page_token) = page.finish(found, |last| last.order_event_id.clone());
        Ok(ListOrderEventsResponse {
            events: found.into_iter().map(Into::into).collect(),
            next_page_token,
        })
    }

    pub(super) async fn parcels(
        &self,
        request: &Request<ListFulfillmentsRequest>,
    ) -> Result<ListFulfillmentsResponse, Error> {
        let owner = owner_of(request);
        let request = request.get_ref();
        self.demand(&request.order_id, owner.as_deref()).await?;
        let page = self.pages.page(request.page_size, &request.page_token, &[&request.order_id])?;
        let found =
            store::list_fulfillments(&self.database, &request.order_id, page.after(), page.limit())
                .await?;
        let (found, next_page_token) =
            page.finish(found, |last| (last.create_time.micros(), last.fulfillment_id.clone()));
        Ok(ListFulfillmentsResponse {
            fulfillments: found.into_iter().map(Into::into).collect(),
            next_page_token,
        })
    }
}
