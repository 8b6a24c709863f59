//! What a purchase costs: CPU time of the mesh per operation, and operations per
//! second, with everything durable.
//!
//! The mesh runs in a process of its own, so that its CPU time (user and system,
//! from `/proc`) is told apart from that of the shoppers here.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chassis::{Error, Fault, channel::Tls};
use contracts::{
    catalog::v1::{
        GetProductRequest, ListProductsRequest, product_service_client::ProductServiceClient,
    },
    storefront::v1::{CreateCartRequest, LineInput, cart_service_client::CartServiceClient},
};
use tokio::task::JoinSet;

use crate::{
    client::Client,
    shop::{self, Wish},
};

/// How long the mesh may take to start.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// Pieces of each SKU: nobody is to be refused.
const STOCK: &str = "1000000000";
/// How many reads stand against one purchase.
const READS: u64 = 4;

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Shoppers at once.
    pub shoppers: u32,
    /// Purchases in all.
    pub purchases: u64,
}

/// An operation that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    List,
    Product,
    Cart,
    Purchase,
}

// === impl Operation ===

impl Operation {
    const ALL: [Self; 4] = [Self::List, Self::Product, Self::Cart, Self::Purchase];

    fn name(self) -> &'static str {
        match self {
            Self::List => "list of 50 with prices",
            Self::Product => "one product with variants",
            Self::Cart => "a new cart with a line",
            Self::Purchase => "purchase, 11 requests",
        }
    }
}

/// Measures each operation against a fresh mesh, and prints a table.
pub fn run(runtime: &tokio::runtime::Runtime, load: Load) -> Result<(), Error> {
    let failed =
        |what: &str, error: std::io::Error| Error::Build(what.to_owned(), Some(error.into()));
    let program =
        std::env::current_exe().map_err(|error| failed("this program cannot be found", error))?;
    let folder = std::env::temp_dir().join(format!("mercat-bench-{}", std::process::id()));
    let address = free().map_err(|error| failed("no port is free", error))?;
    let started = Instant::now();
    let mut mesh = Command::new(program)
        .args([
            "up",
            "--ports",
            "0",
            "--admin",
            "127.0.0.1:0",
            "--until-eof",
            "--demo-stock",
            STOCK,
        ])
        .args(["--data", &folder.display().to_string(), "--listen", &address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| failed("the mesh cannot be started", error))?;
    let measured = runtime.block_on(measure(mesh.id(), address, load, started));
    drop(mesh.stdin.take());
    let _how_it_ended = mesh.wait();
    let _left_to_the_system = std::fs::remove_dir_all(&folder);
    measured
}

async fn measure(pid: u32, address: SocketAddr, load: Load, started: Instant) -> Result<(), Error> {
    // A new client each time: one that found nobody waits before it looks again.
    let nobody = || Client::new(&address.to_string(), Tls::default());
    while !nobody()?.is_ready().await {
        if started.elapsed() > READY_PATIENCE {
            return Err(Error::build("the mesh did not become ready"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("ready after {:.0?}", started.elapsed());
    let client = nobody()?;
    while crate::demo::is_empty(&client).await? {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{} MiB resident when idle\n", resident_mib(pid));
    println!("{:<28} {:>10} {:>12} {:>12}", "operation", "count", "per second", "CPU ms each");
    for operation in Operation::ALL {
        let count =
            if operation == Operation::Purchase { load.purchases } else { load.purchases * READS };
        // Caches, connections and prepared statements are warm before it counts.
        repeat(&client, operation, load.shoppers, u64::from(load.shoppers) * 2).await?;
        let (cpu, clock) = (cpu_millis(pid), Instant::now());
        repeat(&client, operation, load.shoppers, count).await?;
        let (took, spent) = (clock.elapsed(), cpu_millis(pid) - cpu);
        let per_second = u128::from(count) * 1_000_000 / took.as_micros().max(1);
        let micros_each = spent * 1_000 / count.max(1);
        println!(
            "{:<28} {count:>10} {per_second:>12} {:>8}.{:03}",
            operation.name(),
            micros_each / 1_000,
            micros_each % 1_000
        );
    }
    println!("\n{} MiB resident at the end", resident_mib(pid));
    Ok(())
}

/// Does an operation so often, from so many shoppers at once.
async fn repeat(
    client: &Client,
    operation: Operation,
    shoppers: u32,
    count: u64,
) -> Result<(), Fault> {
    let left = Arc::new(AtomicU64::new(count));
    let mut all = JoinSet::new();
    for pick in 0..shoppers {
        let pick = usize::try_from(pick).unwrap_or_default();
        let (client, left) = (client.clone(), left.clone());
        all.spawn(async move {
            let (shopper, _) = shop::guest(&client).await?;
            let sku = shop::first_sku(&client).await?;
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
            {
                once(&shopper, operation, &sku, pick).await?;
            }
            Ok::<(), Fault>(())
        });
    }
    while let Some(done) = all.join_next().await {
        done.map_err(|error| Fault::internal().because(error))??;
    }
    Ok(())
}

async fn once(
    client: &Client,
    operation: Operation,
    sku: &(String, String),
    pick: usize,
) -> Result<(), Fault> {
    match operation {
        Operation::List => {
            let request = ListProductsRequest {
                page_size: 50,
                currency_code: "EUR".to_owned(),
                ..ListProductsRequest::default()
            };
            client.client(ProductServiceClient::new).list_products(request).await?;
        }
        Operation::Product => {
            let request =
                GetProductRequest { product_id: sku.0.clone(), ..GetProductRequest::default() };
            client.client(ProductServiceClient::new).get_product(request).await?;
        }
        Operation::Cart => {
            let lines = vec![LineInput { sku: sku.1.clone(), quantity: 1 }];
            let request = CreateCartRequest { lines, ..CreateCartRequest::default() };
            client.client(CartServiceClient::new).create_cart(request).await?;
        }
        Operation::Purchase => {
            let wish =
                Wish { payment_method: "pm_card_ok".to_owned(), quantity: 1, pick, quiet: true };
            shop::purchase(client, &wish).await?;
        }
    }
    Ok(())
}

fn free() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// CPU time of a process so far, in milliseconds: `utime` and `stime` of
/// proc(5), which count hundredths of a second on Linux.
fn cpu_millis(pid: u32) -> u64 {
    let Ok(stat) = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))
    else {
        return 0;
    };
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum::<u64>()
        * 10
}

/// Resident memory of a process, in MiB.
fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let kib = status.ok().and_then(|status| {
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    kib.unwrap_or_default() / 1_024
}
