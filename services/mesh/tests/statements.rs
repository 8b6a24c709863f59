//! Every statement that any service sends is one that both databases understand,
//! and every rule of the contracts is one that the chassis can enforce.
#![expect(clippy::unwrap_used, reason = "a test says why it failed")]

use std::collections::BTreeSet;

use chassis::{
    Clock, Contract, Database,
    store::{Config, Engine, Url},
};

/// Prepares every statement of every service on fresh databases like these.
async fn prepare_all(engine: Engine, config: Config) {
    let mut refused = Vec::new();
    let mut prepared = 0;
    for service in mesh::services() {
        let name = service.name();
        let database =
            Database::open(&config, name, service.migrations(), Clock::fake()).await.unwrap();
        assert_eq!(database.engine(), engine);
        let statements = service.statements();
        assert!(!statements.is_empty(), "{name} lists no statement");
        prepared += statements.len();
        if let Err(found) = database.prepare_all(&[&statements]).await {
            refused.extend(
                found.into_iter().map(|(statement, why)| format!("{name}: {statement}: {why:?}")),
            );
        }
        database.close().await;
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(prepared > 100, "only {prepared} statements are listed");
}

#[tokio::test]
async fn every_statement_prepares_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = Url::new(format!("sqlite:{}/{{service}}.db", folder.path().display()));
    prepare_all(Engine::Sqlite, Config { url, ..Config::default() }).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn every_statement_prepares_on_postgresql() {
    let folder = tempfile::tempdir().unwrap();
    assert!(testkit::postgres_url().is_some(), "set MERCAT_TEST_POSTGRES");
    prepare_all(Engine::Postgres, testkit::fresh_database(folder.path())).await;
}

#[test]
fn every_rule_of_the_contracts_can_be_enforced() {
    let contract = Contract::embedded().unwrap();
    assert!(contract.methods().count() > 100);
    gateway::schema(&contract).unwrap();
}

#[test]
fn every_service_that_is_let_in_exists() {
    let contract = Contract::embedded().unwrap();
    let names: BTreeSet<String> = contract.service_names().into_iter().collect();
    let strangers: Vec<String> = contract
        .methods()
        .flat_map(|method| {
            method.access().services.iter().map(|name| (method.path().to_owned(), name.clone()))
        })
        .filter(|(_, name)| name != "*" && !names.contains(name))
        .map(|(path, name)| format!("{path} lets in {name}"))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}
