//! Configuration in four layers: defaults in code, one TOML file, environment
//! variables `MERCAT__SECTION__KEY`, and flags. Later layers win.
//!
//! Every wrong key and value is reported at once, by name, before any port is
//! bound. Settings live beside what they configure; this module only reads them.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{channel, keys, listen, serve, store, telemetry};

/// The prefix of environment variables that are settings.
pub const ENVIRONMENT_PREFIX: &str = "MERCAT";

/// What stands in place of a secret when settings are shown.
pub const MASK: &str = "***";

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The TOML file; it must exist.
    pub file: Option<PathBuf>,
    /// Settings of the caller's own choosing that the file may override:
    /// `("database.url", "sqlite:…")`.
    pub defaults: Vec<(String, String)>,
    /// Flags, which override everything: `("listen.grpc", "127.0.0.1:50051")`.
    pub flags: Vec<(String, String)>,
    /// The environment: names and values. Only those with the prefix count.
    pub environment: Vec<(String, String)>,
}

/// Where a service listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Address of the gRPC port. Port 0 takes any free one.
    pub grpc: String,
    /// Address of the admin page with `/metrics`, `/healthz` and `/readyz`.
    /// Empty: none.
    pub admin: String,
}

/// Settings of one service or of all services of a process.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `[listen]`
    pub listen: Listen,
    /// `[connections]`: the bounds of every port.
    pub connections: listen::Config,
    /// `[channel]`: the bounds of calls to peers.
    pub channel: channel::Config,
    /// `[limits]`: the bounds of the calls in flight.
    pub limits: serve::Limits,
    /// `[database]`
    pub database: store::Config,
    /// `[telemetry]`
    pub telemetry: telemetry::Config,
    /// `[mesh]`: how services prove themselves to each other.
    pub mesh: keys::Config,
    /// `[peers]`: where each peer is, by name; default `http://<name>:50051`.
    pub peers: BTreeMap<String, String>,
    /// The other tables: a service reads the one with its own name.
    tables: BTreeMap<String, Value>,
}

/// Why the settings cannot be used. Every problem is listed.
#[derive(Debug, thiserror::Error)]
#[error("the settings cannot be used:\n  {}", .problems.join("\n  "))]
pub struct SettingsError {
    /// One sentence each, naming the key.
    pub problems: Vec<String>,
}

/// Text that is shown as `***`: a password, a key, an address that holds one.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

// === impl Listen ===

impl Default for Listen {
    fn default() -> Self {
        Self { grpc: "0.0.0.0:50051".to_owned(), admin: String::new() }
    }
}

// === impl Secret ===

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for those who need it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { MASK })
    }
}

// === impl Sources ===

impl Sources {
    /// The environment of this process, and a file if one is named.
    pub fn process(file: Option<PathBuf>) -> Self {
        Self { file, environment: std::env::vars().collect(), ..Self::default() }
    }
}

// === impl Settings ===

impl Settings {
    /// Reads all four layers. `services` are the names whose tables may appear
    /// beside the chassis' own.
    pub fn load(sources: &Sources, services: &[String]) -> Result<Self, SettingsError> {
        let mut tree = merged(sources)?;
        let mut problems = Vec::new();
        let mut read = Reader { tree: &mut tree, problems: &mut problems };
        let settings = Self {
            listen: read.table("listen"),
            connections: read.table("connections"),
            channel: read.table("channel"),
            limits: read.table("limits"),
            database: read.table("database"),
            telemetry: read.table("telemetry"),
            mesh: read.table("mesh"),
            peers: read.map("peers"),
            tables: BTreeMap::new(),
        };
        let mut tables = BTreeMap::new();
        for (name, table) in tree {
            if name == "gateway" || services.contains(&name) {
                tables.insert(name, table);
            } else {
                problems.push(format!("`{name}` is no table of the settings and no service"));
            }
        }
        if problems.is_empty() {
            Ok(Self { tables, ..settings })
        } else {
            Err(SettingsError { problems })
        }
    }

