//! Faults that people hit, or reported of comparable tools: each test was red before its fault was mended.

mod accounts;
mod advice;
mod engine;
mod first_start;
mod logins;
mod machines;
mod ownership;
mod postgres_access;
mod postgres_rights;
mod reports;
