//! Products. The methods of variants stand in the service's contract too; they
//! are told in `variant`.

mod write;

use std::collections::HashMap;

use contracts::catalog::v1::{self, product_service_server::ProductService};
use tonic::{Request, Response, Status};

use super::{Rpc, currency, reply, reply::Detail, sees_all, variant};
use crate::{
    domain::State,
    error::Error,
    store::{self, Source, product::Filter, product::Order},
};

pub(super) use write::{check_room, demand_text, event, new_variant, published, unique, updated};

/// The order of a list that asks for none is newest first; this is the other.
const BY_TITLE: &str = "title";
/// The largest page of whole products: more would not fit a message.
const FULL_PAGE_MAX: i32 = 100;

#[tonic::async_trait]
impl ProductService for Rpc {
    async fn create_product(
        &self,
        request: Request<v1::CreateProductRequest>,
    ) -> Result<Response<v1::Product>, Status> {
        Ok(self.database.once(&request, |tx, message| Box::pin(write::create(tx, message))).await?)
    }

    async fn get_product(
        &self,
        request: Request<v1::GetProductRequest>,
    ) -> Result<Response<v1::Product>, Status> {
        let all = sees_all(&request);
        let message = request.into_inner();
        let detail = Detail { full: true, currency: currency(&message.currency_code)? };
        let mut source = Source::Pool(&self.database);
        let found = store::product::find(&mut source, &[&message.product_id], all, true)
            .await
            .map_err(Error::from)?;
        let product = found
            .into_iter()
            .next()
            .ok_or(Error::ProductNotFound { product_id: message.product_id })?;
        let reply = reply::product(&mut source, product, detail, self.clock.now())
            .await
            .map_err(Error::from)?;
        Ok(Response::new(reply))
    }

    async fn get_product_by_slug(
        &self,
        request: Request<v1::GetProductBySlugRequest>,
    ) -> Result<Response<v1::GetProductBySlugResponse>, Status> {
        let all = sees_all(&request);
        let v1::GetProductBySlugRequest { slug, currency_code } = request.into_inner();
        let detail = Detail { full: true, currency: currency(&currency_code)? };
        let found =
            store::product::find_by_slug(&self.database, &slug, all).await.map_err(Error::from)?;
        let product =
            found.ok_or_else(|| Error::ProductNotFound { product_id: format!("called {slug}") })?;
        let redirected = product.slug != slug;
        let mut source = Source::Pool(&self.database);
        let product = reply::product(&mut source, product, detail, self.clock.now())
            .await
            .map_err(Error::from)?;
        Ok(Response::new(v1::GetProductBySlugResponse { product: Some(product), redirected }))
    }

    async fn batch_get_products(
        &self,
        request: Request<v1::BatchGetProductsRequest>,
    ) -> Result<Response<v1::BatchGetProductsResponse>, Status> {
        let all = sees_all(&request);
        let message = request.into_inner();
        let full = message.view() != v1::ProductView::Basic;
        let detail = Detail { full, currency: currency(&message.currency_code)? };
        let mut source = Source::Pool(&self.database);
        let found = store::product::find(&mut source, &message.product_ids, all, full)
            .await
            .map_err(Error::from)?;
        let replies = reply::products(&mut source, found, detail, self.clock.now())
            .await
            .map_err(Error::from)?;
        let mut by_id: HashMap<String, v1::Product> =
            replies.into_iter().map(|product| (product.product_id.clone(), product)).collect();
        let mut response = v1::BatchGetProductsResponse::default();
        for product_id in unique(message.product_ids) {
            match by_id.remove(&product_id) {
                Some(product) => response.products.push(product),
                None => response.missing_product_ids.push(product_id),
            }
        }
        Ok(Response::new(response))
    }

