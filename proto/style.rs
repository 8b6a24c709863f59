//! The contracts keep our rules, and never break a published one.
//!
//! Each test names what breaks its rule, all of it at once. What may break a rule
//! stands beside the rule, with the reason, and falls out when it is no longer
//! needed.

#[path = "style/contract.rs"]
mod contract;
#[path = "style/lock.rs"]
mod lock;

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    POOL, access, bounds_bytes, bounds_text, effect, enums, fields, files, is_internal, is_ours,
    is_output_only, messages, methods, part, reads, routes, rules, upper_snake,
};
use prost_reflect::{Kind, MessageDescriptor, Value};

/// Lists that are short by their nature and have no pages.
const UNPAGED: [(&str, &str); 1] = [(
    "mercat.storefront.v1.CheckoutService.ListShippingOptions",
    "what a shopper chooses from fits on a screen: the settings bound it",
)];

/// Methods that change something and take no `request_id`.
const WITHOUT_REQUEST_ID: [(&str, &str); 0] = [];

/// Methods that answer another's response.
const SHARED_RESPONSE: [(&str, &str); 1] = [(
    "mercat.storefront.v1.CheckoutService.GetCompletion",
    "it is what CompleteCheckout answered, or would have",
)];

/// Methods that clients repeat by themselves although their `request_id` is not
/// demanded.
const IDEMPOTENT_BY_NATURE: [(&str, &str); 22] = [
    ("mercat.identity.v1.AccessService.AssignRole", "a role is held or not"),
    ("mercat.identity.v1.AccessService.UnassignRole", "a role is held or not"),
    ("mercat.identity.v1.AuthService.Logout", "a session has ended or not"),
    ("mercat.identity.v1.AuthService.RevokeAllSessions", "a session has ended or not"),
    ("mercat.identity.v1.AuthService.RevokeSession", "a session has ended or not"),
    ("mercat.identity.v1.UserService.ReactivateUser", "a user is suspended or not"),
    ("mercat.identity.v1.UserService.SuspendUser", "a user is suspended or not"),
    ("mercat.identity.v1.UserService.SetDefaultAddress", "it sets a value"),
    (
        "mercat.payments.v1.PaymentService.SyncPayment",
        "it asks the provider and writes down the answer",
    ),
    (
        "mercat.payments.v1.RefundService.SyncRefund",
        "it asks the provider and writes down the answer",
    ),
    (
        "mercat.payments.v1.PaymentWebhookService.IngestWebhook",
        "the provider's event id is the key",
    ),
    (
        "mercat.payments.v1.PaymentWebhookService.ReplayWebhookEvent",
        "the provider's event id is the key",
    ),
    ("mercat.storefront.v1.CartService.ClearCart", "a cart is empty or not"),
    ("mercat.storefront.v1.CartService.RemoveLine", "a line is there or not"),
    ("mercat.storefront.v1.CartService.ReplaceLines", "it sets a value"),
    ("mercat.storefront.v1.CartService.UpdateLine", "it sets a value"),
    ("mercat.storefront.v1.CheckoutService.CancelCheckout", "a checkout is open or not"),
    ("mercat.storefront.v1.CheckoutService.SetAddresses", "it sets a value"),
    ("mercat.storefront.v1.CheckoutService.SetContact", "it sets a value"),
    ("mercat.storefront.v1.CheckoutService.SetPaymentMethod", "it sets a value"),
    ("mercat.storefront.v1.CheckoutService.SetShippingOption", "it sets a value"),
    (
        "mercat.storefront.v1.CheckoutService.StartCheckout",
        "a cart has one open checkout, which is answered again",
    ),
];

/// Fields that a handler bounds by itself.
const BOUNDED_BY_THE_HANDLER: [(&str, &str); 1] = [(
    "mercat.catalog.v1.ImportProductsRequest.products needs repeated.max_items",
    "each row is judged on its own, so that one wrong row does not refuse the others; so are the rows counted",
)];

