//! Two gateways asked the same: Envoy's transcoder, and ours. Where they differ,
//! grpc-gateway is asked as well.
//!
//! Requests are drawn by a seed. Both gateways stand before one server, which
//! gives back what it was given and remembers it, so that what reached it can be
//! compared as well as what came back.
//!
//! - `random`: numbers from a seed.
//! - `json`, `case`: bodies and requests.
//! - `twist`: what is done to a request that the two may see differently, and why
//!   they do.
//! - `recorder`: the server.
//! - `asker`: sends a request, and tells what came of it.
//! - `other`: Envoy and grpc-gateway as processes.
//! - `compare`: whether the two agree.

mod asker;
mod case;
mod compare;
mod json;
mod other;
mod random;
mod recorder;
mod twist;

pub use asker::{Asker, Outcome};
pub use case::Case;
pub use compare::{Verdict, judge};
pub use other::Other;
pub use random::Random;
pub use recorder::Recorder;
pub use twist::{Difference, Twist};
