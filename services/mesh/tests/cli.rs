//! What the program says to a person: help, exit codes, names of what is wrong,
//! and a purchase to watch.
#![expect(clippy::unwrap_used, reason = "a test says why it failed")]

#[expect(dead_code, reason = "each test file uses its part of it")]
mod program;

use std::path::Path;

use program::{House, mercat, run, text};

/// sysexits.h: wrong usage, and something that is not there.
const USAGE: i32 = 64;

#[test]
fn every_command_explains_itself() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let help = text(&help.stdout);
    for verb in [
        "up",
        "serve",
        "gateway",
        "check",
        "routes",
        "explain",
        "seed",
        "shop",
        "bench",
        "completions",
    ] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{verb} "))),
            "{verb}: {help}"
        );
        let own = run(&[verb, "--help"]);
        assert!(own.status.success(), "{verb}");
        let own = text(&own.stdout);
        assert!(own.contains("Usage: mercat") && own.contains(verb), "{own}");
    }
    assert!(text(&run(&["--version"]).stdout).starts_with("mercat 0."));
}

#[test]
fn a_wrong_command_line_exits_with_64_and_says_why() {
    for (arguments, names) in [
        (&["serve", "warehouse", "--check"][..], &["warehouse", "inventory"][..]),
        (
            &["serve", "catalog", "--check", "--set", "catalog.no_such_key=1"][..],
            &["catalog.no_such_key"][..],
        ),
        (
            &[
                "serve",
                "catalog",
                "--check",
                "--set",
                "listen.gprc=x",
                "--set",
                "limits.max_in_flight=many",
            ][..],
            &["listen.gprc", "limits.max_in_flight"][..],
        ),
        (&["check", "--set", "nonsense.key=1"][..], &["nonsense"][..]),
        (
            &["gateway", "--check", "--set", "gateway.no_such_key=1"][..],
            &["gateway.no_such_key"][..],
        ),
    ] {
        let output = run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(USAGE), "{arguments:?}: {said}");
        for name in names {
            assert!(said.contains(name), "{arguments:?} does not name {name}: {said}");
        }
    }
    let output =
        mercat().args(["check"]).env("MERCAT__DATABASE__CONECTIONS", "3").output().unwrap();
    assert_eq!(output.status.code(), Some(USAGE));
    assert!(text(&output.stderr).contains("database.conections"), "{}", text(&output.stderr));
}

#[test]
fn check_shows_the_settings_without_their_secrets() {
    let output = mercat()
        .args(["check", "--set", "database.url=postgres://shop:hunter2@db/{service}"])
        .env("MERCAT__IDENTITY__ADMIN_PASSWORD", "hunter3")
        .output()
        .unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in [
        "[listen]",
        "[connections]",
        "[gateway]",
        "[identity]",
        "[payments]",
        "are in order",
        "***",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("hunter"), "{said}");
}

