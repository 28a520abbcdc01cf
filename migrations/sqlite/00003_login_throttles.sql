-- How often in a row signing in under a name has failed, whether or not there is such a user. key_hash is a keyed hash,
-- for a name that nobody has may be a password typed into the wrong field.

-- +goose Up
CREATE TABLE login_throttles (
    key_hash      BLOB     NOT NULL PRIMARY KEY CHECK (length(key_hash) = 32),
    failures      INTEGER  NOT NULL,
    charged_at    DATETIME NOT NULL,
    blocked_until DATETIME NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE login_throttles;
