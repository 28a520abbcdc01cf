-- What the server may do: work with the rows of its tables. For Latchkey's database, as its owner, after each `latchkey
-- migrate up`, for a migration may have added a table. Running it again changes nothing:
--
--     sqlcmd -S HOST -U ADMINISTRATOR -N -d latchkey -b -i docs/deploy/grants.sql
GRANT SELECT, INSERT, UPDATE, DELETE ON dbo.users TO latchkey_server;
GRANT SELECT, INSERT, UPDATE, DELETE ON dbo.sessions TO latchkey_server;
GRANT SELECT, INSERT, UPDATE, DELETE ON dbo.login_throttles TO latchkey_server;
-- It changes nothing in the record. Take DELETE back afterwards (REVOKE), and it can only add to it: then set
-- LATCHKEY_AUDIT_RETENTION=off.
GRANT SELECT, INSERT, DELETE ON dbo.audit_events TO latchkey_server;
GRANT SELECT, INSERT, UPDATE, DELETE ON dbo.leases TO latchkey_server;
GRANT SELECT ON dbo.goose_db_version TO latchkey_server;
