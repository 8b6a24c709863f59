//! Serves orders alone: one process of a fleet.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::run::<orders::Orders>()
}
