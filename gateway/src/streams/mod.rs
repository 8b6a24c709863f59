//! Streams over HTTP, in both directions, from descriptors alone.
//!
//! # Layout
//! - `messages`: the messages of a gRPC answer.
//! - `framing`: how messages are set apart, as the client asks.
//! - `answer`: what a service streams: a JSON array, lines, events or protobuf.
//! - `client`: what a client streams, as it arrives.
//! - `resume`: where a stream goes on after it broke (`Last-Event-ID`).

mod answer;
mod client;
mod framing;
mod messages;
mod resume;

use std::time::Duration;

pub(crate) use answer::{Answer, BREAK_OFF_AFTER};
pub(crate) use client::{Piece, Told, broken_off, cancelled, frame, raw_body};
pub(crate) use framing::Framing;
pub(crate) use messages::Messages;
pub(crate) use resume::{LAST_EVENT_ID, Resume};

use transcode::ParseOptions;

use crate::config::Config;

/// The bounds of streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of one message of a client.
    pub(crate) message_bytes_max: usize,
    /// How deep the JSON of one may nest.
    pub(crate) depth_max: u32,
    /// Parts of a form.
    pub(crate) form_parts_max: usize,
    /// Bytes of one of them, where it is not streamed.
    pub(crate) form_part_bytes_max: usize,
    /// Bytes of one message of an answer.
    pub(crate) answer_bytes_max: usize,
    pub(crate) head_wait: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) retry: Duration,
}

// === impl Bounds ===

impl From<&Config> for Bounds {
    fn from(config: &Config) -> Self {
        Self {
            message_bytes_max: config.body_bytes_max,
            depth_max: config.json_depth_max,
            form_parts_max: config.form_parts_max,
            form_part_bytes_max: config.form_part_bytes_max,
            answer_bytes_max: config.response_bytes_max,
            head_wait: config.stream_head_wait,
            heartbeat: config.sse_heartbeat,
            retry: config.sse_retry,
        }
    }
}

impl Bounds {
    /// How the JSON of a client's message is read.
    pub(crate) fn parse_options(&self) -> ParseOptions {
        let mut options = ParseOptions::default();
        options.max_depth = self.depth_max;
        options.max_bytes = self.message_bytes_max;
        options
    }
}
