-- What deleting needs, and what an account needs that signs in often: docs/retention.md.

-- +goose Up
-- Of an account's sessions most have ended. What looks for the others, as each sign-in does, must not read them all.
--
-- Whoever writes to a table with a filtered index needs QUOTED_IDENTIFIER, ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS,
-- ARITHABORT and CONCAT_NULL_YIELDS_NULL on, else it is error 1934. The server's driver asks for them when it signs in;
-- sqlcmd does not by itself: use sqlcmd -I.
CREATE INDEX ix_sessions_live ON sessions (user_id, created_at) WHERE revoked_at IS NULL;

-- Who does a piece of work that is for one process at a time, and until when.
CREATE TABLE leases (
    name       NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT pk_leases PRIMARY KEY CLUSTERED,
    holder     NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    expires_at DATETIME2(3) NOT NULL
);

-- +goose Down
DROP TABLE leases;

DROP INDEX ix_sessions_live ON sessions;
