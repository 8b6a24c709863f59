//! The storefront service, by itself.

fn main() -> std::process::ExitCode {
    chassis::run::<storefront::Storefront>()
}
