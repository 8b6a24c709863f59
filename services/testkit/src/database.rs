//! A fresh database for each test.

use std::path::Path;

use chassis::store::{Config, Url};

use crate::request_id;

/// The environment variable that moves the tests to PostgreSQL.
const POSTGRES: &str = "MERCAT_TEST_POSTGRES";

/// Settings of a database that nobody has used: `{service}` stands for the
/// service's name.
pub fn fresh(folder: &Path) -> Config {
    let url = match postgres_url() {
        Some(server) => {
            let run = request_id().replace('-', "");
            format!("{}/mercat_{run}_{{service}}", server.trim_end_matches('/'))
        }
        None => format!("sqlite:{}/{{service}}.db", folder.display()),
    };
    Config {
        url: Url::new(url),
        connections: 8,
        connections_idle: 0,
        create: true,
        ..Config::default()
    }
}

/// The PostgreSQL server that the tests are to use, if they are to use one:
/// `postgres://user@host:port`, without a database.
pub fn postgres_url() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
    std::env::var(POSTGRES).ok().filter(|url| !url.is_empty())
}
