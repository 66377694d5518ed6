-- The telephone system's calls. Times are UTC.
CREATE TABLE IF NOT EXISTS calls (
    id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    started_at   DATETIME NOT NULL,
    queue        VARCHAR(64) NOT NULL,
    agent        VARCHAR(64) NULL,
    answered     BOOLEAN NOT NULL,
    wait_seconds INT UNSIGNED NOT NULL,
    talk_seconds INT UNSIGNED NOT NULL,
    KEY calls_started_at (started_at)
) ENGINE = InnoDB;
