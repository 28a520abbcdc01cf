-- Times are integers, milliseconds since 1970 in UTC: datetime(created_at / 1000, 'unixepoch') shows them.
-- Ids are UUIDv7 in 16 bytes, so rows lie in the order in which they were made: hex(id) shows them.

-- +goose Up
CREATE TABLE users (
    id             BLOB     NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    username       TEXT     NOT NULL,
    canonical_name TEXT     NOT NULL UNIQUE,
    password_hash  TEXT     NOT NULL,
    roles          TEXT     NOT NULL DEFAULT '',
    created_at     DATETIME NOT NULL,
    last_login_at  DATETIME,
    disabled_at    DATETIME
) WITHOUT ROWID;

-- +goose Down
DROP TABLE users;
