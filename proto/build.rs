//! Compiles the `.proto` files with protox, so that no `protoc` is needed.
use std::error::Error;

#[allow(
    clippy::disallowed_methods,
    reason = "cargo tells a build script where to write through the environment"
)]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=mesos");
    println!("cargo::rerun-if-changed=control");
    let files = [
        "mesos/mesos.proto",
        "mesos/maintenance.proto",
        "mesos/scheduler.proto",
        "mesos/executor.proto",
        "mesos/master.proto",
        "mesos/agent.proto",
    ];
    let mesos = protox::compile(files, ["."])?;
    std::fs::write(
        std::path::Path::new(&std::env::var("OUT_DIR")?).join("mesos.bin"),
        prost::Message::encode_to_vec(&mesos),
    )?;
    prost_build::Config::new().btree_map(["."]).compile_fds(mesos)?;
    let control = protox::compile(["control/control.proto"], ["."])?;
    tonic_prost_build::configure().compile_fds(control)?;
    Ok(())
}