    /// The table of a service's own settings.
    pub fn table<C: DeserializeOwned + Default>(&self, name: &str) -> Result<C, SettingsError> {
        let mut problems = Vec::new();
        let mut tree = Map::new();
        if let Some(table) = self.tables.get(name) {
            tree.insert(name.to_owned(), table.clone());
        }
        let config = Reader { tree: &mut tree, problems: &mut problems }.table(name);
        if problems.is_empty() { Ok(config) } else { Err(SettingsError { problems }) }
    }

    /// Sets a service's own settings, as a test does.
    pub fn set_table(&mut self, name: &str, table: Value) {
        self.tables.insert(name.to_owned(), table);
    }

    /// The effective settings as TOML-like text, with secrets masked.
    pub fn show(&self) -> String {
        let tables = [
            ("listen", to_value(&self.listen)),
            ("connections", to_value(&self.connections)),
            ("channel", to_value(&self.channel)),
            ("limits", to_value(&self.limits)),
            ("database", to_value(&self.database)),
            ("telemetry", to_value(&self.telemetry)),
            ("mesh", to_value(&self.mesh)),
            ("peers", to_value(&self.peers)),
        ];
        let mut shown = String::new();
        for (name, table) in tables {
            show_table(&mut shown, name, &table);
        }
        shown
    }
}

/// Adds a table to what `--check` prints, and then those within it.
pub fn show_table(shown: &mut String, name: &str, table: &Value) {
    let Value::Object(entries) = table else { return };
    if !shown.is_empty() {
        shown.push('\n');
    }
    shown.push_str(&format!("[{name}]\n"));
    let (inner, own): (Vec<_>, Vec<_>) = entries
        .iter()
        .filter(|(_, value)| !value.is_null())
        .partition(|(_, value)| value.as_object().is_some_and(|inner| !inner.is_empty()));
    for (key, value) in own {
        shown.push_str(&format!("{key} = {value}\n"));
    }
    for (key, table) in inner {
        show_table(shown, &format!("{name}.{key}"), table);
    }
}

fn to_value<T: Serialize>(table: &T) -> Value {
    serde_json::to_value(table).unwrap_or_default()
}

/// Takes tables out of the tree and names what is wrong with each key.
struct Reader<'t> {
    tree: &'t mut Map<String, Value>,
    problems: &'t mut Vec<String>,
}

impl Reader<'_> {
    fn table<C: DeserializeOwned + Default>(&mut self, name: &str) -> C {
        let Some(table) = self.tree.remove(name) else { return C::default() };
        let Value::Object(mut entries) = table else {
            self.problems.push(format!("`{name}` must be a table"));
            return C::default();
        };
        let before = self.problems.len();
        for (key, value) in &mut entries {
            let alone = |value: &Value| {
                C::deserialize(Value::Object(Map::from_iter([(key.clone(), value.clone())])))
            };
            let Err(as_it_is) = alone(value) else { continue };
            let read = scalars(value);
            match alone(&read) {
                Ok(_) => *value = read,
                Err(as_read) => {
                    // What is a table is wrong in what could not be read of it.
                    let error = if value.is_object() { as_read } else { as_it_is };
                    self.problems.push(format!("`{name}.{key}`: {error}"));
                }
            }
        }
        if self.problems.len() > before {
            return C::default();
        }
        C::deserialize(Value::Object(entries)).unwrap_or_else(|error| {
            self.problems.push(format!("`{name}`: {error}"));
            C::default()
        })
    }

    fn map(&mut self, name: &str) -> BTreeMap<String, String> {
        let Some(table) = self.tree.remove(name) else { return BTreeMap::new() };
        serde_json::from_value(table).unwrap_or_else(|error| {
            self.problems.push(format!("`{name}`: {error}"));
            BTreeMap::new()
        })
    }
}

