//! The contract is the configuration: what the methods' options say, read once
//! from the descriptors and enforced by both sides of a call.

mod foreign;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use contracts::mesh::v1::{Policy, RateClass};
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

pub use foreign::{AccessRule, Foreign, Policies, PolicyRule, RateRule};

use crate::validation::Rules;

/// The deadline of a call whose method states none.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(5);

/// Services that are not ours, answer anyone and need no policy.
const FOREIGN_SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Why a set of contracts cannot be enforced. Every problem is listed at once.
#[derive(Debug, thiserror::Error)]
#[error("the contracts cannot be enforced:\n  {}", .problems.join("\n  "))]
pub struct ContractError {
    /// One sentence each, naming the method or field.
    pub problems: Vec<String>,
}

/// Every method of a set of contracts, with its rules.
#[derive(Debug)]
pub struct Contract {
    pool: DescriptorPool,
    methods: HashMap<String, Method>,
    rules: Rules,
    foreign: Option<Foreign>,
}

/// What the contract says of one method.
#[derive(Debug)]
pub struct Method {
    descriptor: MethodDescriptor,
    path: String,
    owner: Option<String>,
    access: Access,
    deadline: Duration,
    rate_class: RateClass,
    effect: Effect,
    request_rules: usize,
    request_id: Option<u32>,
}

/// Who may call a method; see `mercat.mesh.v1.Access`.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Anyone.
    pub public: bool,
    /// Whoever has a token, for itself only.
    pub signed_in: bool,
    /// Path of the request field that names the owner or what is owned.
    pub owner_field: Option<String>,
    /// Staff who hold this permission.
    pub permission: Option<String>,
    /// Peer services; `*` is any of them.
    pub services: Vec<String>,
}

/// What calling a method again does: its `idempotency_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it only reads.
    None,
    /// The same as calling it once.
    Idempotent,
    /// Perhaps something more each time.
    Unknown,
}

// === impl Contract ===

impl Contract {
    /// The contracts this build was compiled from.
    pub fn embedded() -> Result<Arc<Self>, ContractError> {
        static EMBEDDED: OnceLock<Result<Arc<Contract>, Vec<String>>> = OnceLock::new();
        EMBEDDED
            .get_or_init(|| {
                Self::decode(contracts::DESCRIPTORS).map(Arc::new).map_err(|error| error.problems)
            })
            .clone()
            .map_err(|problems| ContractError { problems })
    }

    /// Reads an encoded `FileDescriptorSet`.
    pub fn decode(descriptors: &[u8]) -> Result<Self, ContractError> {
        let pool = DescriptorPool::decode(descriptors).map_err(|error| ContractError {
            problems: vec![format!("the descriptors cannot be read: {error}")],
        })?;
        Self::new(pool)
    }

    /// Reads the options of every method in the pool.
    pub fn new(pool: DescriptorPool) -> Result<Self, ContractError> {
        Self::read(pool, None)
    }

    /// The contracts of servers that are not ours: what their methods do not say,
    /// policies beside them do, and their messages are theirs to validate.
    /// Services that nobody serves are left out.
    pub fn foreign(pool: DescriptorPool, foreign: Foreign) -> Result<Self, ContractError> {
        Self::read(pool, Some(foreign))
    }

    fn read(pool: DescriptorPool, foreign: Option<Foreign>) -> Result<Self, ContractError> {
        let mut problems = Vec::new();
        let mut rules = Rules::default();
        let mut methods = HashMap::new();
        if let Some(foreign) = &foreign {
            problems.append(&mut foreign.problems(&pool));
        }
        for service in pool.services() {
            let owner = owner(&service, foreign.as_ref());
            if foreign.is_some() && owner.is_none() && !is_infrastructure(&service) {
                continue;
            }
            for descriptor in service.methods() {
                let path = format!("/{}/{}", service.full_name(), descriptor.name());
                let read = Method::read(
                    &pool,
                    descriptor,
                    path.clone(),
                    owner.clone(),
                    foreign.as_ref(),
                    &mut rules,
                );
                match read {
                    Ok(method) => {
                        methods.insert(path, method);
                    }
                    Err(mut found) => problems.append(&mut found),
                }
            }
        }
        problems.append(&mut rules.take_problems());
        if problems.is_empty() {
            Ok(Self { pool, methods, rules, foreign })
        } else {
            problems.sort();
            problems.dedup();
            Err(ContractError { problems })
        }
    }

