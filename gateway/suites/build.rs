//! Compiles the contracts of the suites, in pure Rust.

use std::{env, error::Error, fs, path::PathBuf};

/// Packages, and the file that holds the services of each.
const CONTRACTS: [(&str, &str); 3] = [
    ("conformance", "connectrpc/conformance/v1/service.proto"),
    ("interop", "grpc/testing/test.proto"),
    ("oracle", "oracle/v1/oracle.proto"),
];
/// Messages that a suite speaks to its servers by, beside the services.
const MESSAGES: [&str; 1] = ["connectrpc/conformance/v1/server_compat.proto"];

/// Where they are: our own `google/api` stands beside the contracts of the mesh.
const FOLDERS: [&str; 2] = ["proto", "../../proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=../../proto/google");
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo speaks to a build script through its environment"
    )]
    let out = PathBuf::from(env::var("OUT_DIR")?);

    // A gateway reads these: each set holds one suite's services and no other's.
    for (name, file) in CONTRACTS {
        let mut compiler = protox::Compiler::new(FOLDERS)?;
        compiler.include_imports(true).include_source_info(true).open_file(file)?;
        fs::write(out.join(format!("{name}.bin")), compiler.encode_file_descriptor_set())?;
    }

    let mut compiler = protox::Compiler::new(FOLDERS)?;
    compiler.include_imports(true);
    compiler.open_files(CONTRACTS.iter().map(|(_, file)| *file).chain(MESSAGES))?;
    let mut files = compiler.file_descriptor_set();
    // On the wire every gRPC method is a stream of frames each way. As streams the
    // servers see how many messages came, and can say no to two where one is due.
    for service in files.file.iter_mut().flat_map(|file| &mut file.service) {
        for method in &mut service.method {
            method.client_streaming = Some(true);
            method.server_streaming = Some(true);
        }
    }
    let mut config = prost_build::Config::new();
    config.bytes(["."]).enable_type_names().type_name_domain(["."], "type.googleapis.com");
    tonic_prost_build::configure()
        .build_transport(false)
        .build_client(false)
        .include_file("contracts.rs")
        .compile_fds_with_config(files, config)?;
    Ok(())
}
