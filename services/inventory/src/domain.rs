//! The rules of stock: what a level can promise, what a movement does to it,
//! where a reservation is taken from, and how it may end.

use std::collections::BTreeMap;

use chassis::Time;
use serde::{Deserialize, Serialize};

/// One SKU at one location. Its order is the order in which levels are locked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LevelKey {
    /// The SKU.
    pub sku: String,
    /// The location.
    pub location_id: String,
}

/// What lies at one location of one SKU, and what of it is promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Which one.
    pub key: LevelKey,
    /// Units on the shelf.
    pub on_hand: i64,
    /// Units taken by held reservations.
    pub reserved: i64,
    /// Units owned by committed reservations and not yet shipped.
    pub committed: i64,
    /// Units never promised.
    pub safety: i64,
    /// Units that may be promised beyond the shelf.
    pub backorder_limit: i64,
    /// At so many free units the level is low; 0 for never.
    pub reorder_point: i64,
    /// What may still be promised; negative if the safety stock is promised.
    pub available: i64,
    /// Counts its changes.
    pub version: i64,
    /// When it last changed.
    pub update_time: Time,
}

/// What changes a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A delivery came in.
    Receive,
    /// A count was put right.
    Adjust,
    /// A reservation took units.
    Reserve,
    /// A held reservation was released.
    Release,
    /// A held reservation ran out of time.
    Expire,
    /// A reservation was committed.
    Commit,
    /// A committed reservation was cancelled.
    Cancel,
    /// Units were shipped.
    Sale,
    /// A customer sent units back.
    Return,
    /// Units came from another location.
    TransferIn,
    /// Units went to another location.
    TransferOut,
    /// Units were lost.
    WriteOff,
}

/// By how much a movement changes a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delta {
    /// Of the units on the shelf.
    pub on_hand: i64,
    /// Of the reserved units.
    pub reserved: i64,
    /// Of the committed units.
    pub committed: i64,
}

/// One entry for the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Of which level.
    pub key: LevelKey,
    /// What happened.
    pub kind: Kind,
    /// By how much.
    pub delta: Delta,
    /// The reservation that did it.
    pub reservation_id: Option<String>,
}

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Taken until its time is up.
    Held,
    /// The order's own.
    Committed,
    /// Given back by a call.
    Released,
    /// Given back by the sweeper.
    Expired,
    /// Shipped.
    Fulfilled,
    /// Given back after it was committed.
    Returned,
}

/// Units of one SKU taken at one location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The SKU.
    pub sku: String,
    /// Where.
    pub location_id: String,
    /// How many were taken.
    pub quantity: i64,
    /// How many of them were shipped.
    pub fulfilled: i64,
}

/// Stock taken for one buyer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Its id.
    pub reservation_id: String,
    /// For whom.
    pub owner: String,
    /// Where it stands.
    pub state: State,
    /// What is taken where, in the order of [`LevelKey`].
    pub lines: Vec<Line>,
    /// Counts its changes.
    pub version: i64,
    /// When it was made.
    pub create_time: Time,
    /// When it falls back unless committed.
    pub expire_time: Time,
    /// When it last changed.
    pub update_time: Time,
}

/// A level that could be asked for units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub key: LevelKey,
    /// What it may still promise.
    pub available: i64,
}

/// A SKU of which there is not enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The SKU.
    pub sku: String,
    /// How many were wanted.
    pub wanted: i64,
    /// How many there are.
    pub available: i64,
}

/// Units that are said to have left the house.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The SKU.
    pub sku: String,
    /// From where; `None` for wherever the reservation took them.
    pub location_id: Option<String>,
    /// How many.
    pub quantity: i64,
}

/// A parcel with more in it than the reservation has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// The SKU.
    pub sku: String,
    /// How many were to leave.
    pub wanted: i64,
    /// How many were left.
    pub left: i64,
}

// === impl LevelKey ===

impl LevelKey {
    /// Names a level.
    pub fn new(sku: impl Into<String>, location_id: impl Into<String>) -> Self {
        Self { sku: sku.into(), location_id: location_id.into() }
    }
}

// === impl Level ===

