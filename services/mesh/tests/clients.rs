//! Clients that are not ours: grpcurl, grpcio, and clients of gRPC-Web, Connect and
//! REST, generated from the contracts or from `/openapi.json` and nothing else.
//! Their tools are found on the PATH.
#![expect(clippy::unwrap_used, reason = "a test says why it failed")]

#[expect(dead_code, reason = "each test file uses its part of it")]
mod program;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use program::{House, text};

/// One read of each service that its port answers to whoever may ask it:
/// service, method, request.
const READS: [(&str, &str, &str); 6] = [
    ("identity", "mercat.identity.v1.AuthService/GetJwks", "{}"),
    ("catalog", "mercat.catalog.v1.ProductService/ListProducts", r#"{"page_size": 1}"#),
    ("inventory", "mercat.inventory.v1.LocationService/ListLocations", "{}"),
    ("payments", "mercat.payments.v1.LedgerService/GetBalances", "{}"),
    ("orders", "mercat.orders.v1.OrderService/ListOrders", "{}"),
    ("storefront", "mercat.storefront.v1.CartService/CreateCart", r#"{"currency_code": "EUR"}"#),
];

/// Runs a tool and gives what it printed.
fn tool(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn grpcurl(arguments: &[&str]) -> String {
    tool(Command::new("grpcurl").arg("-plaintext").args(arguments))
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn proto() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto").canonicalize().unwrap()
}

/// What a purchase prints at its end.
fn assert_bought(printed: &str) {
    let line = printed.lines().last().unwrap();
    let order: serde_json::Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert!(order["status"].as_str().unwrap().ends_with("CONFIRMED"), "{printed}");
    assert!(order["total"].as_i64().unwrap() > 0, "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs grpcurl"]
async fn grpcurl_lists_and_calls_every_service() {
    use contracts::identity::v1::{LoginRequest, auth_service_client::AuthServiceClient};

    let house = House::new();
    let program = house.up();
    let home = mesh::home::Home::open(Path::new(house.folder())).unwrap();
    let account = home.account();
    let request = LoginRequest {
        email: account.email.clone(),
        password: account.password.clone(),
        ..LoginRequest::default()
    };
    let signed_in =
        program.client().client(AuthServiceClient::new).login(request).await.unwrap().into_inner();
    let token = format!("authorization: Bearer {}", signed_in.tokens.unwrap().access_token);

    let gateway = program.gateway.to_string();
    let contract = chassis::Contract::embedded().unwrap();
    let listed = grpcurl(&[&gateway, "list"]);
    for name in contract.service_names() {
        let own = program.services[&name].to_string();
        let listed_there = grpcurl(&[&own, "list"]);
        for service in contract.grpc_services(&name) {
            assert!(listed.lines().any(|line| line == service), "{service} is not in {listed}");
            assert!(
                listed_there.lines().any(|line| line == service),
                "{service} is not in {listed_there}"
            );
            for port in [&gateway, &own] {
                let described = grpcurl(&[port, "describe", &service]);
                assert!(described.contains("rpc "), "{described}");
            }
        }
        let (_, method, request) = READS.iter().find(|(found, _, _)| *found == name).unwrap();
        for port in [&gateway, &own] {
            grpcurl(&["-H", &token, "-d", request, port, method]);
        }
    }
    let health = grpcurl(&[&gateway, "grpc.health.v1.Health/Check"]);
    assert!(health.contains("SERVING"), "{health}");
    assert_eq!(program.stop(), Some(0));
}

#[test]
#[ignore = "needs grpcio"]
fn a_python_client_buys() {
    let house = House::new();
    let program = house.up();
    let generated = tempfile::tempdir().unwrap();
    let printed = tool(
        Command::new("python3")
            .arg(clients().join("purchase.py"))
            .arg(program.gateway.to_string())
            .arg(proto())
            .arg(generated.path()),
    );
    assert_bought(&printed);
    assert_eq!(program.stop(), Some(0));
}

/// Generates the clients of `tests/clients` from the contracts and the document of
/// a gateway, once for all tests, and checks their types.
fn generate(folder: &Path, gateway: &str) {
    static GENERATED: std::sync::Once = std::sync::Once::new();
    GENERATED.call_once(|| {
        tool(Command::new("buf").current_dir(folder).arg("generate").arg(proto()));
        tool(
            Command::new("openapi-typescript")
                .current_dir(folder)
                .arg(format!("{gateway}/openapi.json"))
                .args(["--output", "gen/rest.ts"]),
        );
        tool(Command::new("tsc").current_dir(folder));
    });
}

/// Runs a script of `tests/clients` against a gateway; gives what it printed.
fn run(script: &str) -> String {
    let house = House::new();
    let program = house.up();
    let (folder, gateway) = (clients(), format!("http://{}", program.gateway));
    generate(&folder, &gateway);
    let printed = tool(Command::new("tsx").current_dir(&folder).arg(script).arg(gateway));
    assert_eq!(program.stop(), Some(0));
    printed
}

#[test]
#[ignore = "needs Node"]
fn a_grpc_web_client_buys() {
    assert_bought(&run("purchase.ts"));
}

#[test]
#[ignore = "needs Node"]
fn a_client_made_from_the_document_buys() {
    assert_bought(&run("rest.ts"));
}

#[test]
#[ignore = "needs Chromium"]
fn pages_in_a_browser_buy_and_see_a_stream_fail() {
    let printed = run("browser/run.ts");
    let told: serde_json::Value = serde_json::from_str(&printed).unwrap();
    for protocol in ["grpc-web", "connect-json", "connect-proto"] {
        let told = &told[protocol];
        assert_eq!(told["titles"].as_array().map(Vec::len), Some(5), "{protocol}: {printed}");
        assert_eq!(told["bought"]["status"], "CONFIRMED", "{protocol}: {printed}");
        let watched = &told["watched"];
        assert!(!watched["seen"].as_array().unwrap().is_empty(), "{protocol}: {printed}");
        assert_eq!(watched["error"], "DeadlineExceeded", "{protocol}: {printed}");
    }
}
