//! `mercat`: the whole mesh, or any part of it.
#![expect(
    clippy::print_stdout,
    reason = "this is a command-line program: what it prints is its answer"
)]

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use chassis::{
    Contract, Error, Fault, Settings,
    channel::Tls,
    run::{self, Flags},
    service::Host,
    telemetry,
};
use clap::{CommandFactory as _, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use mesh::{
    bench::{self, Load},
    client::{Client, Speech},
    demo,
    fused::{Mesh, Ports},
    greeting::Greeting,
    home::Home,
    routes,
    shop::{self, Wish},
    split::Split,
};

/// Many small allocations on several threads: what the system's allocator is slow
/// at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long telemetry may take to send what it holds back.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);
/// How many of each SKU the demo has.
const DEMO_STOCK: i64 = 500;

/// A commerce backend: a mesh of small gRPC services behind one gateway.
///
/// Without a command it runs the whole mesh in this process, on SQLite files
/// under ./data, with a demo catalogue the first time.
#[derive(Debug, Parser)]
#[command(name = "mercat", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the whole mesh (the default).
    Up(Up),
    /// Run one service, as a process of a fleet.
    Serve {
        /// Which service: identity, catalog, inventory, payments, orders, storefront.
        service: String,
        #[command(flatten)]
        flags: Flags,
    },
    /// Run the gateway, as a process of a fleet or before any gRPC server.
    ///
    /// Without `--upstream` it serves this mesh's services, which it finds by the
    /// settings under `[peers]`. With it, it serves the methods of those servers by
    /// REST, gRPC-Web, Connect and gRPC.
    Gateway {
        #[command(flatten)]
        flags: Flags,
        #[command(flatten)]
        foreign: Foreign,
    },
    /// Check contracts, routes and settings without starting anything.
    Check {
        #[command(flatten)]
        flags: Flags,
    },
    /// Print every route of the edge with its method and access rule.
    Routes,
    /// Explain what a request would do: `mercat explain GET /v1/products`.
    Explain {
        /// The HTTP method.
        verb: String,
        /// Path and query.
        target: String,
    },
    /// Bring products with prices and stock into a running mesh.
    Seed {
        /// How many products, of two variants each.
        #[arg(long, default_value_t = demo::PRODUCTS)]
        products: u32,
        /// How many of each SKU there are to be in stock.
        #[arg(long, default_value_t = DEMO_STOCK)]
        stock: i64,
        #[command(flatten)]
        to: To,
    },
    /// Buy something from a running mesh, and print every step.
    Shop {
        /// The payment method: pm_card_ok, pm_card_declined, pm_card_3ds, pm_timeout_after_effect …
        #[arg(long, default_value = "pm_card_ok")]
        payment_method: String,
        /// How many pieces.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=10_000))]
        quantity: i32,
        #[command(flatten)]
        at: At,
    },
    /// Measure what operations cost, against a mesh of its own.
    Bench {
        /// Shoppers at once.
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_024))]
        shoppers: u32,
        /// Purchases in all; four times as many of each other operation.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        purchases: u64,
    },
    /// Print a completion script for a shell.
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct Up {
    /// Keep databases and keys in this folder.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data: PathBuf,
    /// Run every service in a process of its own.
    #[arg(long)]
    split: bool,
    /// Serve REST, gRPC and gRPC-Web on this address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Serve the first service's gRPC on this loopback port, the next on the next; 0 takes free ones.
    #[arg(long, value_name = "PORT", default_value_t = 50_051)]
    ports: u16,
    /// Serve /metrics, /healthz and /readyz on this address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    admin: String,
    /// Start with an empty catalogue.
    #[arg(long)]
    no_demo: bool,
    /// How many of each SKU the demo catalogue has.
    #[arg(long, value_name = "PIECES", default_value_t = DEMO_STOCK)]
    demo_stock: i64,
    /// Drain when standard input ends: whoever started this process holds it.
    #[arg(long, hide = true)]
    until_eof: bool,
    /// Read settings from this TOML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set any setting: `--set telemetry.log_format=json`. Repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// gRPC servers that are not of this mesh.
#[derive(Debug, Clone, Default, clap::Args)]
struct Foreign {
    /// Serve the methods of this gRPC server: HOST:PORT or https://HOST:PORT, several instances of
    /// one with commas between. Repeatable.
    #[arg(long = "upstream", value_name = "HOST:PORT")]
    upstreams: Vec<String>,
    /// Read its contracts from this FileDescriptorSet (`buf build -o FILE`), again when it changes,
    /// instead of asking its reflection.
    #[arg(long, value_name = "FILE")]
    descriptors: Option<PathBuf>,
    /// Who may call methods whose contracts do not say so: public.
    #[arg(long, value_name = "WHO", conflicts_with = "policies", value_parser = ["public"])]
    access: Option<String>,
    /// Or a policy for each of them, in this TOML file.
    #[arg(long, value_name = "FILE")]
    policies: Option<PathBuf>,
    /// Verify tokens with the keys of this JSON Web Key Set.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
}

impl Foreign {
    /// As settings of the gateway.
    fn settings(&self) -> Vec<(String, String)> {
        let file = |file: &Option<PathBuf>| file.as_ref().map(|file| file.display().to_string());
        let upstreams = (!self.upstreams.is_empty())
            .then(|| serde_json::Value::from(self.upstreams.clone()).to_string());
        [
            ("gateway.upstreams", upstreams),
            ("gateway.descriptors", file(&self.descriptors)),
            ("gateway.access", self.access.clone()),
            ("gateway.policies", file(&self.policies)),
            ("gateway.jwks_file", file(&self.jwks)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
    }
}

/// The gateway of a running mesh.
#[derive(Debug, Clone, clap::Args)]
struct At {
    /// The gateway: HOST:PORT, or https://HOST:PORT where it speaks TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    gateway: String,
    /// Believe the certificates of this PEM file's authorities, instead of those that Mozilla
    /// trusts.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl At {
    fn client(&self) -> Result<Client, Error> {
        if self.ca.is_some() && !self.gateway.starts_with("https://") {
            return Err(Error::build(format!(
                "--ca is for a gateway that speaks TLS: write --gateway https://{} or leave it out",
                self.gateway.trim_start_matches("http://")
            )));
        }
        Client::new(&self.gateway, Tls { ca_file: self.ca.clone(), ..Tls::default() })
    }
}

/// Whom to sign in as.
#[derive(Debug, Clone, clap::Args)]
struct To {
    #[command(flatten)]
    at: At,
    /// The folder of the mesh, which knows its administrator.
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data: PathBuf,
    /// Sign in with this e-mail address instead.
    #[arg(long, requires = "password")]
    email: Option<String>,
    /// And this password.
    #[arg(long, env = "MERCAT_PASSWORD", hide_env_values = true)]
    password: Option<String>,
}

impl Default for Up {
    fn default() -> Self {
        let parsed = Cli::parse_from(["mercat", "up"]);
        match parsed.command {
            Some(Verb::Up(up)) => up,
            _ => unreachable!("`up` was given"),
        }
    }
}

fn main() -> ExitCode {
    let verb = Cli::parse().command.unwrap_or_else(|| Verb::Up(Up::default()));
    let done = match verb {
        Verb::Up(up) => up.run(),
        Verb::Serve { service, flags } => return serve(&service, &flags),
        Verb::Gateway { flags, foreign } => gateway(&flags, &foreign),
        Verb::Check { flags } => check(&flags),
        Verb::Routes => print_routes(),
        Verb::Explain { verb, target } => explain(&verb, &target),
        Verb::Seed { products, stock, to } => seed(products, stock, &to),
        Verb::Shop { payment_method, quantity, at } => {
            buy(&at, &Wish { payment_method, quantity, pick: 0, quiet: false })
        }
        Verb::Bench { shoppers, purchases } => {
            run::runtime().and_then(|runtime| bench::run(&runtime, Load { shoppers, purchases }))
        }
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "mercat", &mut io::stdout());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => run::fail(&error),
    }
}

/// Sends what telemetry holds back, but does not wait for ever.
async fn flush(host: &Host) {
    let telemetry = host.telemetry.clone();
    let _flushed = tokio::time::timeout(
        FLUSH_PATIENCE,
        tokio::task::spawn_blocking(move || telemetry.shutdown()),
    )
    .await;
}

// === up ===

impl Up {
    fn flags(&self) -> Result<Flags, Error> {
        let set = self
            .set
            .iter()
            .map(|assignment| {
                run::assignment(assignment)
                    .map_err(|why| Error::build(format!("--set {assignment}: {why}")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Flags {
            config: self.config.clone(),
            set,
            until_eof: self.until_eof,
            ..Flags::default()
        })
    }

    fn run(&self) -> Result<(), Error> {
        let started = Instant::now();
        let home = Home::open(&self.data).map_err(|error| {
            Error::Build(
                format!("the folder {} cannot be used", self.data.display()),
                Some(error.into()),
            )
        })?;
        let flags = self.flags()?;
        run::runtime()?.block_on(async {
            if self.split {
                self.split(&home, &flags, started).await
            } else {
                self.fused(&home, &flags, started).await
            }
        })
    }

    async fn fused(&self, home: &Home, flags: &Flags, started: Instant) -> Result<(), Error> {
        let signals = flags.signals()?;
        let mut sources = flags.sources();
        home.defaults(&mut sources);
        sources.defaults.push(("gateway.listen".to_owned(), self.listen.clone()));
        sources.defaults.push(("listen.admin".to_owned(), self.admin.clone()));
        sources.defaults.push(("telemetry.log_filter".to_owned(), "warn,access=info".to_owned()));
        let settings = Settings::load(&sources, &Contract::embedded()?.service_names())?;
        let host = Host::new(&settings, telemetry::init(&settings.telemetry)?)?;
        let mesh = Mesh::start(&host, &settings, &mesh::services(), Ports(self.ports)).await?;
        self.demo(home, &mesh.client()?).await?;
        let greeting = Greeting {
            home,
            took: started.elapsed(),
            gateway: mesh.gateway(),
            speech: &Speech::new(&settings),
            services: mesh.services().collect(),
            admin: mesh.admin(),
        };
        println!("{greeting}");
        signals.soft().cancelled().await;
        println!("Stopping: open calls may end. Once more to stop at once.");
        let hard = signals.hard();
        tokio::select! {
            () = mesh.stop() => {}
            () = hard.cancelled() => {}
        }
        flush(&host).await;
        Ok(())
    }

    async fn split(&self, home: &Home, flags: &Flags, started: Instant) -> Result<(), Error> {
        let signals = flags.signals()?;
        let services = mesh::services();
        let names: Vec<&str> = services.iter().map(|service| service.name()).collect();
        let mut sources = flags.sources();
        home.defaults(&mut sources);
        let settings = Settings::load(&sources, &Contract::embedded()?.service_names())?;
        let speech = Speech::new(&settings);
        let split = Split::start(
            home,
            &names,
            Ports(self.ports),
            &self.listen,
            speech.clone(),
            &self.arguments()?,
        )
        .await?;
        self.demo(home, &split.client()?).await?;
        let greeting = Greeting {
            home,
            took: started.elapsed(),
            gateway: split.gateway(),
            speech: &speech,
            services: split.services().collect(),
            admin: None,
        };
        println!("{greeting}");
        split.run(&signals).await
    }

    /// The flags that each process gets too.
    fn arguments(&self) -> Result<Vec<String>, Error> {
        let mut arguments = Vec::new();
        if let Some(file) = &self.config {
            let file = file.canonicalize().map_err(|error| {
                Error::Build(format!("{} cannot be read", file.display()), Some(error.into()))
            })?;
            arguments.extend(["--config".to_owned(), file.display().to_string()]);
        }
        arguments.extend(
            self.set.iter().flat_map(|assignment| ["--set".to_owned(), assignment.clone()]),
        );
        Ok(arguments)
    }

    /// Fills a catalogue that has nothing for sale.
    async fn demo(&self, home: &Home, client: &Client) -> Result<(), Error> {
        if self.no_demo || !demo::is_empty(client).await? {
            return Ok(());
        }
        let account = home.account();
        let staff = client.sign_in(&account.email, &account.password).await?;
        demo::seed(&staff, demo::PRODUCTS, self.demo_stock, |_| {}).await?;
        Ok(())
    }
}

// === the parts of a fleet ===

fn serve(name: &str, flags: &Flags) -> ExitCode {
    let services = mesh::services();
    match services.iter().find(|service| service.name() == name) {
        Some(service) => run::run_launch(&**service, flags),
        None => {
            let known: Vec<&str> = services.iter().map(|service| service.name()).collect();
            run::fail(&Error::Settings(chassis::settings::SettingsError {
                problems: vec![format!(
                    "there is no service `{name}`: there are {}",
                    known.join(", ")
                )],
            }))
        }
    }
}

fn gateway(flags: &Flags, foreign: &Foreign) -> Result<(), Error> {
    let mut sources = flags.sources();
    // The gateway's port is `gateway.listen`; `--listen` means that here.
    sources.flags.retain(|(key, _)| key != "listen.grpc");
    sources
        .flags
        .extend(flags.listen.iter().map(|address| ("gateway.listen".to_owned(), address.clone())));
    sources.flags.extend(foreign.settings());
    let names: Vec<String> =
        mesh::services().iter().map(|service| service.name().to_owned()).collect();
    let settings = Settings::load(&sources, &names)?;
    if flags.check {
        println!("{}\n{}", settings.show(), shown_gateway(&settings)?);
        return Ok(());
    }
    let config: gateway::Config = settings.table(gateway::NAME)?;
    let contract = match config.upstreams.is_empty() {
        true => Contract::embedded()?,
        // It learns those of the upstreams, and this mesh's would only take room.
        false => Arc::new(Contract::decode(&[])?),
    };
    run::runtime()?.block_on(async {
        let signals = flags.signals()?;
        let telemetry = telemetry::init(&settings.telemetry)?;
        let host = Host::with_contract(&settings, telemetry, contract)?;
        let running = gateway::start(&host, &settings).await?;
        // Its page says that the process is ready, which it is not before.
        let admin = chassis::admin::Admin::new(host.telemetry.metrics().clone());
        run::serve_admin(admin, &settings.listen.admin, signals.hard()).await?;
        signals.soft().cancelled().await;
        let hard = signals.hard();
        tokio::select! {
            () = running.stop() => {}
            () = hard.cancelled() => {}
        }
        flush(&host).await;
        Ok(())
    })
}

fn shown_gateway(settings: &Settings) -> Result<String, Error> {
    let config: gateway::Config = settings.table(gateway::NAME)?;
    let mut shown = String::new();
    chassis::settings::show_table(
        &mut shown,
        gateway::NAME,
        &serde_json::to_value(config).unwrap_or_default(),
    );
    Ok(shown)
}

// === looking ===

fn check(flags: &Flags) -> Result<(), Error> {
    let contract = Contract::embedded()?;
    let schema = gateway::schema(&contract)?;
    let settings = Settings::load(&flags.sources(), &contract.service_names())?;
    println!("{}\n{}", settings.show(), shown_gateway(&settings)?);
    for service in mesh::services() {
        print!("{}", service.show(&settings)?);
    }
    println!(
        "\nContracts, routes and settings are in order: {} methods, {} routes.",
        schema.methods().len(),
        { schema.bindings().iter().filter(|binding| !binding.is_rpc()).count() }
    );
    Ok(())
}

fn print_routes() -> Result<(), Error> {
    let contract = Contract::embedded()?;
    print!("{}", routes::table(&contract, &gateway::schema(&contract)?));
    Ok(())
}

fn explain(verb: &str, target: &str) -> Result<(), Error> {
    let contract = Contract::embedded()?;
    print!("{}", routes::explain(&contract, &gateway::schema(&contract)?, verb, target)?);
    Ok(())
}

// === using a running mesh ===

impl To {
    async fn client(&self) -> Result<Client, Error> {
        let client = self.at.client()?;
        let account = match (&self.email, &self.password) {
            (Some(email), Some(password)) => (email.clone(), password.clone()),
            _ => known_account(&self.data)?,
        };
        Ok(client.sign_in(&account.0, &account.1).await?)
    }
}

fn known_account(folder: &Path) -> Result<(String, String), Error> {
    if !folder.join("admin.json").exists() {
        return Err(Error::build(format!(
            "{} is no folder of a mesh: give --data, or --email and --password",
            folder.display()
        )));
    }
    let home = Home::open(folder).map_err(|error| {
        Error::Build(format!("{} cannot be read", folder.display()), Some(error.into()))
    })?;
    Ok((home.account().email.clone(), home.account().password.clone()))
}

fn seed(products: u32, stock: i64, to: &To) -> Result<(), Error> {
    run::runtime()?.block_on(async {
        let client = to.client().await?;
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} products, {per_sec}, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(u64::from(products)).with_style(style);
        let started = Instant::now();
        demo::seed(&client, products, stock, |done| bar.set_position(u64::from(done))).await?;
        bar.finish();
        println!(
            "{products} products with {stock} pieces of each variant, in {:.1?}.",
            started.elapsed()
        );
        Ok(())
    })
}

fn buy(at: &At, wish: &Wish) -> Result<(), Error> {
    run::runtime()?.block_on(async {
        let client = at.client()?;
        let bought: Result<_, Fault> = shop::buy(&client, wish).await;
        let order = bought.map_err(|fault| {
            Error::build(match fault.preconditions().first() {
                Some(found) => format!("{fault} ({}: {})", found.subject, found.description),
                None => fault.to_string(),
            })
        })?;
        println!("\nBought: order {} ({}).", order.number, order.order_id);
        Ok(())
    })
}
