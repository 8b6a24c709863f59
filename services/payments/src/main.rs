//! The payments service, for itself.

fn main() -> std::process::ExitCode {
    chassis::run::<payments::Payments>()
}
