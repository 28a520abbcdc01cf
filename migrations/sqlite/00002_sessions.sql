-- One row for a sign-in on one device, for as long as it lives; no row for a token. docs/rotation.md says what each
-- column is for.

-- +goose Up
CREATE TABLE sessions (
    id                BLOB     NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id           BLOB     NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    generation        INTEGER  NOT NULL,
    oldest_generation INTEGER  NOT NULL,
    current_hash      BLOB     NOT NULL CHECK (length(current_hash) = 32),
    parent_hash       BLOB     CHECK (length(parent_hash) = 32),
    issued_at         DATETIME NOT NULL,
    acknowledged_at   DATETIME,
    created_at        DATETIME NOT NULL,
    revoked_at        DATETIME,
    revoked_reason    TEXT     NOT NULL DEFAULT '',
    user_agent        TEXT     NOT NULL DEFAULT '',
    ip                TEXT     NOT NULL DEFAULT ''
) WITHOUT ROWID;

CREATE INDEX ix_sessions_user ON sessions (user_id, created_at);

-- +goose Down
DROP TABLE sessions;
