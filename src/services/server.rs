//! Services on machines: what `[postgres.NAME]`, `[mariadb.NAME]` and `[django.NAME]` mean where there is no engine.

pub(super) mod django;
pub(super) mod mariadb;
pub(super) mod postgres;