impl Level {
    /// Units on the shelf that nobody is promised.
    pub fn free(&self) -> i64 {
        self.on_hand - self.reserved - self.committed
    }

    /// Whether it should be ordered again.
    pub fn is_low(&self) -> bool {
        self.reorder_point > 0 && self.free() <= self.reorder_point
    }

    /// What the level was before the movement that made it this.
    #[must_use]
    pub fn before(&self, delta: Delta) -> Self {
        Self {
            on_hand: self.on_hand - delta.on_hand,
            reserved: self.reserved - delta.reserved,
            committed: self.committed - delta.committed,
            available: self.available - delta.available(),
            ..self.clone()
        }
    }
}

// === impl Kind ===

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Receive,
        Self::Adjust,
        Self::Reserve,
        Self::Release,
        Self::Expire,
        Self::Commit,
        Self::Cancel,
        Self::Sale,
        Self::Return,
        Self::TransferIn,
        Self::TransferOut,
        Self::WriteOff,
    ];

    /// What a movement of so many units does to a level. Only an adjustment may
    /// be of a negative number.
    pub fn delta(self, quantity: i64) -> Delta {
        let none = Delta::default();
        match self {
            Self::Receive | Self::Adjust | Self::Return | Self::TransferIn => {
                Delta { on_hand: quantity, ..none }
            }
            Self::TransferOut | Self::WriteOff => Delta { on_hand: -quantity, ..none },
            Self::Reserve => Delta { reserved: quantity, ..none },
            Self::Release | Self::Expire => Delta { reserved: -quantity, ..none },
            Self::Commit => Delta { reserved: -quantity, committed: quantity, ..none },
            Self::Cancel => Delta { committed: -quantity, ..none },
            Self::Sale => Delta { on_hand: -quantity, committed: -quantity, ..none },
        }
    }

    /// As the ledger spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "RECEIVE",
            Self::Adjust => "ADJUST",
            Self::Reserve => "RESERVE",
            Self::Release => "RELEASE",
            Self::Expire => "EXPIRE",
            Self::Commit => "COMMIT",
            Self::Cancel => "CANCEL",
            Self::Sale => "SALE",
            Self::Return => "RETURN",
            Self::TransferIn => "TRANSFER_IN",
            Self::TransferOut => "TRANSFER_OUT",
            Self::WriteOff => "WRITE_OFF",
        }
    }

    /// As the ledger spells it, read.
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

// === impl Delta ===

impl Delta {
    /// By how much it changes what may be promised.
    pub fn available(self) -> i64 {
        self.on_hand - self.reserved - self.committed
    }

    /// Both, one after the other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            on_hand: self.on_hand + other.on_hand,
            reserved: self.reserved + other.reserved,
            committed: self.committed + other.committed,
        }
    }
}

// === impl Movement ===

impl Movement {
    /// A movement that no reservation made.
    pub fn new(key: LevelKey, kind: Kind, quantity: i64) -> Self {
        Self { key, kind, delta: kind.delta(quantity), reservation_id: None }
    }
}

// === impl State ===

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Held,
        Self::Committed,
        Self::Released,
        Self::Expired,
        Self::Fulfilled,
        Self::Returned,
    ];

    /// As the table spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "HELD",
            Self::Committed => "COMMITTED",
            Self::Released => "RELEASED",
            Self::Expired => "EXPIRED",
            Self::Fulfilled => "FULFILLED",
            Self::Returned => "RETURNED_TO_STOCK",
        }
    }

    /// As the table spells it, read.
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

// === impl Line ===

impl Line {
    /// Which level it is taken from.
    pub fn key(&self) -> LevelKey {
        LevelKey::new(&self.sku, &self.location_id)
    }

    /// Units that have not been shipped.
    pub fn left(&self) -> i64 {
        self.quantity - self.fulfilled
    }
}

// === impl Reservation ===

impl Reservation {
    /// What moves when all that is left of it does.
    pub fn movements(&self, kind: Kind) -> Vec<Movement> {
        self.lines
            .iter()
            .filter(|line| line.left() > 0)
            .map(|line| Movement {
                key: line.key(),
                kind,
                delta: kind.delta(line.left()),
                reservation_id: Some(self.reservation_id.clone()),
            })
            .collect()
    }
}

