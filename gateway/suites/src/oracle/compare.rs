//! Whether two gateways did the same.

use serde_json::Value;

use super::asker::Outcome;

/// Whether they agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They do.
    Same,
    /// They do not, in these.
    Differ(Vec<&'static str>),
}

/// Compares what reached the server, the status and the body. The bodies of
/// refusals are each gateway's own and not compared.
pub fn judge(ours: &Outcome, theirs: &Outcome) -> Verdict {
    let mut differ = Vec::new();
    if ours.recorded != theirs.recorded {
        differ.push("what reached the server");
    }
    if ours.status != theirs.status {
        differ.push("status");
    }
    let is_ok = ours.status < 300 && theirs.status < 300;
    if is_ok && !same(&ours.body, &theirs.body) {
        differ.push("body");
    }
    if differ.is_empty() { Verdict::Same } else { Verdict::Differ(differ) }
}

/// Equal as JSON: numbers by their value.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(ours), Value::Number(theirs)) => {
            ours == theirs || ours.as_f64() == theirs.as_f64()
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .all(|(name, value)| theirs.get(name).is_some_and(|theirs| same(value, theirs)))
        }
        _ => ours == theirs,
    }
}
