-- One row for an act: docs/audit.md lists them. Rows are only ever added. There is no foreign key: what was done to an
-- account outlives it. Ids begin with the time, so what is older than a day lies together at the table's beginning.

-- +goose Up
CREATE TABLE audit_events (
    id         BLOB     NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    at         DATETIME NOT NULL,
    action     TEXT     NOT NULL,
    result     TEXT     NOT NULL,
    user_id    BLOB     CHECK (length(user_id) = 16),
    session_id BLOB     CHECK (length(session_id) = 16),
    name_hash  TEXT     NOT NULL DEFAULT '',
    address    TEXT     NOT NULL DEFAULT '',
    request_id TEXT     NOT NULL DEFAULT ''
) WITHOUT ROWID;

CREATE INDEX ix_audit_events_user ON audit_events (user_id, id);

-- The alarm is the rarest of the acts, and the one that is looked for first.
CREATE INDEX ix_audit_events_action ON audit_events (action, id);

-- +goose Down
DROP TABLE audit_events;
