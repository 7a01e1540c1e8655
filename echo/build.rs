//! Generates the echo and health services' types without needing `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["proto/echo.proto", "proto/health.proto"], ["proto"])?;
    tonic_prost_build::configure().build_transport(false).compile_fds(files)?;
    println!("cargo::rerun-if-changed=proto");
    Ok(())
}