/// Adds up lines of the same SKU, sorted.
pub fn demand(lines: impl IntoIterator<Item = (String, i64)>) -> BTreeMap<String, i64> {
    let mut wanted = BTreeMap::new();
    for (sku, quantity) in lines {
        *wanted.entry(sku).or_insert(0) += quantity;
    }
    wanted
}

/// Chooses where each SKU is taken from: the first candidate that has enough, or
/// if none has, as much as there is from each in turn. Candidates come in order
/// of preference. Says what is short if anything is; the lines come sorted.
pub fn source(
    wanted: &BTreeMap<String, i64>,
    candidates: &[Candidate],
) -> Result<Vec<Line>, Vec<Shortage>> {
    let mut lines = Vec::new();
    let mut short = Vec::new();
    for (sku, &quantity) in wanted {
        let able: Vec<&Candidate> = candidates
            .iter()
            .filter(|level| level.key.sku == *sku && level.available > 0)
            .collect();
        let take = |level: &Candidate, quantity| Line {
            sku: sku.clone(),
            location_id: level.key.location_id.clone(),
            quantity,
            fulfilled: 0,
        };
        if let Some(level) = able.iter().find(|level| level.available >= quantity) {
            lines.push(take(level, quantity));
            continue;
        }
        let available = able.iter().map(|level| level.available).sum();
        if available < quantity {
            short.push(Shortage { sku: sku.clone(), wanted: quantity, available });
            continue;
        }
        let mut left = quantity;
        for level in able {
            let part = left.min(level.available);
            if part > 0 {
                lines.push(take(level, part));
            }
            left -= part;
        }
    }
    if !short.is_empty() {
        return Err(short);
    }
    lines.sort_by_key(Line::key);
    Ok(lines)
}

