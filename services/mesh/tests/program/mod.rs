//! The program itself, as a person starts it: a process with a folder.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed, and says why")]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use chassis::channel::Tls;
use mesh::{client::Client, home::Home};
use tempfile::TempDir;

/// How long a start may take.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// The folder of a mesh, and the settings with which it is started each time.
pub(crate) struct House {
    folder: TempDir,
    arguments: Vec<String>,
}

/// A mesh that runs as a process.
pub(crate) struct Program {
    child: Child,
    /// Where the gateway listens.
    pub(crate) gateway: SocketAddr,
    /// The port of each service.
    pub(crate) services: BTreeMap<String, SocketAddr>,
}

/// `mercat`, not started yet.
pub(crate) fn mercat() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mercat"));
    command.stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    command
}

/// Runs `mercat` to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    mercat().args(arguments).output().unwrap()
}

/// What a program printed, as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sends a signal by its name.
pub(crate) fn signal(process: u32, name: &str) {
    let status =
        Command::new("kill").args([format!("-{name}"), process.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} {process}");
}

// === impl House ===

impl House {
    /// A new one, on the database that the tests run on.
    pub(crate) fn new() -> Self {
        let mut arguments: Vec<String> =
            ["--listen", "127.0.0.1:0", "--ports", "0", "--admin", "127.0.0.1:0"]
                .map(str::to_owned)
                .to_vec();
        let mut set = |key: &str, value: &str| {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")])
        };
        set("identity.argon2_memory_kib", "64");
        set("identity.argon2_passes", "1");
        set("payments.sync_period", "50ms");
        set("payments.sandbox_period", "50ms");
        if let Some(server) = testkit::postgres_url() {
            let run = testkit::request_id().replace('-', "");
            set(
                "database.url",
                &format!("{}/mercat_{run}_{{service}}", server.trim_end_matches('/')),
            );
            set("database.create", "true");
            set("database.connections", "6");
            // Elsewhere another process may have the lease of one that was killed.
            set("orders.sagas.lease", "13s");
        }
        Self { folder: tempfile::tempdir().unwrap(), arguments }
    }

    /// The same with an empty catalogue.
    pub(crate) fn without_demo(mut self) -> Self {
        self.arguments.push("--no-demo".to_owned());
        self
    }

    /// The same with another setting.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        self
    }

    /// The same as a process each.
    pub(crate) fn split(mut self) -> Self {
        self.arguments.push("--split".to_owned());
        self
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    /// Starts it and waits until it greets.
    pub(crate) fn up(&self) -> Program {
        self.try_up(&[]).unwrap()
    }

    /// The same with failpoints armed; it may end before it greets.
    pub(crate) fn try_up(&self, environment: &[(&str, &str)]) -> Result<Program, ExitStatus> {
        let mut command = mercat();
        command.args(["up", "--data", self.folder()]).args(&self.arguments);
        command.envs(
            environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))),
        );
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (said, heard) = mpsc::channel();
        let mut errors = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _until_its_end = errors.read_to_string(&mut text);
            // What a dying mesh complains of is shown where a test fails.
            if std::env::var_os("MERCAT_TEST_LOG").is_some() {
                #[expect(clippy::print_stderr, reason = "asked for by whoever runs the test")]
                {
                    eprintln!("{text}");
                }
            }
        });
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _nobody_listens_any_more = said.send(line);
            }
        });
        let mut gateway = None;
        let mut services = BTreeMap::new();
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let line = match heard.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => line,
                Err(_) => {
                    if let Some(status) = child.try_wait().unwrap() {
                        return Err(status);
                    }
                    assert!(Instant::now() < deadline, "the mesh does not start");
                    continue;
                }
            };
            if let Some(gateway) = gateway.filter(|_| line.starts_with("Ctrl-C")) {
                return Ok(Program { child, gateway, services });
            }
            let mut words = line.split_whitespace();
            if line.contains("REST, gRPC") {
                gateway = line.rsplit("://").next().and_then(|address| address.parse().ok());
            } else if let (Some(name), Some(Ok(address)), None) =
                (words.next(), words.next().map(str::parse), words.next())
            {
                services.insert(name.to_owned(), address);
            }
        }
    }

    /// The administrator of a running mesh.
    pub(crate) async fn admin(&self, program: &Program) -> Client {
        let home = Home::open(self.folder.path()).unwrap();
        let account = home.account();
        program.client().sign_in(&account.email, &account.password).await.unwrap()
    }
}

// === impl Program ===

impl Program {
    /// Nobody.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.gateway.to_string(), Tls::default()).unwrap()
    }

    /// The process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.process(), name);
    }

    /// As `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("the mesh did not end within {patience:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait(Duration::from_secs(20)).code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A test that failed leaves nothing running.
        let _it_has_ended = self.child.kill();
        let _its_status = self.child.wait();
    }
}