    /// The method at a gRPC path, `/package.Service/Method`.
    pub fn method(&self, path: &str) -> Option<&Method> {
        self.methods.get(path)
    }

    /// Every method, in no order.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.values()
    }

    /// What may be asked of a mesh service: its own methods and those that every
    /// service has; of anything else, such as the gateway, every method.
    pub fn methods_of(&self, service: &str) -> impl Iterator<Item = &Method> {
        let is_known = self.methods().any(|method| method.service_name() == Some(service));
        self.methods().filter(move |method| {
            !is_known || method.service_name().is_none_or(|owner| owner == service)
        })
    }

    /// The descriptors.
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// The validation rules of the messages.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The mesh service that serves a gRPC service, if one does: "catalog" for
    /// `mercat.catalog.v1.ProductService`. Of foreign contracts, the upstream.
    pub fn owner(&self, grpc_service: &str) -> Option<String> {
        owner(&self.pool.get_service_by_name(grpc_service)?, self.foreign.as_ref())
    }

    /// The short names of the mesh's services, sorted: "catalog" for
    /// `mercat.catalog.v1`. Of foreign contracts, the upstreams.
    pub fn service_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .pool
            .services()
            .filter_map(|service| owner(&service, self.foreign.as_ref()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The gRPC services in the package of a mesh service, sorted.
    pub fn grpc_services(&self, name: &str) -> Vec<String> {
        let mut found: Vec<String> = self
            .pool
            .services()
            .filter(|service| owner(service, self.foreign.as_ref()).as_deref() == Some(name))
            .map(|service| service.full_name().to_owned())
            .collect();
        found.sort();
        found
    }
}

fn owner(service: &ServiceDescriptor, foreign: Option<&Foreign>) -> Option<String> {
    match foreign {
        Some(foreign) => foreign.owners.get(service.full_name()).cloned(),
        None => service_name(service.package_name()),
    }
}

fn is_infrastructure(service: &ServiceDescriptor) -> bool {
    FOREIGN_SERVICES.contains(&service.full_name())
}

/// The mesh service that owns a package: `mercat.catalog.v1` is "catalog"'s.
/// Packages of shared values and of the mesh itself have none.
pub fn service_name(package: &str) -> Option<String> {
    let mut parts = package.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("mercat"), Some(name), Some(_version), None)
            if name != "mesh" && name != "values" =>
        {
            Some(name.to_owned())
        }
        _ => None,
    }
}

// === impl Method ===

