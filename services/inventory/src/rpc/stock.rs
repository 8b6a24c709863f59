//! `StockService`.

use chassis::{Fault, store::Tx};
use contracts::{
    Reason as _,
    inventory::v1::{
        AdjustStockRequest, AdjustStockResponse, BulkSetStockRequest, BulkSetStockResponse,
        ErrorReason, GetStockRequest, ListLowStockRequest, ListLowStockResponse,
        ListMovementsRequest, ListMovementsResponse, ListStockRequest, ListStockResponse,
        ReceiveStockRequest, ReceiveStockResponse, ReconcileStockRequest, ReconcileStockResponse,
        RowError, SetStockPolicyRequest, SetStockPolicyResponse, SetStockRequest, SetStockResponse,
        Stock, StockDiscrepancy, TransferStockRequest, TransferStockResponse, WriteOffRequest,
        WriteOffResponse, stock_service_server::StockService,
    },
};
use tonic::{Request, Response, Status};

use super::{Rpc, given, version_of};
use crate::{
    domain::{Kind, Level, LevelKey, Movement},
    error::Error,
    events,
    store::{
        Note,
        ledger::{self, Change, Count, Counted, Filter, Fold, Refusal},
        level::{self, Policy},
    },
};

#[tonic::async_trait]
impl StockService for Rpc {
    async fn get_stock(
        &self,
        request: Request<GetStockRequest>,
    ) -> Result<Response<Stock>, Status> {
        let sku = request.into_inner().sku;
        let found = level::of_sku(&self.database, &sku).await.map_err(Error::from)?;
        if found.is_empty() {
            return Err(Error::LevelNotFound { sku, location_id: None }.into());
        }
        let active = found.iter().filter(|placed| placed.active);
        Ok(Response::new(Stock {
            sku,
            available: active.map(|placed| placed.level.available.max(0)).sum(),
            on_hand: found.iter().map(|placed| placed.level.on_hand).sum(),
            reserved: found.iter().map(|placed| placed.level.reserved).sum(),
            committed: found.iter().map(|placed| placed.level.committed).sum(),
            levels: found.into_iter().map(|placed| placed.level.into()).collect(),
        }))
    }

    async fn list_stock(
        &self,
        request: Request<ListStockRequest>,
    ) -> Result<Response<ListStockResponse>, Status> {
        let request = request.into_inner();
        let page = self.pages.page(
            request.page_size,
            &request.page_token,
            &[&request.sku, &request.location_id],
        )?;
        let (sku, location_id) = (given(request.sku), given(request.location_id));
        let found = level::list(
            &self.database,
            sku.as_deref(),
            location_id.as_deref(),
            page.after(),
            page.limit(),
        )
        .await;
        let (levels, next_page_token) = page.finish(found.map_err(Error::from)?, sort_key);
        let levels = levels.into_iter().map(Into::into).collect();
        Ok(Response::new(ListStockResponse { levels, next_page_token }))
    }

    async fn set_stock(
        &self,
        request: Request<SetStockRequest>,
    ) -> Result<Response<SetStockResponse>, Status> {
        let note = self.note(&request, &request.get_ref().reason);
        let set = self.database.once(&request, move |tx, message: SetStockRequest| {
            Box::pin(async move {
                let key = LevelKey::new(message.sku, message.location_id);
                let version = version_of(&message.etag)?;
                let found = level::lock(tx, &key, note.now).await?;
                let delta = message.on_hand - found.on_hand;
                if delta == 0 && version.is_none_or(|version| version == found.version) {
                    return Ok(SetStockResponse { level: Some(found.into()) });
                }
                let level =
                    move_one(tx, Movement::new(key, Kind::Adjust, delta), version, &note).await?;
                Ok::<_, Error>(SetStockResponse { level: Some(level.into()) })
            })
        });
        Ok(set.await?)
    }

    async fn adjust_stock(
        &self,
        request: Request<AdjustStockRequest>,
    ) -> Result<Response<AdjustStockResponse>, Status> {
        let note = self.note(&request, &request.get_ref().reason);
        let adjusted = self.database.once(&request, move |tx, message: AdjustStockRequest| {
            Box::pin(async move {
                let key = LevelKey::new(message.sku, message.location_id);
                let movement = Movement::new(key, Kind::Adjust, message.delta);
                let level = move_one(tx, movement, version_of(&message.etag)?, &note).await?;
                Ok::<_, Error>(AdjustStockResponse { level: Some(level.into()) })
            })
        });
        Ok(adjusted.await?)
    }

