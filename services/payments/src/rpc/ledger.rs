//! `LedgerService`.

use std::collections::BTreeMap;

use chassis::{Currency, Money};
use contracts::payments::v1::{
    GetBalancesRequest, GetBalancesResponse, LedgerBalance, ListLedgerEntriesRequest,
    ListLedgerEntriesResponse, ledger_service_server::LedgerService,
};
use tonic::{Request, Response, Status};

use super::{Rpc, given};
use crate::{
    domain::Account,
    error::Error,
    store::{
        self, Below,
        ledger::{Filter, Sum},
    },
};

#[tonic::async_trait]
impl LedgerService for Rpc {
    async fn list_ledger_entries(
        &self,
        request: Request<ListLedgerEntriesRequest>,
    ) -> Result<Response<ListLedgerEntriesResponse>, Status> {
        let message = request.into_inner();
        let filter = Filter {
            account: Account::from_wire(message.account),
            intent_id: given(message.payment_intent_id),
            order_id: given(message.order_id),
        };
        let parts = [
            filter.account.map_or("", Account::as_str),
            filter.intent_id.as_deref().unwrap_or_default(),
            filter.order_id.as_deref().unwrap_or_default(),
        ];
        let page = self.pages.page(message.page_size, &message.page_token, &parts)?;
        let below = Below::of(page.after());
        let found = store::ledger::list(&self.till.database, &filter, below, page.limit())
            .await
            .map_err(Error::from)?;
        let (entries, next_page_token) =
            page.finish(found, |last| (last.create_time.micros(), last.id.clone()));
        let ledger_entries = entries.into_iter().map(Into::into).collect();
        Ok(Response::new(ListLedgerEntriesResponse { ledger_entries, next_page_token }))
    }

    async fn get_balances(
        &self,
        request: Request<GetBalancesRequest>,
    ) -> Result<Response<GetBalancesResponse>, Status> {
        let message = request.into_inner();
        let filter = Filter {
            account: None,
            intent_id: given(message.payment_intent_id),
            order_id: given(message.order_id),
        };
        let sums = store::ledger::sums(&self.till.database, &filter).await.map_err(Error::from)?;
        Ok(Response::new(GetBalancesResponse { balances: balances(&sums)? }))
    }
}

/// What went between accounts, as what each of them holds.
fn balances(sums: &[Sum]) -> Result<Vec<LedgerBalance>, Error> {
    let mut accounts: BTreeMap<(Currency, Account), (Money, Money)> = BTreeMap::new();
    for sum in sums {
        let (zero, amount) = (Money::zero(sum.currency), Money::new(sum.amount, sum.currency));
        let debit = accounts.entry((sum.currency, sum.debit)).or_insert((zero, zero));
        debit.0 = debit.0.checked_add(amount).map_err(chassis::Fault::from)?;
        let credit = accounts.entry((sum.currency, sum.credit)).or_insert((zero, zero));
        credit.1 = credit.1.checked_add(amount).map_err(chassis::Fault::from)?;
    }
    accounts
        .into_iter()
        .map(|((_, account), (debits, credits))| {
            let balance = debits.checked_sub(credits).map_err(chassis::Fault::from)?;
            Ok(LedgerBalance {
                account: account.wire().into(),
                debits: Some(debits.into()),
                credits: Some(credits.into()),
                balance: Some(balance.into()),
            })
        })
        .collect()
}
