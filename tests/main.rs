//! One test binary. Tests that need a Docker engine make what they need and remove it; without an engine they say so loudly,
//! and with `PROVISION_LIVE=1` a missing engine is a failure.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says loudly what it skipped"
)]

mod encoders;
mod environment_cases;
mod environments;
mod house;
mod imports;
#[expect(dead_code, reason = "the fault table shares it")]
mod lab;
mod live;
mod readme;
mod runs;
mod schema;
mod server_things;
