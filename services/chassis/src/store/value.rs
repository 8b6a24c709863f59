//! What is bound to a statement.

use bytes::Bytes;
use sqlx::{Arguments as _, postgres::PgArguments, sqlite::SqliteArguments};

use super::Error;
use crate::Time;

/// A parameter. A null has a type too, because PostgreSQL asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// BIGINT.
    Integer(Option<i64>),
    /// BOOLEAN.
    Boolean(Option<bool>),
    /// TEXT.
    Text(Option<String>),
    /// BYTEA.
    Bytes(Option<Vec<u8>>),
}

/// The parameters of a statement: `args![cart_id, scope.owner()]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        ::std::vec![$($crate::store::Value::from($value)),*]
    };
}

macro_rules! values {
    ($($variant:ident: $($type:ty => |$value:ident| $to:expr),+;)*) => {$($(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                Self::$variant(Some($to))
            }
        }

        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(|$value| $to))
            }
        }
    )+)*};
}

values! {
    Integer: i64 => |v| v, i32 => |v| i64::from(v), u32 => |v| i64::from(v), Time => |v| v.micros();
    Boolean: bool => |v| v;
    Text: String => |v| v, &str => |v| v.to_owned(), &String => |v| v.clone();
    Bytes: Vec<u8> => |v| v, &[u8] => |v| v.to_vec(), Bytes => |v| v.into(), &Bytes => |v| v.to_vec();
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone())
    }
}

/// A JSON array of texts, as `{{JSON_TEXTS:$1}}` takes it.
pub fn json_texts<T: AsRef<str>>(texts: &[T]) -> String {
    let mut json =
        String::with_capacity(2 + texts.iter().map(|text| text.as_ref().len() + 3).sum::<usize>());
    json.push('[');
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        // A text always has a JSON form.
        json.push_str(&serde_json::to_string(text.as_ref()).unwrap_or_default());
    }
    json.push(']');
    json
}

pub(super) fn sqlite(
    statement: &'static str,
    values: Vec<Value>,
) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        match value {
            Value::Integer(value) => arguments.add(value),
            Value::Boolean(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        }
        .map_err(|problem| Error::of(statement, sqlx::Error::Encode(problem)))?;
    }
    Ok(arguments)
}

pub(super) fn postgres(statement: &'static str, values: Vec<Value>) -> Result<PgArguments, Error> {
    let mut arguments = PgArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        match value {
            Value::Integer(value) => arguments.add(value),
            Value::Boolean(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        }
        .map_err(|problem| Error::of(statement, sqlx::Error::Encode(problem)))?;
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sort_of_value_binds() {
        let none: Option<&str> = None;
        assert_eq!(
            args![1_i64, true, "a", String::from("b"), none, Time::from_micros(5), vec![1_u8]],
            vec![
                Value::Integer(Some(1)),
                Value::Boolean(Some(true)),
                Value::Text(Some("a".into())),
                Value::Text(Some("b".into())),
                Value::Text(None),
                Value::Integer(Some(5)),
                Value::Bytes(Some(vec![1])),
            ]
        );
    }

    #[test]
    fn texts_become_a_json_array() {
        assert_eq!(json_texts::<&str>(&[]), "[]");
        assert_eq!(json_texts(&["a", "b\"c"]), r#"["a","b\"c"]"#);
    }
}
