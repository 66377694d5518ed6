//! On a real engine: the whole way, drift, Compose, bad days, no secret anywhere.

mod audit;
mod bad_days;
mod canary;
mod compose;
mod database_days;
mod databases;
mod django_server;
mod drift;
mod kinds;
mod local;
mod machine;
mod memory;
mod production;
mod remote_engine;
mod reported;
mod repositories;
mod server_days;
mod servers;
mod session;
mod stack;
mod units;
mod verify;