/// The same with texts read as numbers, truths and lists (`["a", "b"]`) where they
/// are some: flags and the environment know nothing but text.
fn scalars(value: &Value) -> Value {
    match value {
        Value::String(text) => match serde_json::from_str(text) {
            Ok(read @ (Value::Number(_) | Value::Bool(_) | Value::Array(_))) => read,
            _ => value.clone(),
        },
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), scalars(value))).collect()
        }
        _ => value.clone(),
    }
}

/// All layers as one tree.
fn merged(sources: &Sources) -> Result<Map<String, Value>, SettingsError> {
    let failed = |error: config::ConfigError| SettingsError { problems: vec![error.to_string()] };
    let mut builder = config::Config::builder();
    for (key, value) in &sources.defaults {
        builder = builder.set_default(key, value.as_str()).map_err(failed)?;
    }
    if let Some(file) = &sources.file {
        builder =
            builder.add_source(config::File::from(file.as_path()).format(config::FileFormat::Toml));
    }
    let environment = sources.environment.iter().cloned().collect();
    builder = builder.add_source(
        config::Environment::with_prefix(ENVIRONMENT_PREFIX)
            .prefix_separator("__")
            .separator("__")
            .source(Some(environment)),
    );
    for (key, value) in &sources.flags {
        builder = builder.set_override(key, value.as_str()).map_err(failed)?;
    }
    let tree: Value = builder.build().and_then(config::Config::try_deserialize).map_err(failed)?;
    match tree {
        Value::Object(tables) => Ok(tables),
        _ => Ok(Map::new()),
    }
}

/// The seed of the mesh's key from its file; made first if `create` is set and
/// there is none.
pub fn mesh_seed(file: &Path, create: bool) -> io::Result<Vec<u8>> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    if create && !file.exists() {
        let mut seed = [0_u8; 32];
        aws_lc_rs::rand::fill(&mut seed)
            .map_err(|_| io::Error::other("the system has no randomness"))?;
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        write_secret(file, URL_SAFE_NO_PAD.encode(seed).as_bytes())?;
    }
    let text = std::fs::read_to_string(file)?;
    URL_SAFE_NO_PAD.decode(text.trim()).ok().filter(|seed| seed.len() == 32).ok_or_else(|| {
        io::Error::other(format!("{} does not hold 32 bytes as base64url", file.display()))
    })
}