/// Ships parcels out of a reservation's lines, or everything that is left if
/// there are none. Returns what left, line by line.
pub fn ship(lines: &mut [Line], parcels: &[Parcel]) -> Result<Vec<Line>, Excess> {
    let before: Vec<i64> = lines.iter().map(|line| line.fulfilled).collect();
    if parcels.is_empty() {
        for line in lines.iter_mut() {
            line.fulfilled = line.quantity;
        }
    }
    for parcel in parcels {
        let mut wanted = parcel.quantity;
        for line in lines.iter_mut() {
            if line.sku == parcel.sku
                && parcel.location_id.as_ref().is_none_or(|from| *from == line.location_id)
            {
                let part = wanted.min(line.left());
                line.fulfilled += part;
                wanted -= part;
            }
        }
        if wanted > 0 {
            let left = parcel.quantity - wanted;
            return Err(Excess { sku: parcel.sku.clone(), wanted: parcel.quantity, left });
        }
    }
    let shipped = lines
        .iter()
        .zip(before)
        .map(|(line, before)| Line { quantity: line.fulfilled - before, ..line.clone() });
    Ok(shipped.filter(|line| line.quantity > 0).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(sku: &str, location: &str, available: i64) -> Candidate {
        Candidate { key: LevelKey::new(sku, location), available }
    }

    fn taken(lines: &[Line]) -> Vec<(&str, &str, i64)> {
        lines.iter().map(|line| (&*line.sku, &*line.location_id, line.quantity)).collect()
    }

    #[test]
    fn the_first_location_that_has_enough_is_asked() {
        let wanted = demand([("mug".to_owned(), 3)]);
        let lines = source(
            &wanted,
            &[candidate("mug", "z", 2), candidate("mug", "y", 3), candidate("mug", "a", 9)],
        );
        assert_eq!(taken(&lines.unwrap()), [("mug", "y", 3)]);
    }

    #[test]
    fn a_line_that_no_location_can_meet_is_split() {
        let wanted = demand([("mug".to_owned(), 2), ("mug".to_owned(), 2)]);
        let lines = source(
            &wanted,
            &[candidate("mug", "z", 3), candidate("mug", "y", -1), candidate("mug", "a", 2)],
        );
        assert_eq!(taken(&lines.unwrap()), [("mug", "a", 1), ("mug", "z", 3)]);
    }

    #[test]
    fn every_short_sku_is_named() {
        let wanted = demand([("mug".to_owned(), 4), ("cup".to_owned(), 1), ("pot".to_owned(), 1)]);
        let short =
            source(&wanted, &[candidate("mug", "z", 3), candidate("pot", "z", 1)]).unwrap_err();
        let short: Vec<_> =
            short.iter().map(|short| (&*short.sku, short.wanted, short.available)).collect();
        assert_eq!(short, [("cup", 1, 0), ("mug", 4, 3)]);
    }

    #[test]
    fn a_parcel_ships_from_where_it_is_said_to() {
        let line = |location: &str, quantity| Line {
            sku: "mug".into(),
            location_id: location.into(),
            quantity,
            fulfilled: 0,
        };
        let mut lines = vec![line("a", 2), line("b", 3)];
        let from_b = Parcel { sku: "mug".into(), location_id: Some("b".into()), quantity: 1 };
        let anywhere = Parcel { sku: "mug".into(), location_id: None, quantity: 3 };

        assert_eq!(
            taken(&ship(&mut lines, &[from_b, anywhere]).unwrap()),
            [("mug", "a", 2), ("mug", "b", 2)]
        );
        let too_many = Parcel { sku: "mug".into(), location_id: None, quantity: 2 };
        assert_eq!(ship(&mut lines.clone(), &[too_many]).unwrap_err().left, 1);
        assert_eq!(taken(&ship(&mut lines, &[]).unwrap()), [("mug", "b", 1)]);
        assert_eq!(ship(&mut lines, &[]).unwrap(), []);
    }

    #[test]
    fn states_and_kinds_are_read_as_they_are_spelled() {
        for state in State::ALL {
            assert_eq!(State::find(state.as_str()), Some(state));
        }
        for kind in Kind::ALL {
            assert_eq!(Kind::find(kind.as_str()), Some(kind));
        }
    }

    proptest! {
        /// Whatever is wanted and wherever it lies: all of it is taken and from
        /// nowhere more than there is, or nothing is.
        #[test]
        fn sourcing_takes_all_or_nothing(
            wanted in prop::collection::btree_map("[a-c]", 1_i64..20, 1..4),
            levels in prop::collection::btree_map(("[a-c]", "[x-z]"), -3_i64..15, 0..9),
        ) {
            let candidates: Vec<Candidate> =
                levels.iter().map(|((sku, location), available)| candidate(sku, location, *available)).collect();
            match source(&wanted, &candidates) {
                Ok(lines) => {
                    let sum = demand(lines.iter().map(|line| (line.sku.clone(), line.quantity)));
                    prop_assert_eq!(&sum, &wanted);
                    for line in &lines {
                        prop_assert!(line.quantity > 0);
                        prop_assert!(line.quantity <= levels[&(line.sku.clone(), line.location_id.clone())]);
                    }
                    prop_assert!(lines.windows(2).all(|pair| pair[0].key() < pair[1].key()));
                }
                Err(short) => {
                    for short in short {
                        let there: i64 = levels
                            .iter()
                            .filter(|((sku, _), available)| *sku == short.sku && **available > 0)
                            .map(|(_, available)| available)
                            .sum();
                        prop_assert_eq!(there, short.available);
                        prop_assert!(there < short.wanted);
                    }
                }
            }
        }

        /// A held reservation that ends in any way leaves no trace in what is promised.
        #[test]
        fn what_is_taken_is_given_back(quantity in 1_i64..1_000_000) {
            let held = Kind::Reserve.delta(quantity);
            prop_assert_eq!(held.and(Kind::Release.delta(quantity)), Delta::default());
            prop_assert_eq!(held.and(Kind::Expire.delta(quantity)), Delta::default());
            let committed = held.and(Kind::Commit.delta(quantity));
            prop_assert_eq!(committed.and(Kind::Cancel.delta(quantity)), Delta::default());
            let sold = committed.and(Kind::Sale.delta(quantity));
            prop_assert_eq!(sold, Delta { on_hand: -quantity, ..Delta::default() });
        }
    }
}
