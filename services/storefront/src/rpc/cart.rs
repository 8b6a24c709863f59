//! `CartService`.

use chassis::{Caller, Currency};
use contracts::storefront::v1::{
    AddLineRequest, Cart as CartMessage, ClearCartRequest, CreateCartRequest, GetCartRequest,
    LineInput, ListCartsRequest, ListCartsResponse, RemoveLineRequest, ReplaceLinesRequest,
    UpdateLineRequest, cart_service_server::CartService,
};
use prost::{Message, Name};
use tonic::{Request, Response, Status};

use super::{Rpc, convert};
use crate::{
    domain::{Cart, CartStatus, Line},
    error::Error,
    store,
};

#[tonic::async_trait]
impl CartService for Rpc {
    async fn create_cart(
        &self,
        request: Request<CreateCartRequest>,
    ) -> Result<Response<CartMessage>, Status> {
        let owner = Caller::of(&request).demand_subject()?.to_owned();
        let message = request.get_ref();
        let currency = match message.currency_code.as_str() {
            "" => self.settings.currency,
            code => Currency::new(code).map_err(Error::from)?,
        };
        let sold = self.demand_sold(&message.lines, currency).await;
        let clock = self.clock.clone();
        let response = self
            .store
            .database()
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    sold?;
                    let now = clock.now();
                    let mut cart = Cart {
                        id: clock.id(),
                        owner_id: owner,
                        currency,
                        status: CartStatus::Active,
                        lines: Vec::new(),
                        version: 1,
                        create_time: now,
                        update_time: now,
                    };
                    for line in &message.lines {
                        cart.add(&line.sku, line.quantity, || clock.id())?;
                    }
                    store::insert_cart(tx, &cart).await?;
                    Ok::<_, Error>(convert::cart(cart, None))
                })
            })
            .await?;
        self.priced(response).await
    }

    async fn get_cart(
        &self,
        request: Request<GetCartRequest>,
    ) -> Result<Response<CartMessage>, Status> {
        let owner = Caller::of(&request).scope().owner();
        let cart = self.store.find_cart(&request.get_ref().cart_id, owner).await?;
        let quote = self.quote(&cart, "").await?;
        Ok(Response::new(convert::cart(cart, Some(&quote))))
    }

    async fn list_carts(
        &self,
        request: Request<ListCartsRequest>,
    ) -> Result<Response<ListCartsResponse>, Status> {
        let owner = Caller::of(&request).scope().owner();
        let message = request.get_ref();
        let status = convert::status_filter(message.status());
        let page = self.pages.page(
            message.page_size,
            &message.page_token,
            &[status, owner.unwrap_or("*")],
        )?;
        let carts = self
            .store
            .list_carts(owner, status, page.after(), page.limit())
            .await
            .map_err(Error::from)?;
        let (carts, next_page_token) =
            page.finish(carts, |last| (last.create_time.micros(), last.id.clone()));
        let carts = carts.into_iter().map(|cart| convert::cart(cart, None)).collect();
        Ok(Response::new(ListCartsResponse { carts, next_page_token }))
    }

    async fn add_line(
        &self,
        request: Request<AddLineRequest>,
    ) -> Result<Response<CartMessage>, Status> {
        let message = request.get_ref();
        let owner = Caller::of(&request).scope().owner();
        let cart = self.store.find_cart(&message.cart_id, owner).await?;
        let added = [LineInput { sku: message.sku.clone(), quantity: message.quantity }];
        let sold = self.demand_sold(&added, cart.currency).await;
        let clock = self.clock.clone();
        self.change(
            request,
            |message| message.cart_id.clone(),
            move |cart, message| {
                sold?;
                Ok(cart.add(&message.sku, message.quantity, || clock.id())?)
            },
        )
        .await
    }

    async fn update_line(
        &self,
        request: Request<UpdateLineRequest>,
    ) -> Result<Response<CartMessage>, Status> {
        self.change(
            request,
            |message| message.cart_id.clone(),
            |cart, message| {
                check_etag(cart, &message.etag)?;
                Ok(cart.set(&message.line_id, message.quantity)?)
            },
        )
        .await
    }

    async fn remove_line(
        &self,
        request: Request<RemoveLineRequest>,
    ) -> Result<Response<CartMessage>, Status> {
        self.change(
            request,
            |message| message.cart_id.clone(),
            |cart, message| Ok(cart.set(&message.line_id, 0)?),
        )
        .await
    }

    async fn replace_lines(
        &self,
        request: Request<ReplaceLinesRequest>,
    ) -> Result<Response<CartMessage>, Status> {
        let message = request.get_ref();
        let owner = Caller::of(&request).scope().owner();
        let cart = self.store.find_cart(&message.cart_id, owner).await?;
        let sold = self.demand_sold(&message.lines, cart.currency).await;
        let clock = self.clock.clone();
        self.change(
            request,
            |message| message.cart_id.clone(),
            move |cart, message| {
                sold?;
                check_etag(cart, &message.etag)?;
                cart.lines.clear();
                for line in &message.lines {
                    cart.add(&line.sku, line.quantity, || clock.id())?;
                }
                Ok(())
            },
        )
        .await
    }

    async fn clear_cart(
        &self,
        request: Request<ClearCartRequest>,
    ) -> Result<Response<CartMessage>, Status> {
        self.change(
            request,
            |message| message.cart_id.clone(),
            |cart, _| {
                cart.lines.clear();
                Ok(())
            },
        )
        .await
    }
}