    async fn list_products(
        &self,
        request: Request<v1::ListProductsRequest>,
    ) -> Result<Response<v1::ListProductsResponse>, Status> {
        let all = sees_all(&request);
        let message = request.into_inner();
        let full = message.view() == v1::ProductView::Full;
        let detail = Detail { full, currency: currency(&message.currency_code)? };
        let asked = reply::state(message.state());
        let published = State::Published;
        if !all && asked.is_some_and(|state| state != published) {
            return Ok(Response::new(v1::ListProductsResponse::default()));
        }
        let filter = Filter {
            category_id: Some(message.category_id.clone()).filter(|id| !id.is_empty()),
            state: if all { asked } else { Some(published) },
        };
        let by_title = message.order_by == BY_TITLE;
        let place = [
            message.category_id.as_str(),
            filter.state.map_or("", State::name),
            if by_title { BY_TITLE } else { "" },
        ];
        let page_size = if full { message.page_size.min(FULL_PAGE_MAX) } else { message.page_size };
        let page = self.pages.page(page_size, &message.page_token, &place)?;
        let order = if by_title { Order::Title(page.after()) } else { Order::Newest(page.after()) };
        let found = store::product::page(&self.database, &filter, &order, page.limit(), full)
            .await
            .map_err(Error::from)?;
        let (found, next_page_token) = if by_title {
            page.finish(found, |last| (last.title_key(), last.product_id.clone()))
        } else {
            page.finish(found, |last| (last.create_time, last.product_id.clone()))
        };
        let mut source = Source::Pool(&self.database);
        let products = reply::products(&mut source, found, detail, self.clock.now())
            .await
            .map_err(Error::from)?;
        Ok(Response::new(v1::ListProductsResponse { products, next_page_token }))
    }

    async fn update_product(
        &self,
        request: Request<v1::UpdateProductRequest>,
    ) -> Result<Response<v1::Product>, Status> {
        Ok(self.database.once(&request, |tx, message| Box::pin(write::update(tx, message))).await?)
    }

    async fn delete_product(
        &self,
        request: Request<v1::DeleteProductRequest>,
    ) -> Result<Response<v1::DeleteProductResponse>, Status> {
        Ok(self.database.once(&request, |tx, message| Box::pin(write::delete(tx, message))).await?)
    }

    async fn publish_product(
        &self,
        request: Request<v1::PublishProductRequest>,
    ) -> Result<Response<v1::PublishProductResponse>, Status> {
        Ok(self
            .database
            .once(&request, |tx, message| Box::pin(write::publish(tx, message)))
            .await?)
    }

    async fn unpublish_product(
        &self,
        request: Request<v1::UnpublishProductRequest>,
    ) -> Result<Response<v1::UnpublishProductResponse>, Status> {
        Ok(self
            .database
            .once(&request, |tx, message| Box::pin(write::unpublish(tx, message)))
            .await?)
    }

    async fn archive_product(
        &self,
        request: Request<v1::ArchiveProductRequest>,
    ) -> Result<Response<v1::ArchiveProductResponse>, Status> {
        Ok(self
            .database
            .once(&request, |tx, message| Box::pin(write::archive(tx, message)))
            .await?)
    }

    async fn set_product_categories(
        &self,
        request: Request<v1::SetProductCategoriesRequest>,
    ) -> Result<Response<v1::SetProductCategoriesResponse>, Status> {
        Ok(self
            .database
            .once(&request, |tx, message| Box::pin(write::set_categories(tx, message)))
            .await?)
    }

    async fn create_variant(
        &self,
        request: Request<v1::CreateVariantRequest>,
    ) -> Result<Response<v1::Variant>, Status> {
        Ok(self
            .database
            .once(&request, |tx, message| Box::pin(variant::create(tx, message)))
            .await?)
    }

    async fn get_variant(
        &self,
        request: Request<v1::GetVariantRequest>,
    ) -> Result<Response<v1::Variant>, Status> {
        Ok(Response::new(self.find_variant(request).await?))
    }

    async fn batch_get_variants(
        &self,
        request: Request<v1::BatchGetVariantsRequest>,
    ) -> Result<Response<v1::BatchGetVariantsResponse>, Status> {
        Ok(Response::new(self.find_variants(request).await?))
    }

    async fn list_variants(
        &self,
        request: Request<v1::ListVariantsRequest>,
    ) -> Result<Response<v1::ListVariantsResponse>, Status> {
        Ok(Response::new(self.variants_of(request).await?))
    }

    async fn lookup_variants(
        &self,
        request: Request<v1::LookupVariantsRequest>,
    ) -> Result<Response<v1::LookupVariantsResponse>, Status> {
        Ok(Response::new(self.variants_by_codes(request).await?))
    }

    async fn update_variant(
        &self,
        request: Request<v1::UpdateVariantRequest>,
    ) -> Result<Response<v1::Variant>, Status> {
        Ok(self
            .database
            .once(&request, |tx, message| Box::pin(variant::update(tx, message)))
            .await?)
    }

    async fn delete_variant(
        &self,
        request: Request<v1::DeleteVariantRequest>,
    ) -> Result<Response<v1::DeleteVariantResponse>, Status> {
        Ok(self
            .database
            .once(&request, |tx, message| Box::pin(variant::delete(tx, message)))
            .await?)
    }
}
