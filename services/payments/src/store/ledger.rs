//! The ledger. Rows are added and never changed.

use chassis::{
    Currency, Database, Time, args,
    store::{Error as StoreError, FromRow, Row, Tx},
};

use super::{Below, currency, named};
use crate::domain::{Account, EntryKind, Intent, Posting};

macro_rules! columns {
    () => {
        "ledger_entry_id, kind, debit_account, credit_account, amount, currency, payment_intent_id, order_id,
            source_id, create_time"
    };
}

chassis::statements! {
    /// One movement.
    POST_ONE = concat!("insert into ledger_entry (", columns!(), ")
        values ($6, $7, $8, $9, $10, $1, $2, $3, $4, $5)");
    /// Two movements that were learned of together.
    POST_TWO = concat!("insert into ledger_entry (", columns!(), ")
        values ($6, $7, $8, $9, $10, $1, $2, $3, $4, $5), ($11, $12, $13, $14, $15, $1, $2, $3, $4, $5)");
    /// All, newest first.
    LIST_ENTRIES = concat!("select ", columns!(), " from ledger_entry
        where (create_time, ledger_entry_id) < ($1, $2)
            and (cast($4 as text) is null or debit_account = $4 or credit_account = $4)
        order by create_time desc, ledger_entry_id desc limit $3");
    /// Those of an intent.
    LIST_ENTRIES_OF_INTENT = concat!("select ", columns!(), " from ledger_entry
        where payment_intent_id = $5 and (create_time, ledger_entry_id) < ($1, $2)
            and (cast($4 as text) is null or debit_account = $4 or credit_account = $4)
            and (cast($6 as text) is null or order_id = $6)
        order by create_time desc, ledger_entry_id desc limit $3");
    /// Those of an order.
    LIST_ENTRIES_OF_ORDER = concat!("select ", columns!(), " from ledger_entry
        where order_id = $5 and (create_time, ledger_entry_id) < ($1, $2)
            and (cast($4 as text) is null or debit_account = $4 or credit_account = $4)
        order by create_time desc, ledger_entry_id desc limit $3");
    /// The sums per currency, kind and so pair of accounts.
    SUM_ENTRIES = "select currency, debit_account, credit_account, cast(sum(amount) as bigint) as amount
        from ledger_entry group by currency, debit_account, credit_account";
    /// The same, of an intent.
    SUM_ENTRIES_OF_INTENT = "select currency, debit_account, credit_account, cast(sum(amount) as bigint) as amount
        from ledger_entry where payment_intent_id = $1 and (cast($2 as text) is null or order_id = $2)
        group by currency, debit_account, credit_account";
    /// The same, of an order.
    SUM_ENTRIES_OF_ORDER = "select currency, debit_account, credit_account, cast(sum(amount) as bigint) as amount
        from ledger_entry where order_id = $1 group by currency, debit_account, credit_account";
}

/// One movement as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) kind: EntryKind,
    pub(crate) debit: Account,
    pub(crate) credit: Account,
    pub(crate) amount: i64,
    pub(crate) currency: Currency,
    pub(crate) intent_id: String,
    pub(crate) order_id: String,
    pub(crate) source_id: String,
    pub(crate) create_time: Time,
}

/// What went from one account to another.
#[derive(Debug, Clone)]
pub(crate) struct Sum {
    pub(crate) currency: Currency,
    pub(crate) debit: Account,
    pub(crate) credit: Account,
    pub(crate) amount: i64,
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) account: Option<Account>,
    pub(crate) intent_id: Option<String>,
    pub(crate) order_id: Option<String>,
}

impl FromRow for Entry {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("ledger_entry_id")?,
            kind: named(row, "kind", EntryKind::parse)?,
            debit: named(row, "debit_account", Account::parse)?,
            credit: named(row, "credit_account", Account::parse)?,
            amount: row.get("amount")?,
            currency: currency(row)?,
            intent_id: row.get("payment_intent_id")?,
            order_id: row.get("order_id")?,
            source_id: row.get("source_id")?,
            create_time: row.get("create_time")?,
        })
    }
}

impl FromRow for Sum {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            currency: currency(row)?,
            debit: named(row, "debit_account", Account::parse)?,
            credit: named(row, "credit_account", Account::parse)?,
            amount: row.get("amount")?,
        })
    }
}

/// Writes movements down, in the transaction that learned of them.
pub(crate) async fn post(
    tx: &mut Tx,
    intent: &Intent,
    source_id: &str,
    postings: &[Posting],
    now: Time,
) -> Result<(), StoreError> {
    // What is learned of at once is at most the end of a hold and the capture.
    for pair in postings.chunks(2) {
        let mut arguments =
            args![intent.currency.code(), &intent.id, &intent.order_id, source_id, now];
        for posting in pair {
            let (debit, credit) = posting.kind.accounts();
            arguments.extend(args![
                tx.clock().id(),
                posting.kind.as_str(),
                debit.as_str(),
                credit.as_str(),
                posting.amount
            ]);
        }
        tx.execute(if pair.len() == 1 { POST_ONE } else { POST_TWO }, arguments).await?;
    }
    Ok(())
}

/// A page of them, newest first.
pub(crate) async fn list(
    database: &Database,
    filter: &Filter,
    Below(time, id): Below,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    let account = filter.account.map(Account::as_str);
    match (&filter.intent_id, &filter.order_id) {
        (Some(intent_id), order_id) => {
            let arguments = args![time, id, limit, account, intent_id, order_id];
            database.fetch_all(LIST_ENTRIES_OF_INTENT, arguments).await
        }
        (None, Some(order_id)) => {
            database
                .fetch_all(LIST_ENTRIES_OF_ORDER, args![time, id, limit, account, order_id])
                .await
        }
        (None, None) => database.fetch_all(LIST_ENTRIES, args![time, id, limit, account]).await,
    }
}

/// What went between accounts: of everything, of an intent or of an order.
pub(crate) async fn sums(database: &Database, filter: &Filter) -> Result<Vec<Sum>, StoreError> {
    match (&filter.intent_id, &filter.order_id) {
        (Some(intent_id), order_id) => {
            database.fetch_all(SUM_ENTRIES_OF_INTENT, args![intent_id, order_id]).await
        }
        (None, Some(order_id)) => database.fetch_all(SUM_ENTRIES_OF_ORDER, args![order_id]).await,
        (None, None) => database.fetch_all(SUM_ENTRIES, Vec::new()).await,
    }
}
