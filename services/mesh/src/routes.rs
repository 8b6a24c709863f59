//! What the edge answers to, for people: `mercat routes` and `mercat explain`.

use std::fmt::Write as _;

use chassis::{
    Contract, Error,
    contract::{Access, Effect, Method},
};
use transcode::{Binding, BodyRule, RouteError, Schema};

/// Every route, one line each.
pub fn table(contract: &Contract, schema: &Schema) -> String {
    let mut rows = Vec::new();
    for method in schema.methods() {
        let Some(known) = contract.method(method.path()) else { continue };
        if known.service_name().is_none() {
            continue;
        }
        let access = told(known.access());
        let mut served = false;
        for binding in method
            .bindings()
            .iter()
            .filter_map(|id| schema.binding(*id))
            .filter(|found| !found.is_rpc())
        {
            served = true;
            let path = binding.openapi_path();
            rows.push([
                binding.http_method().to_owned(),
                path,
                method.full_name().to_owned(),
                access.clone(),
            ]);
        }
        if !served {
            rows.push([
                "gRPC".to_owned(),
                method.path().to_owned(),
                method.full_name().to_owned(),
                access,
            ]);
        }
    }
    rows.sort_by(|left, right| (&left[1], &left[0]).cmp(&(&right[1], &right[0])));
    let mut widths = [0; 3];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut text = String::new();
    for [verb, path, method, access] in &rows {
        let _never_fails = writeln!(
            text,
            "{verb:<0$}  {path:<1$}  {method:<2$}  {access}",
            widths[0], widths[1], widths[2]
        );
    }
    text
}

/// Everything that is known of one request.
pub fn explain(
    contract: &Contract,
    schema: &Schema,
    verb: &str,
    target: &str,
) -> Result<String, Error> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let found = schema.route(&verb.to_uppercase(), path).map_err(|error| {
        Error::build(match error {
            RouteError::NotFound => {
                format!("nothing answers to {path}: `mercat routes` lists what does")
            }
            RouteError::MethodNotAllowed { allow } => {
                format!("{path} takes {}, not {verb}", allow.join(", "))
            }
            other => other.to_string(),
        })
    })?;
    let method = contract
        .method(found.method().path())
        .ok_or_else(|| Error::build(format!("{} has no policy", found.method().full_name())))?;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _never_fails = writeln!(text, "{name:<12} {value}");
    };
    line("method", found.method().full_name());
    line("service", method.service_name().unwrap_or("the edge itself"));
    line("rule", &format!("{} {}", found.binding().http_method(), found.binding().pattern()));
    for (field, value) in found.variables() {
        line("path", &format!("{} = {value:?}", field.as_str()));
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        line("query", parameter);
    }
    line("body", &body(found.binding()));
    line("access", &told(method.access()));
    if let Some(owner) = &method.access().owner_field {
        line("owner", &format!("{owner} must be the caller's own"));
    }
    line("deadline", &chassis::duration::format(&method.deadline()));
    line("repeat", repeat(method));
    Ok(text)
}

fn body(binding: &Binding) -> String {
    match binding.body() {
        BodyRule::Whole => "the whole request, less what the path sets".to_owned(),
        BodyRule::Field(field) => format!("the field {}", field.as_str()),
        _ => "none".to_owned(),
    }
}

fn repeat(method: &Method) -> &'static str {
    match method.effect() {
        Effect::None => "reads only: safe to repeat",
        Effect::Idempotent => "safe to repeat with the same request_id (Idempotency-Key)",
        Effect::Unknown => "not safe to repeat",
    }
}

/// Who may call, in a few words.
fn told(access: &Access) -> String {
    let mut parties = Vec::new();
    if access.public {
        parties.push("anyone".to_owned());
    }
    match (access.signed_in, &access.owner_field) {
        (true, Some(field)) => parties.push(format!("owner of {field}")),
        (true, None) => parties.push("signed in".to_owned()),
        (false, _) => {}
    }
    parties.extend(access.permission.iter().map(|permission| format!("staff with {permission}")));
    parties.extend(access.services.iter().map(|service| format!("service {service}")));
    parties.join(", ")
}
