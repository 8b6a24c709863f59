//! Why inventory refuses, and what its callers are told.

use chassis::Fault;
use contracts::{inventory::v1::ErrorReason as Reason, mesh::v1::ErrorReason as Common};

use crate::domain::{Excess, LevelKey, Shortage, State};

/// Why inventory refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Less may be promised than was asked for.
    #[error("{} of the SKUs cannot be met", short.len())]
    OutOfStock {
        /// What is short, and by how much.
        short: Vec<Shortage>,
    },
    /// No reservation has this id.
    #[error("reservation {reservation_id} does not exist")]
    ReservationNotFound {
        /// The id.
        reservation_id: String,
    },
    /// The reservation is past the state that the call needs.
    #[error("reservation {reservation_id} is {} already", state.as_str())]
    Resolved {
        /// Which one.
        reservation_id: String,
        /// Where it stands.
        state: State,
    },
    /// The reservation is still held.
    #[error("reservation {reservation_id} is not committed")]
    NotCommitted {
        /// Which one.
        reservation_id: String,
    },
    /// More is to be shipped than is left.
    #[error("{} of {} were to be shipped and {} are left", excess.wanted, excess.sku, excess.left)]
    Exceeds {
        /// Of what, and by how much.
        excess: Excess,
    },
    /// No location has this id.
    #[error("location {location_id} does not exist")]
    LocationNotFound {
        /// The id.
        location_id: String,
    },
    /// Another location has this code.
    #[error("the code {code} is taken")]
    LocationCodeTaken {
        /// The code.
        code: String,
    },
    /// The location still holds something.
    #[error("location {location_id} holds stock")]
    LocationInUse {
        /// Which one.
        location_id: String,
    },
    /// Nothing of the SKU was ever there.
    #[error("{sku} has no level{}", location_id.as_ref().map(|at| format!(" at {at}")).unwrap_or_default())]
    LevelNotFound {
        /// The SKU.
        sku: String,
        /// Where, if it was asked for somewhere.
        location_id: Option<String>,
    },
    /// Fewer are on the shelf than would leave it.
    #[error("fewer of {} are on the shelf at {}", key.sku, key.location_id)]
    Insufficient {
        /// Where.
        key: LevelKey,
    },
    /// What is left would not cover what is promised.
    #[error("{} at {} is promised", key.sku, key.location_id)]
    Promised {
        /// Where.
        key: LevelKey,
    },
    /// More would be on the shelf than is counted.
    #[error("too many of {} at {}", key.sku, key.location_id)]
    TooLarge {
        /// Where.
        key: LevelKey,
    },
    /// Somebody else was there since the etag was read.
    #[error("{subject} has another etag")]
    EtagMismatch {
        /// What has.
        subject: String,
    },
    /// A transfer from a location to itself.
    #[error("source and target are the same location")]
    SameLocation,
    /// The update mask names what cannot be changed.
    #[error("the update mask names {path}")]
    MaskInvalid {
        /// The path.
        path: String,
    },
    /// Others took units between two looks at the shelf.
    #[error("others took units meanwhile")]
    Contended,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] chassis::store::Error),
    /// The chassis refused.
    #[error("{0}")]
    Refused(Fault),
}

impl Error {
    /// What a violated constraint of a level means.
    pub(crate) fn of_level(error: chassis::store::Error, key: &LevelKey) -> Self {
        let key = key.clone();
        match error.constraint() {
            Some("stock_level_on_hand_check") => Self::Insufficient { key },
            Some("stock_level_promised_check") => Self::Promised { key },
            Some("stock_level_ceiling_check") => Self::TooLarge { key },
            _ => Self::Store(error),
        }
    }

    /// The cause as the contract spells it, if it is one of this service's.
    pub(crate) fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::OutOfStock { .. } => Reason::OutOfStock,
            Self::ReservationNotFound { .. } => Reason::ReservationNotFound,
            Self::Resolved { state, .. } => match state {
                State::Held | State::Committed => Reason::ReservationAlreadyCommitted,
                State::Released => Reason::ReservationAlreadyReleased,
                State::Expired => Reason::ReservationExpired,
                State::Fulfilled => Reason::ReservationAlreadyFulfilled,
                State::Returned => Reason::ReservationAlreadyReturned,
            },
            Self::NotCommitted { .. } => Reason::ReservationNotCommitted,
            Self::Exceeds { .. } => Reason::FulfillmentExceedsReservation,
            Self::LocationNotFound { .. } => Reason::LocationNotFound,
            Self::LocationCodeTaken { .. } => Reason::LocationCodeTaken,
            Self::LocationInUse { .. } => Reason::LocationInUse,
            Self::LevelNotFound { .. } => Reason::LevelNotFound,
            Self::Insufficient { .. } => Reason::StockInsufficient,
            Self::Promised { .. } => Reason::StockPromised,
            Self::TooLarge { .. } => Reason::StockTooLarge,
            Self::EtagMismatch { .. } => Reason::EtagMismatch,
            Self::SameLocation => Reason::SameLocation,
            Self::MaskInvalid { .. } | Self::Contended | Self::Store(_) | Self::Refused(_) => {
                return None;
            }
        })
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::OutOfStock { short } => short.into_iter().fold(
                Self::failed_precondition(Reason::OutOfStock).message(message),
                |fault, short| {
                    let description =
                        format!("{} wanted, {} available", short.wanted, short.available);
                    fault.precondition("OUT_OF_STOCK", short.sku, description)
                },
            ),
            Error::ReservationNotFound { .. } => {
                Self::not_found(Reason::ReservationNotFound).message(message)
            }
            Error::LocationNotFound { .. } => {
                Self::not_found(Reason::LocationNotFound).message(message)
            }
            Error::LevelNotFound { .. } => Self::not_found(Reason::LevelNotFound).message(message),
            Error::LocationCodeTaken { .. } => Self::already_exists(Reason::LocationCodeTaken)
                .violation("code", "is another location's: choose one of its own")
                .message(message),
            Error::EtagMismatch { .. } => Self::aborted(Reason::EtagMismatch)
                .message(format!("{message}: read it again and retry")),
            Error::SameLocation => Self::invalid_argument(Reason::SameLocation)
                .violation("target_location_id", "must be another location than the source")
                .message(message),
            Error::MaskInvalid { path } => Self::invalid_argument(Common::UpdateMaskInvalid)
                .violation(
                    "update_mask",
                    format!("`{path}` is not one of code, display_name, priority, active"),
                )
                .message(message),
            Error::Contended => Self::aborted(Common::Conflict).message(message),
            Error::Store(error) => error.into(),
            Error::Refused(fault) => fault,
            ref refused @ (Error::Resolved { .. }
            | Error::NotCommitted { .. }
            | Error::Exceeds { .. }
            | Error::LocationInUse { .. }
            | Error::Insufficient { .. }
            | Error::Promised { .. }
            | Error::TooLarge { .. }) => match refused.reason() {
                Some(reason) => Self::failed_precondition(reason).message(message),
                None => Self::internal(),
            },
        }
    }
}

chassis::status_from!(Error);