#[test]
fn routes_and_explain_tell_what_the_edge_does() {
    let routes = run(&["routes"]);
    assert!(routes.status.success());
    let routes = text(&routes.stdout);
    let line = routes
        .lines()
        .find(|line| line.contains("mercat.storefront.v1.CheckoutService.CompleteCheckout"))
        .unwrap();
    assert!(
        line.starts_with("POST") && line.contains("/v1/checkouts/{checkout_id}:complete"),
        "{line}"
    );
    assert!(line.contains("owner of checkout_id"), "{line}");

    let output = run(&["explain", "get", "/v1/products?pageSize=3"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in
        ["mercat.catalog.v1.ProductService.ListProducts", "anyone", "pageSize=3", "safe to repeat"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (arguments, why) in [
        (["explain", "GET", "/v1/nonsense"], "nothing answers"),
        (["explain", "DELETE", "/v1/products"], "takes"),
    ] {
        let output = run(&arguments);
        assert!(
            !output.status.success() && text(&output.stderr).contains(why),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn shells_can_complete_it() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("mercat"), "{shell}");
    }
}

#[test]
fn a_person_can_watch_a_purchase() {
    let house = House::new();
    let program = house.up();
    let gateway = program.gateway.to_string();

    let bought = run(&["shop", "--gateway", &gateway]);
    let said = text(&bought.stdout);
    assert!(bought.status.success(), "{said}{}", text(&bought.stderr));
    for (number, step) in [
        "Be a guest",
        "Look at what there is",
        "Take a cart",
        "Put it in",
        "Go to the till",
        "Say who and where",
        "Choose how it is shipped",
        "Choose how it is paid",
        "Buy",
        "Read the order back",
        "Read its story",
    ]
    .iter()
    .enumerate()
    {
        let line = format!("{}. {step}", number + 1);
        let result = said.lines().find_map(|found| found.trim_start().strip_prefix(&line));
        let result = result.unwrap_or_else(|| panic!("{line}: {said}"));
        assert!(!result.trim_start().starts_with('('), "{line} says nothing: {said}");
    }
    assert!(
        said.contains("confirmed, payment captured") && said.contains("Bought: order"),
        "{said}"
    );

    let proved =
        run(&["shop", "--gateway", &gateway, "--payment-method", "pm_card_3ds", "--quantity", "2"]);
    assert!(proved.status.success(), "{}", text(&proved.stderr));
    assert!(text(&proved.stdout).contains("3-D Secure"), "{}", text(&proved.stdout));

    let declined = run(&["shop", "--gateway", &gateway, "--payment-method", "pm_card_declined"]);
    assert!(!declined.status.success());
    assert!(text(&declined.stderr).contains("the card was declined"), "{}", text(&declined.stderr));
    assert!(!text(&declined.stdout).contains("Bought"));

    let seeded =
        run(&["seed", "--products", "30", "--gateway", &gateway, "--data", house.folder()]);
    assert!(seeded.status.success(), "{}", text(&seeded.stderr));
    assert!(text(&seeded.stdout).contains("30 products"));

    assert_eq!(program.stop(), Some(0));
    let nobody = run(&["shop", "--gateway", &gateway]);
    assert_eq!(nobody.status.code(), Some(69), "{}", text(&nobody.stderr));
}

/// A house whose ports speak TLS, and the file of the authority that its
/// certificate is to be believed by.
fn secret_house(folder: &Path) -> (House, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let [certificate, key] =
        ["tls.crt", "tls.key"].map(|name| folder.join(name).to_str().unwrap().to_owned());
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let house = House::new()
        .with("connections.tls.certificate_file", &certificate)
        .with("connections.tls.key_file", &key)
        .with("channel.tls.ca_file", &certificate);
    (house, certificate)
}

#[test]
fn the_demo_is_for_sale_also_where_the_port_speaks_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (house, authority) = secret_house(folder.path());
    let program = house.up();
    let gateway = format!("https://{}", program.gateway);

    let bought = run(&["shop", "--gateway", &gateway, "--ca", &authority]);
    assert!(bought.status.success(), "{}", text(&bought.stderr));
    assert!(text(&bought.stdout).contains("Bought: order "));
    let seed = ["seed", "--products", "3", "--data", house.folder(), "--ca", &authority];
    let seeded = run(&[&seed[..], &["--gateway", &gateway]].concat());
    assert!(seeded.status.success(), "{}", text(&seeded.stderr));

    // Whom nobody vouches for is not sold to, nor is plain text spoken by mistake.
    for (arguments, said) in [
        (vec!["--gateway", &*gateway], "UnknownIssuer"),
        (vec!["--ca", &*authority], "write --gateway https://127.0.0.1:8080"),
        (vec!["--gateway", &*gateway, "--ca", house.folder()], "channel.tls.ca_file"),
    ] {
        let refused = run(&[&["shop"][..], &arguments].concat());
        assert!(!refused.status.success(), "{arguments:?}");
        let complaint = text(&refused.stderr);
        assert!(complaint.contains(said), "{arguments:?}: {complaint}");
    }
    assert_eq!(program.stop(), Some(0));
}

#[test]
fn processes_find_each_other_also_where_their_ports_speak_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (house, authority) = secret_house(folder.path());
    let program = house.split().up();
    let gateway = format!("https://{}", program.gateway);
    let bought = run(&["shop", "--gateway", &gateway, "--ca", &authority]);
    assert!(bought.status.success(), "{}", text(&bought.stderr));
    assert!(text(&bought.stdout).contains("Bought: order "));
    assert_eq!(program.stop(), Some(0));
}

#[test]
fn what_is_no_address_of_a_gateway_is_said_so() {
    for (gateway, fix) in [
        ("localhost", "write host:port"),
        ("ftp://localhost:1", "http://host:port"),
        ("https://", "write host:port"),
        ("http://localhost:1/v1", "more than a host and a port"),
        ("http://ana@localhost:1", "more than a host and a port"),
    ] {
        let refused = run(&["shop", "--gateway", gateway]);
        assert!(!refused.status.success(), "{gateway}");
        let complaint = text(&refused.stderr);
        assert!(complaint.contains(gateway) && complaint.contains(fix), "{gateway}: {complaint}");
    }
}
