//! The house is tidy: who may import whom, what every folder holds, and that each
//! list that could drift is the same list everywhere.
//!
//! Each test reads the sources as text and names all that is out of place.
#![expect(clippy::unwrap_used, reason = "a test says why it failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The folders of `services/` that are libraries, not services.
const LIBRARIES: [&str; 3] = ["chassis", "mesh", "testkit"];

/// Files that speak SQL although they are no store, and why.
const SQL_ELSEWHERE: [(&str, &str); 1] = [(
    "services/payments/src/provider/sandbox/book.rs",
    "the built-in provider's own book, as a provider elsewhere has a database of its own",
)];

/// Files that say `tonic` although they neither answer nor coordinate by name.
const TONIC_ELSEWHERE: [(&str, &str); 1] = [(
    "services/storefront/src/purchase.rs",
    "the storefront's part of the checkout saga: it tells refusals of its peers apart by their code",
)];

/// How long a file may be.
const LINES_MAX: usize = 600;

// === what there is ===

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a folder, relative to the root, without what is made.
fn files(folder: &str) -> Vec<String> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let made = ["target", ".git", "node_modules", "gen", "data"].contains(&name.as_str());
            if path.is_dir() && !made {
                folders.push(path);
            } else if path.is_file() {
                found.push(path.strip_prefix(&root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

fn rust_files() -> Vec<String> {
    let mut found: Vec<String> =
        ["services", "gateway", "proto"].into_iter().flat_map(files).collect();
    found.push("build.rs".to_owned());
    found.retain(|path| path.ends_with(".rs"));
    assert!(found.len() > 100, "the sources are not where they were");
    found
}

fn folders(folder: &str) -> BTreeSet<String> {
    fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The services, by their folders.
fn services() -> BTreeSet<String> {
    let mut found = folders("services");
    found.retain(|name| !LIBRARIES.contains(&name.as_str()));
    assert!(found.len() >= 6, "{found:?}");
    found
}

/// The lines of a source that are code, with their numbers. Good enough for our
/// sources: a comment begins its line, and so do the tests at the end of a file.
fn code(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim()))
        .take_while(|(_, line)| *line != "#[cfg(test)]" && *line != "mod tests {")
        .filter(|(_, line)| !line.starts_with("//"))
}

/// Whether a word stands in a line, not a part of another.
fn says(line: &str, word: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word)
    })
}

fn none(rule: &str, broken: impl IntoIterator<Item = String>) {
    let broken: Vec<String> = broken.into_iter().collect();
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// The same without the exceptions; an exception that is not needed is broken too.
fn except(broken: Vec<(String, String)>, exceptions: &[(&str, &str)]) -> Vec<String> {
    let needless = exceptions
        .iter()
        .filter(|(path, _)| !broken.iter().any(|(found, _)| found == path))
        .map(|(path, _)| format!("{path} is an exception without need"));
    broken
        .iter()
        .filter(|(path, _)| !exceptions.iter().any(|(known, _)| known == path))
        .map(|(path, what)| format!("{path}{what}"))
        .chain(needless)
        .collect()
}

// === who may import whom ===

/// The dependencies of a crate: section, name, line.
fn dependencies(manifest: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in read(manifest).lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        } else if section.ends_with("dependencies") && line.contains('=') && !line.starts_with('#')
        {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default().to_owned();
            found.push((section.clone(), name, line.to_owned()));
        }
    }
    found
}

