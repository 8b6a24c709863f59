//! Contracts that are not ours: who serves them, and who may call.

use std::{collections::BTreeMap, time::Duration};

use contracts::mesh::v1::{Access, Policy, RateClass};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use serde::{Deserialize, Serialize};

/// The deadline of a foreign call with one answer, where no policy states one.
const UNARY_DEADLINE: Duration = Duration::from_secs(60);
/// The deadline of a foreign stream, where no policy states one.
const STREAM_DEADLINE: Duration = Duration::from_secs(60 * 60);

/// What is known of contracts that carry no policies of ours.
#[derive(Debug, Clone, Default)]
pub struct Foreign {
    /// Which upstream serves a gRPC service, by its full name.
    pub owners: BTreeMap<String, String>,
    /// Who may call.
    pub policies: Policies,
}

/// Policies for methods whose contracts carry none: a file beside them.
///
/// ```toml
/// [default]
/// access = "signed_in"
///
/// [rules."helloworld.Greeter"]
/// access = "public"
///
/// [rules."helloworld.Greeter/SayHello"]
/// access = "permission"
/// permission = "greetings.say"
/// deadline = "2s"
/// rate_class = "expensive"
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policies {
    /// For methods without a rule of their own. Without it they are an error.
    pub default: Option<PolicyRule>,
    /// By service (`package.Service`) or method (`package.Service/Method`); the
    /// method's wins.
    pub rules: BTreeMap<String, PolicyRule>,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// Who may call.
    pub access: AccessRule,
    /// With `access = "permission"`: which one the caller's token must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<String>,
    /// The deadline of a call that states none, and the longest that is granted.
    /// Default: a minute, an hour for streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// What a call costs.
    #[serde(default)]
    pub rate_class: RateRule,
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessRule {
    /// Anyone.
    Public,
    /// Whoever has a token.
    SignedIn,
    /// Whoever's token holds the permission.
    Permission,
}

/// What a call costs; see `mercat.mesh.v1.RateClass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateRule {
    /// A cheap read.
    Read,
    /// An ordinary call.
    #[default]
    Standard,
    /// Few per minute for one caller.
    Expensive,
}

// === impl Foreign ===

impl Foreign {
    /// Rules that name nothing.
    pub(super) fn problems(&self, pool: &DescriptorPool) -> Vec<String> {
        self.policies
            .rules
            .keys()
            .filter(|name| {
                let (service, method) = match name.split_once('/') {
                    Some((service, method)) => (service, Some(method)),
                    None => (name.as_str(), None),
                };
                let known = pool.get_service_by_name(service).is_some_and(|service| {
                    method.is_none_or(|name| service.methods().any(|method| method.name() == name))
                });
                !known
            })
            .map(|name| format!("the policies have a rule for `{name}`, which is in no contract"))
            .collect()
    }
}

// === impl Policies ===

impl Policies {
    /// Anyone may call anything.
    pub fn public() -> Self {
        let anyone = PolicyRule {
            access: AccessRule::Public,
            permission: None,
            deadline: None,
            rate_class: RateRule::Standard,
        };
        Self { default: Some(anyone), rules: BTreeMap::new() }
    }

    /// The policy of a method whose contract has none.
    pub(super) fn of(&self, method: &MethodDescriptor) -> Result<Policy, String> {
        let service = method.parent_service();
        let name = format!("{}/{}", service.full_name(), method.name());
        let rule = self
            .rules
            .get(&name)
            .or_else(|| self.rules.get(service.full_name()))
            .or(self.default.as_ref())
            .ok_or_else(|| {
                format!("{name} has no policy: give it a rule in the policies, or a `default`")
            })?;
        rule.policy(method).map_err(|problem| format!("the policy of {name}: {problem}"))
    }
}

// === impl PolicyRule ===

impl PolicyRule {
    fn policy(&self, method: &MethodDescriptor) -> Result<Policy, String> {
        let mut access = Access::default();
        match (self.access, &self.permission) {
            (AccessRule::Public, None) => access.public = true,
            (AccessRule::SignedIn, None) => access.signed_in = true,
            (AccessRule::Permission, Some(permission)) if !permission.is_empty() => {
                access.permission.clone_from(permission);
            }
            (AccessRule::Permission, _) => {
                return Err("`access = \"permission\"` needs `permission`".to_owned());
            }
            (_, Some(_)) => {
                return Err("`permission` needs `access = \"permission\"`".to_owned());
            }
        }
        let streams = method.is_client_streaming() || method.is_server_streaming();
        let deadline = match &self.deadline {
            Some(text) => {
                crate::duration::parse(text).map_err(|problem| format!("`deadline`: {problem}"))?
            }
            None if streams => STREAM_DEADLINE,
            None => UNARY_DEADLINE,
        };
        let rate_class = match self.rate_class {
            RateRule::Read => RateClass::Read,
            RateRule::Standard => RateClass::Standard,
            RateRule::Expensive => RateClass::Expensive,
        };
        Ok(Policy {
            access: Some(access),
            deadline: Some(deadline.try_into().map_err(|error| format!("{error}"))?),
            rate_class: rate_class.into(),
        })
    }
}
