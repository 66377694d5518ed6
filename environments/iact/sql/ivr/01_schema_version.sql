-- Which version of the shared schema this database has.
CREATE TABLE IF NOT EXISTS schema_version (
    version     INT UNSIGNED NOT NULL PRIMARY KEY,
    description VARCHAR(255) NOT NULL,
    applied_at  DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

INSERT INTO schema_version (version, description)
VALUES (1, 'Calls')
ON DUPLICATE KEY UPDATE version = version;
