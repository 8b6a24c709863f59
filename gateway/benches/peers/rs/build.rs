//! Compiles the contract of the comparison, and writes its descriptors where the
//! gateways that read them find them.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../proto");

    let mut compiler = protox::Compiler::new(["../proto", "../../../../proto"])?;
    compiler.include_imports(true).open_file("catalog.proto")?;
    // As protox encodes them: prost's own types would drop the `google.api.http`
    // options.
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("catalog.fds"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
