//! What the transport promises, over real sockets: each starting value is held
//! by a test that fails without it.

mod attack;
mod channel;
mod listen;
mod probe;
mod serve;
mod telemetry;