#[test]
fn a_crate_imports_only_what_is_below_it() {
    let services = services();
    let ours: BTreeSet<&str> = services
        .iter()
        .map(String::as_str)
        .chain(["contracts", "chassis", "testkit", "gateway", "transcode", "mesh"])
        .collect();
    let mut may: BTreeMap<String, (&[&str], &[&str])> = BTreeMap::from([
        ("Cargo.toml".to_owned(), (&[][..], &[][..])),
        ("services/chassis/Cargo.toml".to_owned(), (&["contracts"][..], &[][..])),
        ("services/testkit/Cargo.toml".to_owned(), (&["contracts", "chassis"][..], &[][..])),
        ("gateway/transcode/Cargo.toml".to_owned(), (&[][..], &["contracts"][..])),
        (
            "gateway/Cargo.toml".to_owned(),
            (&["contracts", "chassis", "transcode"][..], &["testkit"][..]),
        ),
    ]);
    for service in &services {
        may.insert(
            format!("services/{service}/Cargo.toml"),
            (&["contracts", "chassis"][..], &["testkit"][..]),
        );
    }
    let mut broken = Vec::new();
    for (manifest, (normal, dev)) in &may {
        for (section, name, line) in dependencies(manifest) {
            if section == "workspace.dependencies" {
                if services.contains(&name) {
                    broken.push(format!(
                        "{manifest}: {name}: nothing but the mesh may name a service"
                    ));
                }
                continue;
            }
            let allowed = normal.contains(&name.as_str())
                || (section == "dev-dependencies" && dev.contains(&name.as_str()));
            if ours.contains(name.as_str()) && !allowed {
                broken.push(format!("{manifest}: [{section}] {name}"));
            }
            let shared =
                line.ends_with(".workspace = true") || line.contains("{ workspace = true,");
            if !shared {
                broken.push(format!("{manifest}: `{line}` is not `{name}.workspace = true`"));
            }
            if name == "sqlx" && manifest != "services/chassis/Cargo.toml" {
                broken.push(format!("{manifest}: sqlx: the chassis alone speaks to databases"));
            }
        }
    }
    none("imports", broken);
}

#[test]
fn only_stores_speak_sql() {
    let mut broken = Vec::new();
    for path in rust_files() {
        let source = read(&path);
        let in_chassis_store = path.starts_with("services/chassis/src/store");
        let is_this = path.ends_with("mesh/tests/tidy.rs");
        for (number, line) in code(&source) {
            if says(line, "sqlx") && !in_chassis_store && !is_this {
                broken.push((path.clone(), format!(":{number}: sqlx")));
            }
        }
        let is_service =
            services().iter().any(|service| path.starts_with(&format!("services/{service}/src/")));
        let is_store = path.ends_with("/store.rs") || path.contains("/store/");
        if is_service && !is_store && code(&source).any(|(_, line)| line.contains("statements!")) {
            broken.push((path.clone(), ": statements outside the store".to_owned()));
        }
    }
    none("only store.rs speaks SQL", except(broken, &SQL_ELSEWHERE));
}

#[test]
fn only_those_who_answer_or_call_say_tonic() {
    let answering = [
        "/src/rpc.rs",
        "/src/rpc/",
        "/src/lib.rs",
        "/src/error.rs",
        "/src/events.rs",
        "/src/saga.rs",
        "/src/saga/",
    ];
    let mut broken = Vec::new();
    for service in services() {
        for path in files(&format!("services/{service}/src")) {
            let may = answering.iter().any(|part| path.contains(part));
            let source = read(&path);
            if !may && let Some((number, _)) = code(&source).find(|(_, line)| says(line, "tonic")) {
                broken.push((path.clone(), format!(":{number}: tonic")));
            }
        }
    }
    none("only rpc, lib, error, events and saga say tonic", except(broken, &TONIC_ELSEWHERE));
}

#[test]
fn domains_are_pure() {
    let impure = [
        "async",
        "await",
        "tonic",
        "tokio",
        "sqlx",
        "Clock",
        "Database",
        "Tx",
        "statements",
        "Instant",
        "SystemTime",
        "println",
        "tracing",
        "Caller",
        "Peers",
    ];
    let mut broken = Vec::new();
    for service in services() {
        let domain = files(&format!("services/{service}/src"))
            .into_iter()
            .filter(|path| path.ends_with("/domain.rs") || path.contains("/src/domain/"));
        for path in domain {
            let source = read(&path);
            for (number, line) in code(&source) {
                for word in impure.iter().filter(|word| says(line, word)) {
                    broken.push(format!("{path}:{number}: {word}"));
                }
            }
        }
    }
    none("a domain knows no time, no network, no database", broken);
}

