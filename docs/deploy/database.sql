-- Makes Latchkey's database on SQL Server, a login that migrates and one that serves. For sqlcmd, as an administrator of
-- the server; running it again changes nothing:
--
--     MIGRATE_PASSWORD=… APP_PASSWORD=… sqlcmd -S HOST -U ADMINISTRATOR -N -b -i docs/deploy/database.sql
--
-- The passwords may have no quotation mark, and no dollar sign before a parenthesis.
IF DB_ID(N'latchkey') IS NULL
    CREATE DATABASE latchkey;
GO
-- Readers do not wait for writers. It takes a moment without other connections: hence ROLLBACK IMMEDIATE.
IF EXISTS (SELECT 1 FROM sys.databases WHERE name = N'latchkey' AND is_read_committed_snapshot_on = 0)
    ALTER DATABASE latchkey SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE;
GO
IF NOT EXISTS (SELECT 1 FROM sys.server_principals WHERE name = N'latchkey_migrate')
    CREATE LOGIN latchkey_migrate WITH PASSWORD = N'$(MIGRATE_PASSWORD)', DEFAULT_DATABASE = latchkey;
IF NOT EXISTS (SELECT 1 FROM sys.server_principals WHERE name = N'latchkey_app')
    CREATE LOGIN latchkey_app WITH PASSWORD = N'$(APP_PASSWORD)', DEFAULT_DATABASE = latchkey;
GO
USE latchkey;
GO
IF DATABASE_PRINCIPAL_ID(N'latchkey_migrate') IS NULL
    CREATE USER latchkey_migrate FOR LOGIN latchkey_migrate;
IF DATABASE_PRINCIPAL_ID(N'latchkey_app') IS NULL
    CREATE USER latchkey_app FOR LOGIN latchkey_app;
IF DATABASE_PRINCIPAL_ID(N'latchkey_server') IS NULL
    CREATE ROLE latchkey_server;
GO
-- Tables and their rows, but neither users nor rights.
ALTER ROLE db_ddladmin ADD MEMBER latchkey_migrate;
ALTER ROLE db_datareader ADD MEMBER latchkey_migrate;
ALTER ROLE db_datawriter ADD MEMBER latchkey_migrate;
-- What docs/deploy/grants.sql gives, and nothing else.
ALTER ROLE latchkey_server ADD MEMBER latchkey_app;
GO
