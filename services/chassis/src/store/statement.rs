//! SQL texts: constants with names, never made at run time.

use std::{fmt, sync::OnceLock};

/// Which database engine a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A SQL text with a name, made by [`statements!`](crate::statements) alone.
///
/// Where the engines differ, the text holds a token:
///
/// | token | SQLite | PostgreSQL |
/// |---|---|---|
/// | `{{FOR_UPDATE}}` | nothing | `for update` |
/// | `{{SKIP_LOCKED}}` | nothing | `for update skip locked` |
/// | `{{JSON_TEXTS:$1}}` | the texts of the JSON array `$1`, a table with the column `value` | the same |
/// | `{{JSON_ROWS:$1}}` | the objects of the JSON array `$1`, a table with the column `value`; read with `value ->> 'field'` and a cast | the same |
/// | `{{SEQ_PK}}` (migrations) | `INTEGER PRIMARY KEY AUTOINCREMENT` | `BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY` |
#[derive(Clone, Copy)]
pub struct Statement(fn() -> &'static Text);

/// What a [`Statement`] points at.
#[doc(hidden)]
#[derive(Debug)]
pub struct Text {
    name: &'static str,
    sql: &'static str,
    /// One for each [`Prefix`].
    sqlite: [OnceLock<&'static str>; 4],
    postgres: OnceLock<&'static str>,
}

/// What SQLite's writer does together with the first statement of a write, which
/// saves a way to the driver's thread and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Prefix {
    /// Nothing.
    #[default]
    None,
    /// Begins the transaction of a write that has it for itself.
    Begin,
    /// Begins the transaction of several writes, and the first of them.
    BeginMany,
    /// Keeps the write before and begins the next.
    Next,
}

impl Prefix {
    fn sql(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Begin => "begin immediate; ",
            Self::BeginMany => "begin immediate; savepoint write; ",
            Self::Next => "release write; savepoint write; ",
        }
    }
}

/// Makes a constant of each statement, and `STATEMENTS` of all of them.
///
/// ```ignore
/// chassis::statements! {
///     /// One cart of one owner.
///     FIND_CART = "select cart_id from cart where cart_id = $1";
/// }
/// ```
#[macro_export]
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $(
            $(#[$doc])*
            pub(crate) const $name: $crate::store::Statement = $crate::store::Statement::__new({
                fn text() -> &'static $crate::store::Text {
                    static TEXT: $crate::store::Text = $crate::store::Text::__new(stringify!($name), $sql);
                    &TEXT
                }
                text
            });
        )*
        /// Every statement above, for the test that prepares them all.
        pub(crate) const STATEMENTS: &[$crate::store::Statement] = &[$($name),*];
    };
}

// === impl Statement ===

impl Statement {
    #[doc(hidden)]
    pub const fn __new(text: fn() -> &'static Text) -> Self {
        Self(text)
    }

    /// Its name, for logs and errors.
    pub fn name(self) -> &'static str {
        (self.0)().name
    }

    /// Its text, as it was written.
    pub fn source(self) -> &'static str {
        (self.0)().sql
    }

    /// Its text for an engine. Expanded once.
    pub fn text(self, engine: Engine) -> &'static str {
        match engine {
            Engine::Sqlite => self.after(Prefix::None),
            Engine::Postgres => {
                let text = (self.0)();
                text.postgres.get_or_init(|| once(text.sql, engine, Prefix::None))
            }
        }
    }

    /// Its text for SQLite, with what is done before it.
    pub(super) fn after(self, prefix: Prefix) -> &'static str {
        let text = (self.0)();
        let [plain, begin, begin_many, next] = &text.sqlite;
        let expanded = match prefix {
            Prefix::None => plain,
            Prefix::Begin => begin,
            Prefix::BeginMany => begin_many,
            Prefix::Next => next,
        };
        expanded.get_or_init(|| once(text.sql, Engine::Sqlite, prefix))
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Statement").field(&self.name()).finish()
    }
}

impl Text {
    #[doc(hidden)]
    pub const fn __new(name: &'static str, sql: &'static str) -> Self {
        Self { name, sql, sqlite: [const { OnceLock::new() }; 4], postgres: OnceLock::new() }
    }
}

/// Expands a text for good. Statements are constants: there are as many of these
/// as the source has.
fn once(sql: &'static str, engine: Engine, prefix: Prefix) -> &'static str {
    if prefix == Prefix::None && !sql.contains("{{") {
        return sql;
    }
    let mut text = prefix.sql().to_owned();
    text.push_str(&expand(sql, engine));
    Box::leak(text.into_boxed_str())
}

/// Replaces the tokens of a text. What is not a token stays and is refused by
/// the engine.
pub(super) fn expand(sql: &str, engine: Engine) -> String {
    let mut expanded = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once("{{") {
        expanded.push_str(before);
        let Some((token, tail)) = after.split_once("}}") else {
            expanded.push_str("{{");
            rest = after;
            continue;
        };
        let (name, argument) = token.split_once(':').unwrap_or((token, ""));
        match (name, engine) {
            ("FOR_UPDATE" | "SKIP_LOCKED", Engine::Sqlite) => {}
            ("FOR_UPDATE", Engine::Postgres) => expanded.push_str("for update"),
            ("SKIP_LOCKED", Engine::Postgres) => expanded.push_str("for update skip locked"),
            // A subquery, so that json_each's other columns (id, key, type ..) cannot
            // make a name of the outer query ambiguous.
            ("JSON_TEXTS" | "JSON_ROWS", Engine::Sqlite) => {
                expanded.push_str("(select value from json_each(");
                expanded.push_str(argument);
                expanded.push_str("))");
            }
            // A function, because PostgreSQL before 16 wants a subquery to have an alias.
            ("JSON_TEXTS", Engine::Postgres) => {
                expanded.push_str("jsonb_array_elements_text(cast(");
                expanded.push_str(argument);
                expanded.push_str(" as jsonb))");
            }
            ("JSON_ROWS", Engine::Postgres) => {
                expanded.push_str("jsonb_array_elements(cast(");
                expanded.push_str(argument);
                expanded.push_str(" as jsonb))");
            }
            ("SEQ_PK", Engine::Sqlite) => expanded.push_str("INTEGER PRIMARY KEY AUTOINCREMENT"),
            ("SEQ_PK", Engine::Postgres) => {
                expanded.push_str("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY")
            }
            _ => {
                expanded.push_str("{{");
                expanded.push_str(token);
                expanded.push_str("}}");
            }
        }
        rest = tail;
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    mod sample {
        crate::statements! {
            /// Locks.
            LOCK = "select a from t where b in (select value from {{JSON_TEXTS:$1}}) {{FOR_UPDATE}}";
            /// Does not.
            PLAIN = "select 1";
        }
    }

    #[test]
    fn tokens_become_each_engines_words() {
        assert_eq!(
            sample::LOCK.text(Engine::Sqlite),
            "select a from t where b in (select value from (select value from json_each($1))) "
        );
        assert_eq!(
            sample::LOCK.text(Engine::Postgres),
            "select a from t where b in (select value from jsonb_array_elements_text(cast($1 as jsonb))) for update"
        );
        assert_eq!(sample::PLAIN.text(Engine::Postgres), "select 1");
        assert_eq!(sample::STATEMENTS.len(), 2);
        assert_eq!(expand("{{WHAT}} {{", Engine::Sqlite), "{{WHAT}} {{");
    }
}
