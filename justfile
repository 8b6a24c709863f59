# The verbs of this repository. Each is a plain command, for machines without just.

# Run the whole mesh: http://127.0.0.1:8080.
up *flags:
    cargo run --release --bin mercat -- up {{flags}}

# Buy something from a running mesh, and watch.
shop *flags:
    cargo run --release --bin mercat -- shop {{flags}}

# Everything that needs nothing but Rust.
test:
    cargo test --workspace

# What the compiler and the linters say.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Make the code look as it should.
fmt:
    cargo fmt --all

# Everything: what a merge must pass. Installs PostgreSQL and the clients it needs.
ci:
    bash .ci/run

# Look for inputs that break the transcoder: just fuzz 600 json.
fuzz seconds="60" *targets:
    gateway/transcode/fuzz/run {{seconds}} {{targets}}

# Measure: the transcoder by itself, and a purchase.
bench:
    cargo bench -p transcode
    cargo run --release --bin mercat -- bench

# The manifests of an overlay, rendered.
render overlay="dev":
    kubectl kustomize deploy/overlays/{{overlay}}

# An image with every service; or of one: just image catalog.
image target="mercat":
    docker build --target {{target}} --tag mercat/{{target}} -f deploy/Dockerfile .