#[test]
fn the_gateway_and_the_chassis_name_no_service() {
    let mut broken = Vec::new();
    let mut paths = files("gateway/src");
    paths.extend(files("gateway/transcode/src"));
    for path in paths {
        let source = read(&path);
        for service in services() {
            // `identity` is also HTTP's word for a body that is not coded.
            let is_coding = |line: &str| {
                service == "identity"
                    && ["coding", "Coding", "name.eq_ignore_ascii_case"]
                        .iter()
                        .any(|word| line.contains(word))
            };
            let line = code(&source).find(|(_, line)| {
                (says(line, &format!("\"{service}\"")) && !is_coding(line))
                    || line.contains(&format!("{service}::v1"))
            });
            if let Some((number, _)) = line {
                broken.push(format!("{path}:{number}: {service}"));
            }
        }
    }
    none("the gateway has no line about any one service", broken);
}

// === folders ===

#[test]
fn all_services_list_alike() {
    let mut broken = Vec::new();
    for service in services() {
        let has: BTreeSet<String> = files(&format!("services/{service}")).into_iter().collect();
        let must = [
            "Cargo.toml".to_owned(),
            format!("migrations/0001_{service}.sql"),
            "src/main.rs".to_owned(),
            "src/lib.rs".to_owned(),
            "src/domain.rs".to_owned(),
            "src/store.rs".to_owned(),
            "src/rpc.rs".to_owned(),
            "src/error.rs".to_owned(),
            format!("tests/{service}.rs"),
        ];
        for file in must.iter().map(|file| format!("services/{service}/{file}")) {
            if !has.contains(&file) {
                broken.push(format!("{file} is missing"));
            }
        }
        for path in &has {
            let name = path.rsplit('/').next().unwrap_or_default();
            let stem = name.split('.').next().unwrap_or_default();
            let vague = [
                "utils", "util", "common", "helpers", "helper", "models", "types", "manager",
                "misc", "impl",
            ];
            if vague.contains(&stem) {
                broken.push(format!("{path}: a name that says nothing"));
            }
            if path.contains("/src/") && name == "mod.rs" {
                broken.push(format!("{path}: a module is a file beside its folder"));
            }
        }
        let main = read(&format!("services/{service}/src/main.rs"));
        let body: Vec<&str> =
            code(&main).map(|(_, line)| line).filter(|line| !line.is_empty()).collect();
        if !body.join(" ").contains("chassis::run::<") || body.len() > 4 {
            broken.push(format!("services/{service}/src/main.rs is more than chassis::run"));
        }
    }
    none("the six folders", broken);
}

#[test]
fn every_list_of_services_is_the_same() {
    let services = services();
    let mut broken = Vec::new();
    let mut compare = |place: &str, found: BTreeSet<String>, line: &dyn Fn(&str) -> String| {
        for name in services.difference(&found) {
            broken.push(format!("{place} lacks {name}; add\n      {}", line(name)));
        }
        for name in found.difference(&services) {
            broken.push(format!("{place} has {name}, and there is no services/{name}"));
        }
    };

    let mut packages = folders("proto/mercat");
    packages.retain(|name| name != "mesh" && name != "values");
    compare("proto/mercat", packages, &|name| format!("proto/mercat/{name}/v1/{name}.proto"));

    let listed = mesh::services().iter().map(|service| service.name().to_owned()).collect();
    compare("services/mesh/src/lib.rs", listed, &|name| {
        let mut type_name = name.to_owned();
        type_name[..1].make_ascii_uppercase();
        format!("chassis::launch::<{name}::{type_name}>(),")
    });

    let manifest = dependencies("services/mesh/Cargo.toml");
    let named = manifest
        .iter()
        .filter(|(_, _, line)| line.contains("path ="))
        .map(|(_, name, _)| name.clone());
    compare("services/mesh/Cargo.toml", named.collect(), &|name| {
        format!("{name} = {{ path = \"../{name}\" }}")
    });

    let mut base = folders("deploy/base");
    base.retain(|name| name != "template" && name != "gateway");
    compare("deploy/base", base, &|name| format!("deploy/base/{name}/kustomization.yaml"));

    let kustomization = read("deploy/base/kustomization.yaml");
    let resources =
        kustomization.lines().filter_map(|line| line.trim().strip_prefix("- ")).filter(|name| {
            !name.contains(['.', ':', ' ']) && *name != "gateway" && *name != "template"
        });
    compare("deploy/base/kustomization.yaml", resources.map(str::to_owned).collect(), &|name| {
        format!("  - {name}")
    });

    let dockerfile = read("deploy/Dockerfile");
    let targets = dockerfile
        .lines()
        .filter(|line| line.starts_with("FROM "))
        .filter_map(|line| line.split_once(" AS "))
        .map(|(_, name)| name.trim().to_owned())
        .filter(|name| !["build", "base", "gateway", "mercat"].contains(&name.as_str()));
    compare("deploy/Dockerfile", targets.collect(), &|name| format!("FROM base AS {name}"));

    none("the lists of services", broken);
}

