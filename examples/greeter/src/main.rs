//! The greeter on the operating system's sockets.

use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let rt = hermesh_runtime::os::runtime();
    let version = rt.var("GREETER_VERSION").unwrap_or_else(|| "dev".to_owned());
    greeter::serve(rt, &version).await
}