    async fn receive_stock(
        &self,
        request: Request<ReceiveStockRequest>,
    ) -> Result<Response<ReceiveStockResponse>, Status> {
        let note = self.note(&request, &request.get_ref().reason);
        let received = self.database.once(&request, move |tx, message: ReceiveStockRequest| {
            Box::pin(async move {
                let key = LevelKey::new(message.sku, message.location_id);
                level::lock(tx, &key, note.now).await?;
                let level =
                    move_one(tx, Movement::new(key, Kind::Receive, message.quantity), None, &note)
                        .await?;
                Ok::<_, Error>(ReceiveStockResponse { level: Some(level.into()) })
            })
        });
        Ok(received.await?)
    }

    async fn transfer_stock(
        &self,
        request: Request<TransferStockRequest>,
    ) -> Result<Response<TransferStockResponse>, Status> {
        let note = self.note(&request, &request.get_ref().reason);
        let transferred = self.database.once(&request, move |tx, message: TransferStockRequest| {
            Box::pin(async move { transfer(tx, message, &note).await })
        });
        Ok(transferred.await?)
    }

    async fn write_off(
        &self,
        request: Request<WriteOffRequest>,
    ) -> Result<Response<WriteOffResponse>, Status> {
        let note = self.note(&request, &request.get_ref().reason);
        let written_off = self.database.once(&request, move |tx, message: WriteOffRequest| {
            Box::pin(async move {
                let key = LevelKey::new(message.sku, message.location_id);
                let level =
                    move_one(tx, Movement::new(key, Kind::WriteOff, message.quantity), None, &note)
                        .await?;
                Ok::<_, Error>(WriteOffResponse { level: Some(level.into()) })
            })
        });
        Ok(written_off.await?)
    }

    async fn set_stock_policy(
        &self,
        request: Request<SetStockPolicyRequest>,
    ) -> Result<Response<SetStockPolicyResponse>, Status> {
        let note = self.note(&request, "");
        let set = self.database.once(&request, move |tx, message: SetStockPolicyRequest| {
            Box::pin(async move {
                let policy = Policy {
                    safety: message.safety,
                    backorder_limit: message.backorder_limit,
                    reorder_point: message.reorder_point,
                };
                let key = LevelKey::new(message.sku, message.location_id);
                let version = version_of(&message.etag)?;
                let (before, after) =
                    level::set_policy(tx, &key, policy, version, note.now).await?;
                let change = Change { before, after: after.clone(), kind: None };
                events::changed(tx, &[change], &note).await?;
                Ok::<_, Error>(SetStockPolicyResponse { level: Some(after.into()) })
            })
        });
        Ok(set.await?)
    }

    async fn bulk_set_stock(
        &self,
        request: Request<BulkSetStockRequest>,
    ) -> Result<Response<BulkSetStockResponse>, Status> {
        let note = self.note(&request, &request.get_ref().reason);
        let set = self.database.once(&request, move |tx, message: BulkSetStockRequest| {
            Box::pin(async move {
                let rows: Vec<Count> = message
                    .rows
                    .into_iter()
                    .map(|row| Count {
                        sku: row.sku,
                        location_id: row.location_id,
                        on_hand: row.on_hand,
                    })
                    .collect();
                let counted = ledger::count(tx, &rows, &note).await?;
                events::changed(tx, &counted.changes, &note).await?;
                Ok::<_, Error>(outcome(counted, &rows))
            })
        });
        Ok(set.await?)
    }

    async fn list_movements(
        &self,
        request: Request<ListMovementsRequest>,
    ) -> Result<Response<ListMovementsResponse>, Status> {
        let request = request.into_inner();
        let filter = [&*request.sku, &*request.location_id, &*request.reservation_id];
        let page = self.pages.page(request.page_size, &request.page_token, &filter)?;
        let filter = Filter {
            sku: given(request.sku),
            location_id: given(request.location_id),
            reservation_id: given(request.reservation_id),
        };
        let found = ledger::list(&self.database, filter, page.after(), page.limit())
            .await
            .map_err(Error::from)?;
        let (found, next_page_token) = page.finish(found, |last| last.sequence);
        let movements = found.into_iter().map(Into::into).collect();
        Ok(Response::new(ListMovementsResponse { movements, next_page_token }))
    }

    async fn list_low_stock(
        &self,
        request: Request<ListLowStockRequest>,
    ) -> Result<Response<ListLowStockResponse>, Status> {
        let request = request.into_inner();
        let page =
            self.pages.page(request.page_size, &request.page_token, &[&request.location_id])?;
        let location_id = given(request.location_id);
        let found =
            level::list_low(&self.database, location_id.as_deref(), page.after(), page.limit())
                .await;
        let (levels, next_page_token) = page.finish(found.map_err(Error::from)?, sort_key);
        let levels = levels.into_iter().map(Into::into).collect();
        Ok(Response::new(ListLowStockResponse { levels, next_page_token }))
    }