impl Method {
    fn read(
        pool: &DescriptorPool,
        descriptor: MethodDescriptor,
        path: String,
        owner: Option<String>,
        foreign: Option<&Foreign>,
        rules: &mut Rules,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let name = descriptor.full_name().to_owned();
        let stated =
            policy(pool, &descriptor).map_err(|problem| vec![format!("{name}: {problem}")])?;
        let policy = match (stated, foreign) {
            (Some(policy), _) => policy,
            (None, _) if is_infrastructure(descriptor.parent_service()) => Policy {
                access: Some(contracts::mesh::v1::Access { public: true, ..Default::default() }),
                ..Policy::default()
            },
            (None, Some(foreign)) => {
                foreign.policies.of(&descriptor).map_err(|problem| vec![problem])?
            }
            (None, None) => {
                return Err(vec![format!(
                    "{name} has no `mercat.mesh.v1.policy`: say who may call it"
                )]);
            }
        };
        let rate_class = policy.rate_class();
        let access = Access::from(policy.access.unwrap_or_default());
        if access.admits_nobody() {
            problems.push(format!("{name} has an access rule that admits nobody"));
        }
        if let Some(field) = &access.owner_field {
            if !access.signed_in {
                problems.push(format!("{name} has an `owner_field` without `signed_in`"));
            }
            if !has_field(&descriptor.input(), field) {
                problems.push(format!(
                    "{name} names the owner field `{field}`, which its request does not have"
                ));
            }
        }
        let deadline = match policy.deadline.map(Duration::try_from) {
            None => DEADLINE_DEFAULT,
            Some(Ok(deadline)) if !deadline.is_zero() => deadline,
            Some(_) => {
                problems.push(format!("{name} has a deadline that is not positive"));
                DEADLINE_DEFAULT
            }
        };
        let effect = match effect(&descriptor) {
            1 => Effect::None,
            2 => Effect::Idempotent,
            _ => Effect::Unknown,
        };
        let request_rules = if foreign.is_some() { 0 } else { rules.compile(&descriptor.input()) };
        let request_id = descriptor
            .input()
            .get_field_by_name("request_id")
            .filter(|field| field.kind() == prost_reflect::Kind::String && !field.is_list())
            .map(|field| field.number());
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            path,
            owner,
            access,
            deadline,
            rate_class,
            effect,
            request_rules,
            request_id,
            descriptor,
        })
    }

    /// `/package.Service/Method`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The descriptor.
    pub fn descriptor(&self) -> &MethodDescriptor {
        &self.descriptor
    }

    /// The mesh service that owns it, if one does; of foreign contracts, the
    /// upstream.
    pub fn service_name(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Who may call.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The deadline of a call that states none, and the longest that is granted.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// What it costs.
    pub fn rate_class(&self) -> RateClass {
        self.rate_class
    }

    /// What calling it again does.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether a client may make the same call again when it did not hear an answer.
    pub fn safe_to_retry(&self) -> bool {
        self.effect != Effect::Unknown
    }

    /// The number of the request's `request_id` field, if it has one.
    pub fn request_id(&self) -> Option<u32> {
        self.request_id
    }

    /// The validation rules of its request, as [`Rules::check`] takes them.
    pub fn request_rules(&self) -> usize {
        self.request_rules
    }

    /// Whether one message goes in.
    pub fn is_request_unary(&self) -> bool {
        !self.descriptor.is_client_streaming()
    }
}

fn policy(pool: &DescriptorPool, descriptor: &MethodDescriptor) -> Result<Option<Policy>, String> {
    let Some(extension) = pool.get_extension_by_name("mercat.mesh.v1.policy") else {
        return Ok(None);
    };
    let options = descriptor.options();
    if !options.has_extension(&extension) {
        return Ok(None);
    }
    let value = options.get_extension(&extension);
    let message = value.as_message().ok_or("its policy is not a message")?;
    message.transcode_to().map(Some).map_err(|error| format!("its policy cannot be read: {error}"))
}

/// `MethodOptions.idempotency_level` as its number.
fn effect(descriptor: &MethodDescriptor) -> i32 {
    descriptor
        .options()
        .get_field_by_name("idempotency_level")
        .and_then(|value| value.as_enum_number())
        .unwrap_or_default()
}

fn has_field(message: &prost_reflect::MessageDescriptor, path: &str) -> bool {
    let (head, rest) = match path.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (path, None),
    };
    let Some(field) = message.get_field_by_name(head) else { return false };
    match (rest, field.kind()) {
        (None, _) => true,
        (Some(rest), prost_reflect::Kind::Message(inner)) => has_field(&inner, rest),
        (Some(_), _) => false,
    }
}

// === impl Access ===

impl Access {
    fn admits_nobody(&self) -> bool {
        !self.public && !self.signed_in && self.permission.is_none() && self.services.is_empty()
    }

    /// Whether a peer service is admitted for itself.
    pub fn admits_service(&self, name: &str) -> bool {
        self.services.iter().any(|admitted| admitted == name || admitted == "*")
    }
}

impl From<contracts::mesh::v1::Access> for Access {
    fn from(access: contracts::mesh::v1::Access) -> Self {
        let non_empty = |text: String| if text.is_empty() { None } else { Some(text) };
        Self {
            public: access.public,
            signed_in: access.signed_in,
            owner_field: non_empty(access.owner_field),
            permission: non_empty(access.permission),
            services: access.services,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_contracts_can_be_enforced() {
        let contract = Contract::embedded().unwrap();
        assert!(contract.methods().count() > 0);
    }

    #[test]
    fn packages_name_their_service() {
        assert_eq!(service_name("mercat.catalog.v1").as_deref(), Some("catalog"));
        assert_eq!(service_name("mercat.mesh.v1"), None);
        assert_eq!(service_name("grpc.health.v1"), None);
    }
}