fn none(rule: &str, mut broken: Vec<String>) {
    broken.sort();
    broken.dedup();
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// What is left of `broken` without the exceptions, each of which must be needed.
fn except(broken: Vec<String>, exceptions: &[(&str, &str)]) -> Vec<String> {
    let needless = exceptions
        .iter()
        .filter(|(name, _)| !broken.iter().any(|found| found == name))
        .map(|(name, _)| format!("{name} is an exception without need"));
    let broken = broken.iter().filter(|found| !exceptions.iter().any(|(name, _)| name == found));
    broken.cloned().chain(needless).collect()
}

// === names ===

#[test]
fn a_package_is_where_its_path_says() {
    let broken = files().filter(|file| {
        let folder = file.name().rsplit_once('/').map_or("", |(folder, _)| folder);
        let parts: Vec<&str> = file.package_name().split('.').collect();
        folder.replace('/', ".") != file.package_name() || parts.len() != 3 || parts[2] != "v1"
    });
    none(
        "mercat/<service>/v1/*.proto holds mercat.<service>.v1",
        broken.map(|file| file.name().to_owned()).collect(),
    );
}

#[test]
fn services_and_methods_are_named_for_what_they_do() {
    let mut broken = Vec::new();
    let mut shared = Vec::new();
    for service in POOL.services().filter(|service| is_ours(service.package_name())) {
        if !service.name().ends_with("Service") || service.name() == "Service" {
            broken.push(format!("{} is not <Noun>Service", service.full_name()));
        }
    }
    for method in methods() {
        if method.input().name() != format!("{}Request", method.name()) {
            broken.push(format!("{} takes {}", method.full_name(), method.input().full_name()));
        }
        let output = method.output();
        let own = output.name() == format!("{}Response", method.name());
        if !own && output.name().ends_with("Response") {
            shared.push(method.full_name().to_owned());
        }
        if !own && !is_ours(output.package_name()) && output.full_name() != "google.api.HttpBody" {
            broken.push(format!("{} answers {}", method.full_name(), output.full_name()));
        }
    }
    let shared = except(shared, &SHARED_RESPONSE);
    broken.extend(shared.into_iter().map(|name| format!("{name} answers another's response")));
    none("<Noun>Service; <Verb><Noun>Request; <Verb><Noun>Response or the thing itself", broken);
}

#[test]
fn enums_begin_unspecified_and_carry_their_name() {
    let mut broken = Vec::new();
    for found in enums() {
        let prefix = upper_snake(found.name());
        if found.get_value(0).is_none_or(|zero| zero.name() != format!("{prefix}_UNSPECIFIED")) {
            broken.push(format!("{}: 0 is not {prefix}_UNSPECIFIED", found.full_name()));
        }
        for value in found.values().filter(|value| !value.name().starts_with(&format!("{prefix}_")))
        {
            broken.push(format!(
                "{}: {} does not begin with {prefix}_",
                found.full_name(),
                value.name()
            ));
        }
    }
    none("an enum's values", broken);
}

#[test]
fn every_package_with_services_says_why_it_refuses() {
    let packages: BTreeSet<String> = POOL
        .services()
        .filter(|service| is_ours(service.package_name()))
        .map(|service| service.package_name().to_owned())
        .collect();
    assert!(packages.len() > 6, "{packages:?}");
    let broken = packages
        .iter()
        .filter(|package| POOL.get_enum_by_name(&format!("{package}.ErrorReason")).is_none());
    none("enum ErrorReason is missing in", broken.cloned().collect());
}

// === comments ===

#[test]
fn everything_is_explained() {
    let mut broken = Vec::new();
    for file in files() {
        let raw = file.file_descriptor_proto();
        let told: BTreeMap<&[i32], bool> = raw
            .source_code_info
            .iter()
            .flat_map(|info| &info.location)
            .map(|location| {
                let comments =
                    location.leading_comments().len() + location.trailing_comments().len();
                (location.path.as_slice(), comments > 0)
            })
            .collect();
        let mut must = |path: &[i32], what: String| {
            if !told.get(path).copied().unwrap_or_default() {
                broken.push(format!("{}: {what}", file.name()));
            }
        };
        for service in file.services() {
            must(service.path(), format!("service {}", service.name()));
            for method in service.methods() {
                must(method.path(), format!("rpc {}.{}", service.name(), method.name()));
            }
        }
        for message in messages().filter(|message| message.parent_file() == file) {
            must(message.path(), format!("message {}", message.name()));
            for field in message.fields() {
                must(field.path(), format!("field {}.{}", message.name(), field.name()));
            }
        }
        for found in enums().filter(|found| found.parent_file() == file) {
            must(found.path(), format!("enum {}", found.name()));
            for value in found.values() {
                must(value.path(), format!("value {}.{}", found.name(), value.name()));
            }
        }
    }
    none("without a comment", broken);
}

// === methods ===

#[test]
fn every_method_says_who_may_call_it() {
    let broken = methods().filter(|method| access(method).is_none());
    none(
        "without `option (mercat.mesh.v1.policy) = { access: ... }`",
        broken.map(|method| method.full_name().to_owned()).collect(),
    );
}

#[test]
fn every_method_that_is_not_internal_has_a_route() {
    let mut broken = Vec::new();
    for method in methods() {
        let routes = routes(&method);
        if routes.is_empty() && !is_internal(&method) {
            broken.push(format!(
                "{} has no google.api.http rule, and is not for services alone",
                method.full_name()
            ));
        }
        if !routes.is_empty() && is_internal(&method) {
            broken.push(format!(
                "{} has a route, and nobody at the edge may call it",
                method.full_name()
            ));
        }
        for (verb, path) in &routes {
            if !path.starts_with("/v1/") && path != "/.well-known/jwks.json" {
                broken.push(format!(
                    "{}: {verb} {path} does not begin with /v1/",
                    method.full_name()
                ));
            }
        }
    }
    none("routes", broken);
}

#[test]
fn what_only_reads_says_so_and_nothing_else_does() {
    let mut broken = Vec::new();
    for method in methods() {
        let gets = routes(&method).iter().any(|(verb, _)| verb == "GET");
        if gets && !reads(&method) {
            broken.push(format!("{} is a GET without NO_SIDE_EFFECTS", method.full_name()));
        }
        let writes = routes(&method)
            .iter()
            .any(|(verb, _)| matches!(verb.as_str(), "PUT" | "PATCH" | "DELETE"));
        if reads(&method) && (writes || method.input().get_field_by_name("request_id").is_some()) {
            broken.push(format!(
                "{} says NO_SIDE_EFFECTS and looks like a write",
                method.full_name()
            ));
        }
        let looks = ["Get", "List", "BatchGet", "Lookup", "Search"]
            .iter()
            .any(|verb| method.name().starts_with(verb));
        if looks && !reads(&method) {
            broken.push(format!(
                "{} looks like a read and does not say NO_SIDE_EFFECTS",
                method.full_name()
            ));
        }
    }
    none("idempotency_level", broken);
}

#[test]
fn what_changes_something_can_be_sent_twice() {
    let mut broken = Vec::new();
    let mut without = Vec::new();
    let mut lax = Vec::new();
    for method in methods().filter(|method| !reads(method)) {
        let Some(field) = method.input().get_field_by_name("request_id") else {
            without.push(method.full_name().to_owned());
            continue;
        };
        let text = rules(&field).and_then(|rules| part(&rules, "string"));
        let is_uuid = text.is_some_and(|text| {
            text.get_field_by_name("uuid").as_deref() == Some(&Value::Bool(true))
        });
        if field.kind() != Kind::String || field.is_list() || !is_uuid {
            broken.push(format!(
                "{}: request_id is not a string with string.uuid",
                method.full_name()
            ));
        }
        let required = rules(&field).is_some_and(|rules| {
            rules.get_field_by_name("required").as_deref() == Some(&Value::Bool(true))
        });
        if effect(&method) == 2 && !required {
            lax.push(method.full_name().to_owned());
        }
    }
    broken.extend(
        except(without, &WITHOUT_REQUEST_ID)
            .into_iter()
            .map(|name| format!("{name} has no request_id")),
    );
    let lax = except(lax, &IDEMPOTENT_BY_NATURE).into_iter();
    broken.extend(
        lax.map(|name| format!("{name} says IDEMPOTENT and does not demand its request_id")),
    );
    none("`string request_id` with string.uuid", broken);
}

#[test]
fn lists_come_in_pages() {
    let mut unpaged = Vec::new();
    for method in methods().filter(|method| method.name().starts_with("List")) {
        let (input, output) = (method.input(), method.output());
        let has = |message: &MessageDescriptor, name: &str, kind: &Kind| {
            message
                .get_field_by_name(name)
                .is_some_and(|field| field.kind() == *kind && !field.is_list())
        };
        let paged = has(&input, "page_size", &Kind::Int32)
            && has(&input, "page_token", &Kind::String)
            && has(&output, "next_page_token", &Kind::String)
            && output.fields().any(|field| field.is_list());
        if !paged {
            unpaged.push(method.full_name().to_owned());
        }
    }
    none("int32 page_size, string page_token, string next_page_token", except(unpaged, &UNPAGED));
}

// === fields ===

#[test]
fn times_ids_and_money_have_their_types() {
    let mut broken = Vec::new();
    for field in fields() {
        let kind = match field.kind() {
            Kind::Message(message) => message.full_name().to_owned(),
            _ => String::new(),
        };
        let name = field.name();
        let mut wrong = |why: &str| broken.push(format!("{} {why}", field.full_name()));
        if name.ends_with("_time") != (kind == "google.protobuf.Timestamp") {
            wrong("times are google.protobuf.Timestamp and named *_time");
        }
        if (name.ends_with("_id") || name.ends_with("_ids")) && field.kind() != Kind::String {
            wrong("ids are strings");
        }
        if matches!(field.kind(), Kind::Double | Kind::Float) {
            wrong("is a floating-point number: nothing here is measured");
        }
        let whole = matches!(
            field.kind(),
            Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Sint32 | Kind::Sint64
        );
        let sums = [
            "amount", "price", "total", "subtotal", "tax", "fee", "cost", "balance", "debit",
            "credit",
        ];
        let last = name.rsplit('_').next().unwrap_or_default();
        if whole && sums.contains(&last) {
            wrong("money is mercat.values.v1.Money");
        }
    }
    none("the types of fields", broken);
}

#[test]
fn whatever_a_caller_sends_is_bounded() {
    let mut seen = BTreeSet::new();
    let mut left: Vec<MessageDescriptor> = methods().map(|method| method.input()).collect();
    let mut broken = Vec::new();
    while let Some(message) = left.pop() {
        if !is_ours(message.package_name()) || !seen.insert(message.full_name().to_owned()) {
            continue;
        }
        for field in message.fields().filter(|field| !is_output_only(field)) {
            if let Kind::Message(inner) = field.kind() {
                left.push(inner);
            }
            let rules = rules(&field);
            let mut unbounded = |what: &str| broken.push(format!("{} {what}", field.full_name()));
            if field.is_map() {
                let map = rules.as_ref().and_then(|rules| part(rules, "map"));
                if !map.as_ref().is_some_and(|map| map.has_field_by_name("max_pairs")) {
                    unbounded("needs map.max_pairs");
                }
                let Kind::Message(entry) = field.kind() else { continue };
                for (side, inner) in [
                    ("keys", entry.map_entry_key_field()),
                    ("values", entry.map_entry_value_field()),
                ] {
                    let rules = map.as_ref().and_then(|map| part(map, side));
                    if inner.kind() == Kind::String && !bounds_text(rules.as_ref()) {
                        unbounded(&format!("needs map.{side}.string.max_len"));
                    }
                }
                continue;
            }
            let mut each = rules.clone();
            if field.is_list() {
                let list = rules.as_ref().and_then(|rules| part(rules, "repeated"));
                if !list.as_ref().is_some_and(|list| list.has_field_by_name("max_items")) {
                    unbounded("needs repeated.max_items");
                }
                each = list.and_then(|list| part(&list, "items"));
            }
            match field.kind() {
                Kind::String if !bounds_text(each.as_ref()) => {
                    unbounded("needs string.max_len, uuid, pattern or in");
                }
                Kind::Bytes if !bounds_bytes(each.as_ref()) => unbounded("needs bytes.max_len"),
                _ => {}
            }
        }
    }
    let broken = except(broken, &BOUNDED_BY_THE_HANDLER);
    none("a caller may send as much as it likes in", broken);
}
