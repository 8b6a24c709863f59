//! How a socket ends: the codes of its last frame (RFC 6455, section 7.4, and
//! IANA's registry).
//!
//! | code | when |
//! |---|---|
//! | 1000 | the call ended well |
//! | 1001 | the gateway stops; connect again |
//! | 1002 | the frames are no WebSocket |
//! | 1007 | a message cannot be read (`INVALID_ARGUMENT` of a frame) |
//! | 1008 | any refusal that is not below: `NOT_FOUND`, `FAILED_PRECONDITION` … |
//! | 1009 | a message is too large |
//! | 1011 | `INTERNAL`, `UNKNOWN`, `DATA_LOSS` |
//! | 1013 | `UNAVAILABLE`, `RESOURCE_EXHAUSTED`: try again later |
//! | 3000 | `UNAUTHENTICATED` |
//! | 3003 | `PERMISSION_DENIED` |
//! | 3008 | `DEADLINE_EXCEEDED`, or a client that answers no ping |
//!
//! A failure is said in full by a text frame `{"error": …}` before, and in short
//! by the reason of the Close: `NOT_FOUND PRODUCT_UNKNOWN`.

use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use tokio_tungstenite::tungstenite::{
    Error,
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use tonic::Code;

use crate::problem;

/// A reason has this many bytes at most (RFC 6455, section 5.5).
const REASON_BYTES_MAX: usize = 123;

/// The call ended well.
pub(super) fn well() -> CloseFrame {
    CloseFrame { code: CloseCode::Normal, reason: "".into() }
}

/// The call, or what the client sent, failed.
pub(super) fn failed(fault: &Fault) -> CloseFrame {
    let code =
        if fault.is(ErrorReason::MessageTooLarge) { CloseCode::Size } else { code(fault.code()) };
    let mut reason = problem::name(fault.code()).to_owned();
    if !fault.reason().is_empty() && fault.reason() != reason {
        reason = format!("{reason} {}", fault.reason());
    }
    frame(code, &reason)
}

/// The client sent a message that cannot be read.
pub(super) fn unreadable(fault: &Fault) -> CloseFrame {
    let CloseFrame { code, reason } = failed(fault);
    let code = if code == CloseCode::Policy { CloseCode::Invalid } else { code };
    CloseFrame { code, reason }
}

/// The gateway stops.
pub(super) fn away() -> CloseFrame {
    frame(CloseCode::Away, "the gateway stops; connect again")
}

/// The client answers no ping.
pub(super) fn silent() -> CloseFrame {
    frame(code(Code::DeadlineExceeded), "no pong came")
}

/// What the client sends is no WebSocket; `None` if there is nobody to tell.
pub(super) fn broken(error: &Error) -> Option<CloseFrame> {
    let code = match error {
        Error::Capacity(_) => CloseCode::Size,
        Error::Utf8(_) => CloseCode::Invalid,
        Error::Protocol(protocol) => {
            use tokio_tungstenite::tungstenite::error::ProtocolError;
            match protocol {
                ProtocolError::ResetWithoutClosingHandshake
                | ProtocolError::SendAfterClosing
                | ProtocolError::ReceivedAfterClosing => return None,
                _ => CloseCode::Protocol,
            }
        }
        _ => return None,
    };
    Some(frame(code, &error.to_string()))
}

fn code(code: Code) -> CloseCode {
    match code {
        Code::Ok => CloseCode::Normal,
        Code::Internal | Code::Unknown | Code::DataLoss => CloseCode::Error,
        Code::Unavailable | Code::ResourceExhausted => CloseCode::Again,
        Code::Unauthenticated => CloseCode::Iana(3_000),
        Code::PermissionDenied => CloseCode::Iana(3_003),
        Code::DeadlineExceeded => CloseCode::Iana(3_008),
        Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented => CloseCode::Policy,
    }
}

fn frame(code: CloseCode, reason: &str) -> CloseFrame {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    CloseFrame { code, reason: reason.get(..end).unwrap_or_default().into() }
}
