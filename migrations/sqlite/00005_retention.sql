-- What deleting needs, and what an account needs that signs in often: docs/retention.md.

-- +goose Up
-- Of an account's sessions most have ended. What looks for the others, as each sign-in does, must not read them all.
CREATE INDEX ix_sessions_live ON sessions (user_id, created_at) WHERE revoked_at IS NULL;

-- Who does a piece of work that is for one process at a time, and until when.
CREATE TABLE leases (
    name       TEXT     NOT NULL PRIMARY KEY,
    holder     TEXT     NOT NULL,
    expires_at DATETIME NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE leases;

DROP INDEX ix_sessions_live;
