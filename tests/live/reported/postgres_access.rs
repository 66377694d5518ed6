//! Who can connect to PostgreSQL: pg_hba rules, names, predefined roles.
