//! What the transport promises, over real sockets: each starting value is held
//! by a test that fails without it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a fixture that cannot be set up fails its test"
)]
#![expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]

mod abandoned;
mod attack;
mod certificate;
mod channel;
mod floods;
mod last;
mod listen;
mod probe;
mod secure;
mod serve;
mod slow;
mod telemetry;
mod tls;