impl Rpc {
    /// Changes the lines of a cart in one transaction, once.
    async fn change<M, C>(
        &self,
        request: Request<M>,
        cart_id: fn(&M) -> String,
        change: C,
    ) -> Result<Response<CartMessage>, Status>
    where
        M: Message + Name + Clone + 'static,
        C: FnOnce(&mut Cart, &M) -> Result<(), Error> + Send + 'static,
    {
        let owner = Caller::of(&request).scope().owner().map(str::to_owned);
        let response = self
            .store
            .database()
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let mut cart =
                        store::lock_cart(tx, &cart_id(&message), owner.as_deref()).await?;
                    match cart.status {
                        CartStatus::Active => {}
                        CartStatus::CheckingOut | CartStatus::Converted => {
                            return Err(Error::CartNotActive);
                        }
                    }
                    change(&mut cart, &message)?;
                    store::update_cart_lines(tx, &mut cart).await?;
                    Ok(convert::cart(cart, None))
                })
            })
            .await?;
        self.priced(response).await
    }

    /// Puts today's prices on a cart that was answered without: the lines are
    /// what was kept, the prices are always today's.
    async fn priced(
        &self,
        response: Response<CartMessage>,
    ) -> Result<Response<CartMessage>, Status> {
        let (metadata, cart, extensions) = response.into_parts();
        let lines: Vec<Line> = cart
            .lines
            .iter()
            .map(|line| Line {
                line_id: line.line_id.clone(),
                sku: line.sku.clone(),
                quantity: line.quantity,
            })
            .collect();
        let currency = Currency::new(&cart.currency_code).map_err(Error::from)?;
        let market = self.market.of(&lines, currency).await?;
        let quote =
            crate::domain::Quote::of(&lines, currency, &market, None, 0).map_err(Error::from)?;
        let cart = CartMessage {
            lines: quote.lines.iter().map(convert::line).collect(),
            totals: Some(convert::totals(&quote)),
            ..cart
        };
        Ok(Response::from_parts(metadata, cart, extensions))
    }

    /// Refuses SKUs that the catalogue does not sell. The refusal is for a call
    /// that is new: one that is sent again gets its answer whatever is sold now.
    async fn demand_sold(&self, lines: &[LineInput], currency: Currency) -> Result<(), Error> {
        if lines.is_empty() {
            return Ok(());
        }
        let lines: Vec<Line> = lines
            .iter()
            .map(|line| Line {
                line_id: String::new(),
                sku: line.sku.clone(),
                quantity: line.quantity,
            })
            .collect();
        let offers = self.market.offers(&lines, currency).await?;
        let is_sold =
            |line: &Line| offers.get(&line.sku).is_some_and(|offer| offer.unit_price.is_some());
        let skus: Vec<String> =
            lines.into_iter().filter(|line| !is_sold(line)).map(|line| line.sku).collect();
        if skus.is_empty() { Ok(()) } else { Err(Error::SkuUnknown { skus }) }
    }
}

fn check_etag(cart: &Cart, etag: &str) -> Result<(), Error> {
    if etag.is_empty() || etag == cart.etag() { Ok(()) } else { Err(Error::EtagMismatch) }
}