/// Writes a file that only its owner may read.
pub fn write_secret(file: &Path, content: &[u8]) -> io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?
        .write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields)]
    struct Own {
        hold_seconds: u32,
        secret: Secret,
    }

    fn sources(environment: &[(&str, &str)]) -> Sources {
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Sources { environment, ..Sources::default() }
    }

    #[test]
    fn later_layers_win() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mercat.toml");
        std::fs::write(&file, "[listen]\ngrpc = \"127.0.0.1:1\"\nadmin = \"127.0.0.1:2\"\n")
            .unwrap();
        let mut sources = sources(&[("MERCAT__LISTEN__ADMIN", "127.0.0.1:3"), ("HOME", "/root")]);
        sources.file = Some(file);
        sources.defaults.push(("listen.grpc".to_owned(), "127.0.0.1:0".to_owned()));
        let settings = Settings::load(&sources, &[]).unwrap();
        assert_eq!(
            (settings.listen.grpc.as_str(), settings.listen.admin.as_str()),
            ("127.0.0.1:1", "127.0.0.1:3")
        );

        sources.flags.push(("listen.grpc".to_owned(), "127.0.0.1:9".to_owned()));
        assert_eq!(Settings::load(&sources, &[]).unwrap().listen.grpc, "127.0.0.1:9");
    }

    #[test]
    fn flags_and_environment_set_numbers_and_texts_that_look_like_some() {
        let mut sources =
            sources(&[("MERCAT__CATALOG__HOLD_SECONDS", "7"), ("MERCAT__CATALOG__SECRET", "007")]);
        sources.flags.push(("limits.max_in_flight".to_owned(), "64".to_owned()));
        sources.flags.push(("telemetry.sample_ratio".to_owned(), "0.5".to_owned()));
        sources.flags.push(("database.create".to_owned(), "true".to_owned()));
        let settings = Settings::load(&sources, &["catalog".to_owned()]).unwrap();
        let own: Own = settings.table("catalog").unwrap();
        assert_eq!((own.hold_seconds, own.secret.expose()), (7, "007"));
        assert_eq!(settings.limits.max_in_flight, 64);
        assert_eq!(settings.telemetry.sample_ratio.to_string(), "0.5");
        assert!(settings.database.create);
    }

    #[test]
    fn every_wrong_key_is_named() {
        let wrong = sources(&[
            ("MERCAT__LISTEN__GPRC", "127.0.0.1:1"),
            ("MERCAT__CONNECTIONS__MAX_CONNECTIONS", "many"),
            ("MERCAT__CONNECTIONS__DRAIN_TIMEOUT", "5 parsecs"),
            ("MERCAT__TYPO__X", "1"),
        ]);
        let error = Settings::load(&wrong, &["catalog".to_owned()]).unwrap_err().to_string();
        for name in
            ["listen.gprc", "connections.max_connections", "connections.drain_timeout", "`typo`"]
        {
            assert!(error.contains(name), "{name} is not in: {error}");
        }
    }

    #[test]
    fn tls_is_set_by_any_layer_and_shown_as_it_is_written() {
        let tls = sources(&[
            ("MERCAT__CONNECTIONS__TLS__CERTIFICATE_FILE", "/etc/tls.crt"),
            ("MERCAT__CONNECTIONS__TLS__KEY_FILE", "/etc/tls.key"),
            ("MERCAT__CONNECTIONS__TLS__MIN_VERSION", "TLSv1.3"),
            ("MERCAT__CONNECTIONS__TLS__MAX_HANDSHAKES", "7"),
        ]);
        let settings = Settings::load(&tls, &[]).unwrap();
        let read = settings.connections.tls.as_ref().unwrap();
        assert_eq!((read.min_version, read.max_handshakes), (listen::Version::V1_3, 7));
        let shown = settings.show();
        let table = shown.split("[connections.tls]\n").nth(1).unwrap();
        assert!(table.starts_with("certificate_file = \"/etc/tls.crt\"\n"), "{shown}");

        // A number that came as text is not what is wrong.
        let wrong = sources(&[
            ("MERCAT__CONNECTIONS__TLS__CERTIFICATE_FILE", "/etc/tls.crt"),
            ("MERCAT__CONNECTIONS__TLS__KEY_FILE", "/etc/tls.key"),
            ("MERCAT__CONNECTIONS__TLS__MAX_HANDSHAKES", "7"),
            ("MERCAT__CONNECTIONS__TLS__RELOAD_INTERVAL", "5 parsecs"),
        ]);
        let error = Settings::load(&wrong, &[]).unwrap_err().to_string();
        assert!(!error.contains("\"7\""), "{error}");

        let half = sources(&[("MERCAT__CONNECTIONS__TLS__KEY_FILE", "/etc/tls.key")]);
        let error = Settings::load(&half, &[]).unwrap_err().to_string();
        assert!(error.contains("`connections.tls`: missing field `certificate_file`"), "{error}");
    }

    #[test]
    fn a_service_reads_its_own_table_and_secrets_stay_hidden() {
        let good = sources(&[
            ("MERCAT__CATALOG__HOLD_SECONDS", "5"),
            ("MERCAT__CATALOG__SECRET", "hunter2"),
        ]);
        let settings = Settings::load(&good, &["catalog".to_owned()]).unwrap();
        let own: Own = settings.table("catalog").unwrap();
        assert_eq!((own.hold_seconds, own.secret.expose()), (5, "hunter2"));
        let mut shown = String::new();
        show_table(&mut shown, "catalog", &to_value(&own));
        assert!(shown.contains(MASK) && !format!("{shown}{own:?}").contains("hunter2"));
        assert!(settings.table::<Own>("orders").is_ok());
    }
}
