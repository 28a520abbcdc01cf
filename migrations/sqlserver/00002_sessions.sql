-- One row for a sign-in on one device, for as long as it lives; no row for a token. docs/rotation.md says what each
-- column is for.

-- +goose Up
CREATE TABLE sessions (
    id                BINARY(16)    NOT NULL CONSTRAINT pk_sessions PRIMARY KEY CLUSTERED,
    user_id           BINARY(16)    NOT NULL
        CONSTRAINT fk_sessions_user REFERENCES users (id) ON DELETE CASCADE,
    generation        INT           NOT NULL,
    oldest_generation INT           NOT NULL,
    current_hash      BINARY(32)    NOT NULL,
    parent_hash       BINARY(32)    NULL,
    issued_at         DATETIME2(3)  NOT NULL,
    acknowledged_at   DATETIME2(3)  NULL,
    created_at        DATETIME2(3)  NOT NULL,
    revoked_at        DATETIME2(3)  NULL,
    revoked_reason    NVARCHAR(32)  NOT NULL CONSTRAINT df_sessions_revoked_reason DEFAULT N'',
    user_agent        NVARCHAR(255) NOT NULL CONSTRAINT df_sessions_user_agent DEFAULT N'',
    ip                NVARCHAR(45)  NOT NULL CONSTRAINT df_sessions_ip DEFAULT N''
);

CREATE INDEX ix_sessions_user ON sessions (user_id, created_at);

-- +goose Down
DROP TABLE sessions;
