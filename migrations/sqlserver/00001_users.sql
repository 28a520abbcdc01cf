-- Ids are UUIDv7 in BINARY(16): unlike UNIQUEIDENTIFIER it sorts them in the order in which they were made, so the
-- clustered index grows at its end. Text is NVARCHAR, the type that the driver sends: against VARCHAR an index seek
-- becomes a scan. Canonical names and hashes compare exactly, as in Go and in SQLite. Times are UTC.

-- +goose Up
CREATE TABLE users (
    id             BINARY(16)    NOT NULL CONSTRAINT pk_users PRIMARY KEY CLUSTERED,
    username       NVARCHAR(128) NOT NULL,
    canonical_name NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT uq_users_canonical_name UNIQUE,
    password_hash  NVARCHAR(255) COLLATE Latin1_General_100_BIN2 NOT NULL,
    roles          NVARCHAR(255) NOT NULL CONSTRAINT df_users_roles DEFAULT N'',
    created_at     DATETIME2(3)  NOT NULL,
    last_login_at  DATETIME2(3)  NULL,
    disabled_at    DATETIME2(3)  NULL
);

-- +goose Down
DROP TABLE users;
