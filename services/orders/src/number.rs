//! Order numbers: short enough to be read out, never given twice.

use std::sync::Arc;

use chassis::{Database, store};
use tokio::sync::Mutex;

use crate::store::take_numbers;

/// How many numbers are taken from the database at once. A restart leaves a gap.
const BLOCK: i64 = 64;

/// Gives out numbers.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    database: Database,
    block: Arc<Mutex<Block>>,
}

#[derive(Debug, Default)]
struct Block {
    next: i64,
    end: i64,
}

impl Numbers {
    pub(crate) fn new(database: &Database) -> Self {
        Self { database: database.clone(), block: Arc::default() }
    }

    /// The next number: "M100042".
    pub(crate) async fn next(&self) -> Result<String, store::Error> {
        let mut block = self.block.lock().await;
        if block.next == block.end {
            let end = self
                .database
                .write(|tx| Box::pin(async move { take_numbers(tx, BLOCK).await }))
                .await?;
            *block = Block { next: end - BLOCK, end };
        }
        block.next += 1;
        Ok(format!("M{}", block.next))
    }
}
