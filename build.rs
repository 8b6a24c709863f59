//! Compiles every contract under `proto/` once, for the whole workspace, in pure Rust.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(contracts(Path::new("proto"))?)?;

    // The descriptors are written as protox encodes them: decoding them into
    // prost types and back would drop `google.api.http` and our own options.
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo speaks to a build script through its environment"
    )]
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    let mut config = prost_build::Config::new();
    config.bytes(["."]).enable_type_names();
    // Servers and clients run on the chassis' own transport, so the generated
    // `connect` functions over tonic's channel would be a second way to call.
    tonic_prost_build::configure()
        .build_transport(false)
        .include_file("contracts.rs")
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;

    fs::write(out.join("reasons.rs"), reasons(&compiler.descriptor_pool())?)?;
    Ok(())
}

/// Every `.proto` file below `folder`, sorted, relative to `proto/`.
fn contracts(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                found.push(path.strip_prefix(folder)?.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Ties each package's `ErrorReason` to its error domain, so that a fault can
/// carry both and neither is ever spelled twice.
fn reasons(pool: &prost_reflect::DescriptorPool) -> Result<String, Box<dyn Error>> {
    let mut source = String::new();
    for reason in pool.all_enums().filter(|found| found.name() == "ErrorReason") {
        let package = reason.package_name();
        writeln!(
            source,
            "impl crate::Reason for crate::{path}::ErrorReason {{\n    \
             const DOMAIN: &'static str = \"{package}\";\n    \
             fn reason(self) -> &'static str {{\n        \
             self.as_str_name().trim_start_matches(\"ERROR_REASON_\")\n    }}\n}}",
            path = package.replacen("mercat.", "", 1).replace('.', "::"),
        )?;
    }
    Ok(source)
}
