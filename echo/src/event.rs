//! What the echo application tells of itself.

hermesh_runtime::event! {
    /// A request reached the Echo handler.
    EchoRequest = "echo.request" {
        /// The port it came in on.
        port: u16,
        /// The server's `--version`.
        version: String,
        hostname: String,
        /// The caller's SPIFFE identity, if it showed one.
        caller: Option<String>,
    }
    /// A port's self-check is over. It counts as ready either way, as in Istio's echo.
    EchoReady = "echo.ready" {
        port: u16,
        /// Why the check failed, if it did.
        error: Option<String>,
    }
}
