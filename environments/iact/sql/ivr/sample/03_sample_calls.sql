-- A few calls to develop with, of the two days before today, so that the page has something to show; only local.toml asks for
-- this file.
INSERT IGNORE INTO calls (id, started_at, queue, agent, answered, wait_seconds, talk_seconds) VALUES
    (1, CURRENT_DATE - INTERVAL 2 DAY + INTERVAL '09:02:11' HOUR_SECOND, 'sales',     'ana',   TRUE,   8, 312),
    (2, CURRENT_DATE - INTERVAL 2 DAY + INTERVAL '09:15:40' HOUR_SECOND, 'sales',     NULL,    FALSE, 95,   0),
    (3, CURRENT_DATE - INTERVAL 2 DAY + INTERVAL '10:31:05' HOUR_SECOND, 'support',   'bruno', TRUE,  21, 640),
    (4, CURRENT_DATE - INTERVAL 2 DAY + INTERVAL '23:59:59' HOUR_SECOND, 'support',   'bruno', TRUE,   4,  77),
    (5, CURRENT_DATE - INTERVAL 1 DAY + INTERVAL '00:00:00' HOUR_SECOND, 'support',   NULL,    FALSE, 60,   0),
    (6, CURRENT_DATE - INTERVAL 1 DAY + INTERVAL '11:20:30' HOUR_SECOND, 'sales',     'ana',   TRUE,  12, 205),
    (7, CURRENT_DATE - INTERVAL 1 DAY + INTERVAL '12:05:00' HOUR_SECOND, 'cobranzas', 'Íñigo', TRUE,  33, 480),
    (8, CURRENT_DATE - INTERVAL 1 DAY + INTERVAL '16:44:18' HOUR_SECOND, 'cobranzas', NULL,    FALSE, 120,  0);