// === words ===

#[test]
fn nothing_is_left_undone_or_hushed_up() {
    // In two parts, so that this file does not say them.
    let forbidden = [
        (concat!("todo", "!("), "is not done"),
        (concat!("unimplemented", "!("), "is not done"),
        (concat!("#[", "allow("), "write #[expect(.., reason = \"..\")]"),
        (concat!("#[", "ignore]"), "say what the test needs"),
        (concat!("dbg", "!("), "was for a moment"),
        (concat!("FIX", "ME"), "is a note to nobody"),
        (concat!("XX", "X:"), "is a note to nobody"),
    ];
    let mut broken = Vec::new();
    for path in rust_files() {
        for (number, line) in read(&path).lines().enumerate() {
            for (word, why) in forbidden.iter().filter(|(word, _)| line.contains(word)) {
                broken.push(format!("{path}:{}: {word} {why}", number + 1));
            }
        }
    }
    none("words", broken);
}

#[test]
fn every_source_says_what_it_is() {
    let silent =
        rust_files().into_iter().filter(|path| !read(path).trim_start().starts_with("//!"));
    none("a file begins with `//!` and one sentence", silent);
}

#[test]
fn nothing_knows_the_machine_it_was_written_on() {
    let folders = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
    ];
    let texts = [
        "rs", "toml", "proto", "md", "sql", "yaml", "yml", "json", "py", "mjs", "sh", "lock", "txt",
    ];
    let mut paths: Vec<String> =
        ["services", "gateway", "proto", "deploy", ".ci"].into_iter().flat_map(files).collect();
    for path in ["README.md", "Cargo.toml", "build.rs", "justfile"] {
        if root().join(path).exists() {
            paths.push(path.to_owned());
        }
    }
    let mut broken = Vec::new();
    for path in paths {
        let extension = path.rsplit('.').next().unwrap_or_default();
        let is_text = texts.contains(&extension)
            || !path.rsplit('/').next().unwrap_or_default().contains('.');
        let Some(text) = is_text.then(|| fs::read_to_string(root().join(&path)).ok()).flatten()
        else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if folders.iter().any(|folder| line.contains(folder)) {
                broken.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("folders of one machine", broken);
}

#[test]
fn no_file_is_longer_than_one_can_hold_in_mind() {
    let mut broken = Vec::new();
    for path in rust_files() {
        let lines = read(&path).lines().count();
        if lines > LINES_MAX {
            broken.push(format!("{path} has {lines} lines, and {LINES_MAX} are enough"));
        }
    }
    none("long files", broken);
}

#[test]
fn statements_are_never_made_at_run_time() {
    let verbs = ["\"select ", "\"insert into ", "\"update ", "\"delete from "];
    let mut broken = Vec::new();
    for path in rust_files().into_iter().filter(|path| path.contains("/src/")) {
        let source = read(&path);
        let lines: Vec<(usize, &str)> = code(&source).collect();
        for (position, (number, line)) in lines.iter().enumerate() {
            let before =
                position.checked_sub(1).and_then(|at| lines.get(at)).map_or("", |(_, line)| *line);
            let made = [*line, before]
                .iter()
                .any(|line| line.contains("format!(") || line.contains("push_str("));
            let sql = verbs.iter().any(|verb| line.contains(verb) && !line.contains("--"));
            if made && sql {
                broken.push(format!("{path}:{number}: {line}"));
            }
            if line.contains("AssertSqlSafe") && !path.starts_with("services/chassis/src/store") {
                broken.push(format!("{path}:{number}: {line}"));
            }
        }
    }
    none("SQL is a constant", broken);
    assert_eq!(
        read("services/chassis/src/store/statement.rs").matches("__new").count(),
        4,
        "there is one way to make a Statement"
    );
}
