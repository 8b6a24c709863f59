//! The inventory service on its own.

fn main() -> std::process::ExitCode {
    chassis::run::<inventory::Inventory>()
}
