//! The tests of the runtime: sockets, TLS, HTTP and events.

mod channel;
mod common;
mod events;
mod http1;
mod http2;
mod http2_streams;
mod os;
mod paused_clock;
mod server;
mod tls;
