//! The program under the worst that can be done to it: told to stop, killed at
//! random moments and at every step of a purchase, left without its parent.
//! Afterwards each checkout has one order or none, and money and stock agree.
#![expect(clippy::unwrap_used, reason = "a test says why it failed")]

#[path = "faults/audit.rs"]
mod audit;
#[expect(dead_code, reason = "each test file uses its part of it")]
mod program;
#[expect(dead_code, reason = "each test file uses its part of it")]
mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use audit::{Attempt, Audit};
use chassis::channel::Tls;
use contracts::{
    orders::v1::{ListOrdersRequest, order_service_client::OrderServiceClient},
    payments::v1::PaymentActionOutcome,
    storefront::v1::complete_checkout_response::Outcome,
};
use program::{House, Program, run, signal, text};
use support::shopper::{CARD_OK, Shopper};
use testkit::{eventually, request_id};

/// How often the program is killed at a random moment.
const KILLS: u32 = 12;
/// How long that may take, restarts and all, on a machine that is busy.
const KILLS_PATIENCE: Duration = Duration::from_secs(90);
/// How many buy at the same time.
const BUYERS: u64 = 4;
/// How soon a drain ends when nobody has anything open.
const DRAIN_PATIENCE: Duration = Duration::from_secs(12);

/// Numbers that look random and come again with the same seed (splitmix64).
struct Random(u64);

impl Random {
    /// By the environment variable `MERCAT_TEST_SEED`, or a new one; it is printed.
    #[expect(clippy::print_stderr, reason = "whoever sees the test fail wants to see it again")]
    fn new() -> Self {
        let given =
            std::env::var_os("MERCAT_TEST_SEED").and_then(|seed| seed.to_str()?.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let micros = chassis::Clock::system().now().micros();
            u64::try_from(micros).unwrap_or_default()
        });
        eprintln!("MERCAT_TEST_SEED={seed}");
        Self(seed)
    }

    /// From 0 to one less than this.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// How often orders were placed so far.
