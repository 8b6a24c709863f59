//! Gives back what was held for too long.

use chassis::{
    Clock,
    store::{Database, Origin},
};

use crate::{
    domain::{Kind, Movement, Reservation},
    error::Error,
    events,
    store::{Note, ledger, reservation},
};

/// Who the ledger says it was.
const ACTOR: &str = "service/inventory";

/// Expires reservations, a bounded number in one transaction. Any number of
/// sweepers may run beside each other, and beside commits: each reservation is
/// expired by one compare-and-set or not at all.
#[derive(Debug, Clone)]
pub(crate) struct Sweeper {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    pub(crate) batch: u32,
}

impl Sweeper {
    /// Expires every reservation whose time is up.
    pub(crate) async fn sweep(self) -> Result<(), Error> {
        while self.expire_some().await? >= self.batch.try_into().unwrap_or(usize::MAX) {}
        Ok(())
    }

    async fn expire_some(&self) -> Result<usize, Error> {
        let note = Note { actor: ACTOR.to_owned(), reason: String::new(), now: self.clock.now() };
        let limit = i64::from(self.batch);
        let origin = Origin::current().actor(ACTOR);
        self.database
            .write_from(origin, move |tx| {
                Box::pin(async move {
                    let expired: Vec<Reservation> =
                        reservation::expire(tx, note.now, limit).await?;
                    if expired.is_empty() {
                        return Ok(0);
                    }
                    let movements: Vec<Movement> = expired
                        .iter()
                        .flat_map(|reservation| reservation.movements(Kind::Expire))
                        .collect();
                    let changes = ledger::book(tx, &movements, None, &note).await?;
                    for reservation in &expired {
                        events::expired(tx, reservation).await?;
                    }
                    events::changed(tx, &changes, &note).await?;
                    tracing::debug!(count = expired.len(), "reservations expired");
                    Ok(expired.len())
                })
            })
            .await
    }
}
