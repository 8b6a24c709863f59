//! The catalog as a process of its own.

fn main() -> std::process::ExitCode {
    chassis::run::<catalog::Catalog>()
}
