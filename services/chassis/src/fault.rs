//! The one form of failure: what a service's error becomes, and what a
//! `tonic::Status` is made from.
//!
//! A [`Fault`] keeps two audiences apart: code, reason, message and details are
//! for the caller; `because` is for the log alone and never leaves the process.
//! On the wire it is a `google.rpc.Status` with the standard details
//! (AIP-193): `ErrorInfo` always, the others where they apply.

use std::{collections::BTreeMap, error::Error as StdError, fmt, time::Duration};

use contracts::{Reason, mesh::v1::ErrorReason};
use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt as _};

type Source = Box<dyn StdError + Send + Sync>;

/// Why a call failed, as its caller is told.
#[derive(Debug)]
pub struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    reason: String,
    domain: String,
    message: String,
    metadata: BTreeMap<String, String>,
    violations: Vec<Violation>,
    preconditions: Vec<Precondition>,
    retry_after: Option<Duration>,
    /// What a peer sent, as it came.
    details: Vec<u8>,
    source: Option<Source>,
}

/// A field of the request that is wrong, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request, as the contract spells it: `lines[2].quantity`.
    pub field: String,
    /// What is wrong and how to mend it, for a person.
    pub description: String,
}

/// A state of the world that forbids the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// The kind of precondition in `UPPER_SNAKE_CASE`: `OUT_OF_STOCK`.
    pub kind: String,
    /// What it concerns: an SKU, a resource's id.
    pub subject: String,
    /// What is wrong, for a person.
    pub description: String,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(reason: impl Reason) -> Self {
            Self::of(Code::$code, reason)
        }
    )*};
}

// === impl Fault ===

impl Fault {
    constructors! {
        /// The request is wrong whatever the state of the world: mend it.
        invalid_argument => InvalidArgument;
        /// What the request names does not exist, or not for this caller.
        not_found => NotFound;
        /// What the request would create exists.
        already_exists => AlreadyExists;
        /// The state of the world forbids it: do not retry as it is.
        failed_precondition => FailedPrecondition;
        /// Another was there first: read again and retry.
        aborted => Aborted;
        /// The caller is known and may not.
        permission_denied => PermissionDenied;
        /// The caller is not known.
        unauthenticated => Unauthenticated;
        /// A quota or a bound is used up: retry later.
        resource_exhausted => ResourceExhausted;
        /// Something is away for now: retry.
        unavailable => Unavailable;
        /// The time allowed ran out; the effect is unknown.
        deadline_exceeded => DeadlineExceeded;
        /// There is no such operation.
        unimplemented => Unimplemented;
        /// A position past what there is.
        out_of_range => OutOfRange;
        /// The caller went away.
        cancelled => Cancelled;
    }

    /// The service failed in a way it did not foresee. The caller learns nothing
    /// more; give the cause to [`Fault::because`], which logs it.
    pub fn internal() -> Self {
        Self::of(Code::Internal, ErrorReason::Internal)
            .message("the service failed; the cause is in its log")
    }

    /// A failure with any code.
    pub fn of<R: Reason>(code: Code, reason: R) -> Self {
        Self(Box::new(Inner {
            code,
            reason: reason.reason().to_owned(),
            domain: R::DOMAIN.to_owned(),
            message: String::new(),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            preconditions: Vec::new(),
            retry_after: None,
            details: Vec::new(),
            source: None,
        }))
    }

