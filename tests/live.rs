//! On a real engine: the whole way, drift, Compose, bad days.

mod bad_days;
mod compose;
mod drift;
