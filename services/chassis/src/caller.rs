//! Who calls, and for whom.

use contracts::mesh::v1::ErrorReason;
use http::Extensions;
use tonic::Request;

use crate::Fault;

/// The permission that includes every other: what the role `admin` holds.
pub const EVERY_PERMISSION: &str = "*";

/// The party behind a token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Principal {
    /// No token.
    #[default]
    Anonymous,
    /// Someone who has not signed in, but whose cart is remembered.
    Guest {
        /// The guest's id; it becomes the customer's when the guest registers.
        id: String,
    },
    /// A registered customer.
    Customer {
        /// The user's id.
        id: String,
    },
    /// A user with roles.
    Staff {
        /// The user's id.
        id: String,
        /// What the roles permit.
        permissions: Vec<String>,
    },
}

/// Whose things a call may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Only this owner's.
    Own(String),
    /// Anybody's: staff with the permission, or a service acting for itself.
    Any,
}

/// Who calls, as the access layer found out: in the extensions of every request
/// that reaches a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    principal: Principal,
    service: Option<String>,
    scope: Scope,
}

// === impl Scope ===

impl Scope {
    /// The only owner whose things may be touched, or `None` if any may.
    pub fn owner(&self) -> Option<&str> {
        match self {
            Self::Own(owner) => Some(owner),
            Self::Any => None,
        }
    }

    /// Whether this owner's things may be touched.
    pub fn covers(&self, owner: &str) -> bool {
        match self {
            Self::Own(own) => own == owner,
            Self::Any => true,
        }
    }
}

// === impl Principal ===

impl Principal {
    /// The id behind the token, if there is one.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::Guest { id } | Self::Customer { id } | Self::Staff { id, .. } => Some(id),
        }
    }
}

// === impl Caller ===

impl Caller {
    /// A caller as the access layer admits it.
    pub fn new(principal: Principal, service: Option<String>, scope: Scope) -> Self {
        Self { principal, service, scope }
    }

    /// The same caller, with another reach.
    pub(crate) fn with_scope(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    /// The caller of a request. Anonymous, and owner of nothing, if the request
    /// did not come through the server stack.
    pub fn of<T>(request: &Request<T>) -> &Self {
        Self::from_extensions(request.extensions().get::<Self>())
    }

    /// As [`Caller::of`], for a plain HTTP request's extensions.
    pub fn in_extensions(extensions: &Extensions) -> &Self {
        Self::from_extensions(extensions.get::<Self>())
    }

    fn from_extensions(found: Option<&Self>) -> &Self {
        static NOBODY: Caller = Caller {
            principal: Principal::Anonymous,
            service: None,
            scope: Scope::Own(String::new()),
        };
        found.unwrap_or(&NOBODY)
    }

    /// The party behind the token.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The id of the guest, customer or staff user.
    pub fn subject(&self) -> Option<&str> {
        self.principal.id()
    }

    /// The id of the guest, customer or staff user; a fault if there is none.
    pub fn demand_subject(&self) -> Result<&str, Fault> {
        self.subject().ok_or_else(|| {
            Fault::unauthenticated(ErrorReason::TokenMissing)
                .message("this needs a token: sign in, or ask for a guest token, and send `authorization: Bearer ...`")
        })
    }

    /// The peer service on the other end, if the call came from inside the mesh.
    pub fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    /// Whose things the call may touch.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether the token's roles hold this permission.
    pub fn may(&self, permission: &str) -> bool {
        match &self.principal {
            Principal::Staff { permissions, .. } => {
                permissions.iter().any(|held| held == permission || held == EVERY_PERMISSION)
            }
            Principal::Anonymous | Principal::Guest { .. } | Principal::Customer { .. } => false,
        }
    }

    /// The name under which this caller's request ids are kept apart from
    /// others': the subject, or the service, or all the anonymous together.
    pub fn key(&self) -> String {
        match (&self.principal, &self.service) {
            (Principal::Anonymous, Some(service)) => format!("service/{service}"),
            (Principal::Anonymous, None) => "anonymous".to_owned(),
            (
                Principal::Guest { id } | Principal::Customer { id } | Principal::Staff { id, .. },
                _,
            ) => {
                format!("user/{id}")
            }
        }
    }

    /// Who is recorded as having acted: "user/…", "service/…" or "anonymous".
    pub fn actor(&self) -> String {
        self.key()
    }
}

/// The fault of a caller whom no alternative of the access rule admits.
pub(crate) fn denied(method: &str) -> Fault {
    Fault::permission_denied(ErrorReason::AccessDenied)
        .message(format!("{method} is not for this caller"))
}