    /// What the caller reads. A whole sentence fragment, without secrets.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Names a field of the request that is wrong and what it must be.
    #[must_use]
    pub fn violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.violations.push(Violation { field: field.into(), description: description.into() });
        self
    }

    /// Names a state that forbids the call.
    #[must_use]
    pub fn precondition(
        mut self,
        kind: impl Into<String>,
        subject: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        self.0.preconditions.push(Precondition {
            kind: kind.into(),
            subject: subject.into(),
            description: description.into(),
        });
        self
    }

    /// Adds a machine-readable fact to the `ErrorInfo`.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.into(), value.into());
        self
    }

    /// When it is worth trying again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// The cause, for the log alone.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The machine-readable cause: `OUT_OF_STOCK`. Empty if a peer sent none.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The package whose cause it is: `mercat.inventory.v1`.
    pub fn domain(&self) -> &str {
        &self.0.domain
    }

    /// Whether it is this cause, of this package.
    pub fn is<R: Reason>(&self, reason: R) -> bool {
        self.0.reason == reason.reason() && self.0.domain == R::DOMAIN
    }

    /// What the caller reads.
    pub fn message_text(&self) -> &str {
        &self.0.message
    }

    /// The fields that are wrong.
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// The states that forbid the call.
    pub fn preconditions(&self) -> &[Precondition] {
        &self.0.preconditions
    }

    /// The facts of the `ErrorInfo`.
    pub fn metadata_map(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// When it is worth trying again, if that is known.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The encoded `google.rpc.Status` that a peer sent, with every detail, those
    /// that a `Fault` does not know included. Empty for a fault of this process,
    /// and for a peer that sent none.
    pub fn details(&self) -> &[u8] {
        &self.0.details
    }

    /// Whether the same call may succeed when it is simply made again.
    pub fn is_transient(&self) -> bool {
        match self.0.code {
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted => true,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => false,
        }
    }

    /// What a peer said, with its details.
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let (reason, domain, metadata) = match details.error_info() {
            Some(info) => (
                info.reason.clone(),
                info.domain.clone(),
                info.metadata.clone().into_iter().collect(),
            ),
            None => (String::new(), String::new(), BTreeMap::new()),
        };
        let violations = details.bad_request().map_or_else(Vec::new, |bad| {
            bad.field_violations
                .iter()
                .map(|found| Violation {
                    field: found.field.clone(),
                    description: found.description.clone(),
                })
                .collect()
        });
        let preconditions = details.precondition_failure().map_or_else(Vec::new, |failure| {
            failure
                .violations
                .iter()
                .map(|found| Precondition {
                    kind: found.r#type.clone(),
                    subject: found.subject.clone(),
                    description: found.description.clone(),
                })
                .collect()
        });
        Self(Box::new(Inner {
            code: status.code(),
            reason,
            domain,
            message: status.message().to_owned(),
            metadata,
            violations,
            preconditions,
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            details: status.details().to_vec(),
            source: None,
        }))
    }

    /// The form that goes on the wire. Unlike `Status::from`, it does not log.
    pub fn to_status(&self) -> Status {
        let inner = &*self.0;
        let mut details = ErrorDetails::new();
        // Only a peer of other manners gives no reason.
        if !inner.reason.is_empty() {
            details.set_error_info(
                &inner.reason,
                &inner.domain,
                inner.metadata.clone().into_iter().collect::<std::collections::HashMap<_, _>>(),
            );
        }
        for violation in &inner.violations {
            details.add_bad_request_violation(&violation.field, &violation.description);
        }
        for precondition in &inner.preconditions {
            details.add_precondition_failure_violation(
                &precondition.kind,
                &precondition.subject,
                &precondition.description,
            );
        }
        if let Some(delay) = inner.retry_after {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details_and_metadata(
            inner.code,
            self.to_string(),
            details,
            MetadataMap::new(),
        )
    }

    /// Writes the cause to the log, as a chain: for whoever tells the caller
    /// otherwise than by a `Status`.
    pub fn log(&self) {
        let Some(source) = &self.0.source else { return };
        let chain = Chain(source.as_ref());
        match self.0.code {
            Code::Internal | Code::Unknown | Code::DataLoss => {
                tracing::error!(reason = self.0.reason, cause = %chain, "a call failed");
            }
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => {
                tracing::warn!(reason = self.0.reason, cause = %chain, "a call could not be served");
            }
            _ => tracing::debug!(reason = self.0.reason, cause = %chain, "a call was refused"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.message.is_empty() {
            return f.write_str(&self.0.message);
        }
        if let Some(violation) = self.0.violations.first() {
            return write!(f, "{}: {}", violation.field, violation.description);
        }
        f.write_str(if self.0.reason.is_empty() {
            self.0.code.description()
        } else {
            &self.0.reason
        })
    }
}

impl StdError for Fault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        }
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        fault.log();
        fault.to_status()
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Self::from_status(&status)
    }
}

/// An error and everything beneath it, on one line.
struct Chain<'a>(&'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

/// Lets a service's `Error` become a `tonic::Status` by way of its [`Fault`],
/// so that handlers can use `?`.
#[macro_export]
macro_rules! status_from {
    ($error:ty) => {
        impl ::core::convert::From<$error> for ::tonic::Status {
            fn from(error: $error) -> Self {
                $crate::Fault::from(error).into()
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_wire() {
        let fault = Fault::failed_precondition(ErrorReason::Conflict)
            .message("two of the lines are short")
            .violation("lines[0].quantity", "at most 3")
            .precondition("OUT_OF_STOCK", "MUG-1", "2 are left")
            .metadata("cart", "c1")
            .retry_after(Duration::from_secs(3))
            .because("not for the caller");

        let status = Status::from(fault);
        assert_eq!(status.message(), "two of the lines are short");
        let back = Fault::from_status(&status);

        assert_eq!(back.code(), Code::FailedPrecondition);
        assert!(back.is(ErrorReason::Conflict));
        assert_eq!(back.violations().len(), 1);
        assert_eq!(back.preconditions()[0].subject, "MUG-1");
        assert_eq!(back.metadata_map().get("cart").map(String::as_str), Some("c1"));
        assert_eq!(back.retry_delay(), Some(Duration::from_secs(3)));
        assert!(!format!("{status:?}").contains("not for the caller"));
    }
}