    async fn reconcile_stock(
        &self,
        request: Request<ReconcileStockRequest>,
    ) -> Result<Response<ReconcileStockResponse>, Status> {
        let request = request.into_inner();
        let page = self.pages.page(request.page_size, &request.page_token, &[])?;
        let found =
            ledger::fold(&self.database, page.after(), page.limit()).await.map_err(Error::from)?;
        let (found, next_page_token) =
            page.finish(found, |last| (last.key.sku.clone(), last.key.location_id.clone()));
        let compared_count = count_of(found.len());
        let discrepancies: Vec<_> = found
            .into_iter()
            .filter(|fold| fold.level != fold.ledger)
            .map(StockDiscrepancy::from)
            .collect();
        for found in &discrepancies {
            tracing::error!(
                sku = found.sku,
                location = found.location_id,
                "a level is not the sum of its movements"
            );
        }
        Ok(Response::new(ReconcileStockResponse { discrepancies, next_page_token, compared_count }))
    }
}

impl From<Fold> for StockDiscrepancy {
    fn from(fold: Fold) -> Self {
        Self {
            sku: fold.key.sku,
            location_id: fold.key.location_id,
            level_on_hand: fold.level.on_hand,
            ledger_on_hand: fold.ledger.on_hand,
            level_reserved: fold.level.reserved,
            ledger_reserved: fold.ledger.reserved,
            level_committed: fold.level.committed,
            ledger_committed: fold.ledger.committed,
        }
    }
}

/// Makes one movement and tells of it. The level afterwards.
async fn move_one(
    tx: &mut Tx,
    movement: Movement,
    version: Option<i64>,
    note: &Note,
) -> Result<Level, Error> {
    let key = movement.key.clone();
    let changes = ledger::book(tx, &[movement], version, note).await?;
    events::changed(tx, &changes, note).await?;
    let changed = changes.into_iter().next().map(|change| change.after);
    changed.ok_or(Error::LevelNotFound { sku: key.sku, location_id: Some(key.location_id) })
}

async fn transfer(
    tx: &mut Tx,
    message: TransferStockRequest,
    note: &Note,
) -> Result<TransferStockResponse, Error> {
    let source = LevelKey::new(&message.sku, message.source_location_id);
    let target = LevelKey::new(message.sku, message.target_location_id);
    if source == target {
        return Err(Error::SameLocation);
    }
    // Made, not locked: both are locked below, in the order of their keys.
    level::ensure(tx, &target, note.now).await?;
    let movements = [
        Movement::new(source.clone(), Kind::TransferOut, message.quantity),
        Movement::new(target.clone(), Kind::TransferIn, message.quantity),
    ];
    let changes = ledger::book(tx, &movements, None, note).await.map_err(|error| match error {
        Error::LevelNotFound { location_id: Some(location_id), .. }
            if location_id == target.location_id =>
        {
            Error::LocationNotFound { location_id }
        }
        error => error,
    })?;
    events::changed(tx, &changes, note).await?;
    let after = |key: &LevelKey| {
        let found = changes.iter().find(|change| change.after.key == *key);
        found.map(|change| change.after.clone().into())
    };
    Ok(TransferStockResponse { source: after(&source), target: after(&target) })
}

fn outcome(counted: Counted, rows: &[Count]) -> BulkSetStockResponse {
    let errors = counted.refused.into_iter().filter_map(|(place, refusal)| {
        let row = rows.get(place)?;
        let (reason, message) = match refusal {
            Refusal::Duplicate => (
                ErrorReason::DuplicateRow.reason().to_owned(),
                "an earlier row is for this SKU at this location".to_owned(),
            ),
            Refusal::Error(error) => {
                let fault = Fault::from(error);
                (fault.reason().to_owned(), fault.to_string())
            }
        };
        Some(RowError {
            index: count_of(place),
            sku: row.sku.clone(),
            location_id: row.location_id.clone(),
            reason,
            message,
        })
    });
    BulkSetStockResponse {
        changed_count: count_of(counted.changes.len()),
        unchanged_count: count_of(counted.unchanged),
        errors: errors.collect(),
    }
}

fn sort_key(level: &Level) -> (String, String) {
    (level.key.sku.clone(), level.key.location_id.clone())
}

/// A number of rows, of which a page or a bulk call has a thousand at most.
fn count_of(rows: usize) -> i32 {
    i32::try_from(rows).unwrap_or(i32::MAX)
}
