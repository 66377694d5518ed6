CREATE TABLE IF NOT EXISTS schema_version (version int);
