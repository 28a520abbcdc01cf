-- One row for an act: docs/audit.md lists them. Rows are only ever added. There is no foreign key: what was done to an
-- account outlives it. Ids begin with the time, so what is older than a day lies together at the table's beginning.

-- +goose Up
CREATE TABLE audit_events (
    id         BINARY(16)   NOT NULL CONSTRAINT pk_audit_events PRIMARY KEY CLUSTERED,
    at         DATETIME2(3) NOT NULL,
    action     NVARCHAR(64) NOT NULL,
    result     NVARCHAR(64) NOT NULL,
    user_id    BINARY(16)   NULL,
    session_id BINARY(16)   NULL,
    name_hash  NVARCHAR(64) NOT NULL CONSTRAINT df_audit_events_name_hash DEFAULT N'',
    address    NVARCHAR(64) NOT NULL CONSTRAINT df_audit_events_address DEFAULT N'',
    request_id NVARCHAR(64) NOT NULL CONSTRAINT df_audit_events_request_id DEFAULT N''
);

CREATE INDEX ix_audit_events_user ON audit_events (user_id, id);

-- The alarm is the rarest of the acts, and the one that is looked for first.
CREATE INDEX ix_audit_events_action ON audit_events (action, id);

-- +goose Down
DROP TABLE audit_events;
