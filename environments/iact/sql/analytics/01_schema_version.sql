-- Which version of the shared schema this database has. Django's own tables are its migrations' affair.
CREATE TABLE IF NOT EXISTS schema_version (
    version     integer PRIMARY KEY,
    description text NOT NULL,
    applied_at  timestamp with time zone NOT NULL DEFAULT now()
);

INSERT INTO schema_version (version, description)
VALUES (1, 'Schema version and calendar')
ON CONFLICT (version) DO NOTHING;
