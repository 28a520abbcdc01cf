-- How often in a row signing in under a name has failed, whether or not there is such a user. key_hash is a keyed hash,
-- for a name that nobody has may be a password typed into the wrong field.

-- +goose Up
CREATE TABLE login_throttles (
    key_hash      BINARY(32)   NOT NULL CONSTRAINT pk_login_throttles PRIMARY KEY CLUSTERED,
    failures      INT          NOT NULL,
    charged_at    DATETIME2(3) NOT NULL,
    blocked_until DATETIME2(3) NOT NULL
);

-- +goose Down
DROP TABLE login_throttles;