async fn orders_placed(house: &House, program: &Program) -> usize {
    let request = ListOrdersRequest { page_size: 1_000, ..ListOrdersRequest::default() };
    let admin = house.admin(program).await;
    admin
        .client(OrderServiceClient::new)
        .list_orders(request)
        .await
        .unwrap()
        .into_inner()
        .orders
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_open_requests_end_and_a_restart_keeps_everything() {
    // A payment of which nothing is heard for a while, so that there is something open.
    let house = House::new().without_demo();
    let mut program = house.up();
    let sku = audit::product(&house.admin(&program).await, 9).await;
    let (shopper, token) = audit::guest(&program).await;
    let checkout = shopper.ready(&sku, 2, "pm_timeout_after_effect").await.unwrap();
    let key = request_id();
    let click = {
        let (shopper, checkout, key) = (shopper.clone(), checkout.clone(), key.clone());
        async move { shopper.complete(&checkout, &key).await }
    };
    let begun = async {
        eventually(|| async { (orders_placed(&house, &program).await == 1).then_some(()) }).await;
        program.signal("TERM");
    };
    let (answer, ()) = tokio::join!(click, begun);
    let answer = answer.unwrap().into_inner();
    assert!(matches!(answer.outcome, Some(Outcome::Order(_) | Outcome::Pending(_))), "{answer:?}");
    assert_eq!(program.wait(DRAIN_PATIENCE).code(), Some(0));
    assert!(TcpStream::connect(program.gateway).is_err(), "it does not listen any more");

    let program = house.up();
    let shopper = Shopper::new(program.client().with_token(&token).unwrap());
    let again = shopper.complete(&checkout, &key).await.unwrap().into_inner();
    let order = shopper.settle(&checkout, again, PaymentActionOutcome::Success).await.unwrap();
    let bought = Attempt { checkout, token, key, quantity: 2, order_id: Some(order.order_id) };
    let audit = Audit { sku, stock: 9, attempts: vec![bought] };
    audit.hold(&house.admin(&program).await, &program, 1).await;
    assert_eq!(program.stop(), Some(0));
}

#[test]
fn a_peer_that_says_half_a_word_does_not_hold_up_the_end() {
    let house = House::new().without_demo();
    let mut program = house.up();
    let ports: Vec<_> = program.services.values().copied().chain([program.gateway]).collect();
    let mut peers = Vec::new();
    for port in ports {
        // An HTTP/2 preface without what must follow, and nothing at all.
        let mut preface = TcpStream::connect(port).unwrap();
        preface.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        peers.push(preface);
        peers.push(TcpStream::connect(port).unwrap());
    }
    // Half a header.
    let mut half = TcpStream::connect(program.gateway).unwrap();
    half.write_all(b"GET /v1/products HTTP/1.1\r\nhost: me").unwrap();
    // The port has read what it was sent: it answers others that came later.
    let mut ready = TcpStream::connect(program.gateway).unwrap();
    ready.write_all(b"GET /readyz HTTP/1.1\r\nhost: me\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    ready.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let began = Instant::now();
    program.signal("TERM");
    assert_eq!(program.wait(DRAIN_PATIENCE).code(), Some(0), "after {:?}", began.elapsed());
    drop(peers);
}

/// Buys until the program is gone, and notes each attempt before its last click.
async fn keep_buying(
    program_gateway: std::net::SocketAddr,
    sku: String,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    mut random: Random,
) {
    let nobody = mesh::client::Client::new(&program_gateway.to_string(), Tls::default()).unwrap();
    let methods = [
        CARD_OK,
        CARD_OK,
        "pm_timeout_after_effect",
        "pm_duplicate_webhooks",
        "pm_card_declined",
        "pm_capture_timeout",
    ];
    while let Ok((shopper, token)) = audit::try_guest(&nobody).await {
        let quantity = 1 + i32::try_from(random.below(3)).unwrap();
        let method = methods[usize::try_from(random.below(6)).unwrap()];
        let Ok(checkout) = shopper.ready(&sku, quantity, method).await else { return };
        let key = request_id();
        let mine = Attempt {
            checkout: checkout.clone(),
            token,
            key: key.clone(),
            quantity: i64::from(quantity),
            order_id: None,
        };
        attempts.lock().unwrap().push(mine);
        let Ok(first) = shopper.complete(&checkout, &key).await else { continue };
        if let Ok(order) =
            shopper.settle(&checkout, first.into_inner(), PaymentActionOutcome::Success).await
        {
            let mut attempts = attempts.lock().unwrap();
            let mine = attempts.iter_mut().find(|attempt| attempt.key == key).unwrap();
            mine.order_id = Some(order.order_id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_nothing_is_lost_and_nothing_is_done_twice() {
    let began = Instant::now();
    let house = House::new().without_demo();
    let mut random = Random::new();
    let stock = 100_000;
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let mut sku = String::new();
    for kill in 0..KILLS {
        let program = house.up();
        if kill == 0 {
            sku = audit::product(&house.admin(&program).await, stock).await;
        }
        let buyers: Vec<_> = (0..BUYERS)
            .map(|_| {
                let buying = keep_buying(
                    program.gateway,
                    sku.clone(),
                    attempts.clone(),
                    Random(random.below(u64::MAX)),
                );
                #[expect(clippy::disallowed_methods, reason = "buyers are no part of a service")]
                tokio::spawn(buying)
            })
            .collect();
        // The moment is the point of it: there is nothing to wait for.
        tokio::time::sleep(Duration::from_millis(150 + random.below(1_000))).await;
        program.kill();
        buyers.iter().for_each(tokio::task::JoinHandle::abort);
    }
    let program = house.up();
    let attempts = std::mem::take(&mut *attempts.lock().unwrap());
    let known = attempts.iter().filter(|attempt| attempt.order_id.is_some()).count();
    assert!(
        attempts.len() > usize::try_from(KILLS).unwrap(),
        "hardly anything was bought: {}",
        attempts.len()
    );
    let audit = Audit { sku, stock, attempts };
    // Every other shopper clicks again; the others went away for good.
    audit.click_again(&program, 2).await;
    audit.hold(&house.admin(&program).await, &program, known).await;
    assert_eq!(program.stop(), Some(0));
    assert!(began.elapsed() < KILLS_PATIENCE, "it took {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_a_purchase_it_ends_in_one_order_or_none() {
    let forward = [
        "create_order",
        "reserve_stock",
        "authorize_payment",
        "commit_reservation",
        "confirm_order",
        "capture_payment",
    ]
    .map(|step| (format!("place_order.{step}.act"), ""));
    let backward = ["authorize_payment", "reserve_stock", "create_order"].map(|step| {
        (format!("place_order.{step}.undo"), "place_order.commit_reservation.act.after=refuse:1;")
    });
    let house = House::new().without_demo();
    let program = house.up();
    let sku = audit::product(&house.admin(&program).await, 1_000).await;
    let mut program = Some(program);
    let mut attempts = Vec::new();
    let mut killed = 0;
    for (point, before) in forward.iter().chain(&backward) {
        // Where the lease of the killed one must end first, not every point can be had.
        let phases = if testkit::postgres_url().is_some() {
            &["after"][..]
        } else {
            &["after", "saved"][..]
        };
        for phase in phases {
            if let Some(program) = program.take() {
                program.kill();
            }
            let points = format!("{before}{point}.{phase}=exit:1");
            let Ok(mut armed) = house.try_up(&[("MERCAT_FAILPOINTS", &points)]) else {
                panic!("{points}: something was left to do from the time before");
            };
            let (shopper, token) = audit::guest(&armed).await;
            let checkout = shopper.ready(&sku, 1, CARD_OK).await.unwrap();
            let key = request_id();
            let answer = shopper.complete(&checkout, &key).await;
            // A step that is saved with the one before it is not met on its own.
            let died = answer.is_err() || armed.has_ended();
            if died {
                assert_eq!(armed.wait(Duration::from_secs(10)).code(), Some(137), "{points}");
                killed += 1;
            }
            drop(armed);
            let fresh = house.up();
            let shopper = Shopper::new(fresh.client().with_token(&token).unwrap());
            let again = shopper.complete(&checkout, &key).await;
            let settled = match again {
                Ok(first) => {
                    shopper
                        .settle(&checkout, first.into_inner(), PaymentActionOutcome::Success)
                        .await
                }
                Err(refused) => Err(refused),
            };
            let order_id = settled.as_ref().ok().map(|order| order.order_id.clone());
            // What was taken back may be bought by the second click.
            assert!(order_id.is_some() || !before.is_empty(), "{points}: {settled:?}");
            attempts.push(Attempt { checkout, token, key, quantity: 1, order_id });
            audit::nothing_is_under_way(&house.admin(&fresh).await).await;
            program = Some(fresh);
        }
    }
    assert!(
        killed >= if testkit::postgres_url().is_some() { 6 } else { 12 },
        "only {killed} points were met"
    );
    let program = program.unwrap();
    let bought = attempts.iter().filter(|attempt| attempt.order_id.is_some()).count();
    Audit { sku, stock: 1_000, attempts }
        .hold(&house.admin(&program).await, &program, bought)
        .await;
    assert_eq!(program.stop(), Some(0));
}

/// The processes that this one started.
fn children(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // After the name, which is in brackets: the state, the parent.
        let mut words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let (state, of) = (words.next(), words.next());
        if state != Some("Z") && of == Some(parent.to_string().as_str()) {
            found.push(process);
        }
    }
    found
}

/// Whether a process is there, and no zombie.
fn is_alive(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| {
        !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
    })
}

async fn all_end(processes: Vec<u32>) {
    eventually(|| async { processes.iter().all(|process| !is_alive(*process)).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_of_processes_sells_and_ends_together() {
    let house = House::new().split();
    let mut program = house.up();
    let parts = children(program.process());
    assert_eq!(parts.len(), mesh::services().len() + 1, "a process each, and the gateway");
    let bought = run(&["shop", "--gateway", &program.gateway.to_string()]);
    assert!(bought.status.success(), "{}{}", text(&bought.stdout), text(&bought.stderr));
    program.signal("TERM");
    assert_eq!(program.wait(Duration::from_secs(30)).code(), Some(0));
    all_end(parts).await;

    // Without their parent the parts end too, however it went.
    let program = house.up();
    let parts = children(program.process());
    let bought = run(&["shop", "--gateway", &program.gateway.to_string()]);
    assert!(bought.status.success(), "{}", text(&bought.stderr));
    program.kill();
    all_end(parts).await;

    // And without one part the others do not pretend.
    let mut program = house.up();
    let parts = children(program.process());
    signal(parts[2], "KILL");
    assert_eq!(program.wait(Duration::from_secs(30)).code(), Some(69));
    all_end(parts).await;
}
