-- A few calls to develop with; only local.toml asks for this file.
INSERT IGNORE INTO calls (id, started_at, queue, agent, answered, wait_seconds, talk_seconds) VALUES
    (1, '2025-11-03 09:02:11', 'sales',     'ana',   TRUE,   8, 312),
    (2, '2025-11-03 09:15:40', 'sales',     NULL,    FALSE, 95,   0),
    (3, '2025-11-03 10:31:05', 'support',   'bruno', TRUE,  21, 640),
    (4, '2025-11-03 23:59:59', 'support',   'bruno', TRUE,   4,  77),
    (5, '2025-11-04 00:00:00', 'support',   NULL,    FALSE, 60,   0),
    (6, '2025-11-04 11:20:30', 'sales',     'ana',   TRUE,  12, 205),
    (7, '2025-11-04 12:05:00', 'cobranzas', 'Íñigo', TRUE,  33, 480),
    (8, '2025-11-04 16:44:18', 'cobranzas', NULL,    FALSE, 120,  0);
