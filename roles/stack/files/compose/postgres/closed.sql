-- Shuts the databases again that let no one in.
BEGIN;
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS false', d.datname), format('ALTER DATABASE %I RESET slipway.closed', d.datname)
FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0
WHERE EXISTS (SELECT FROM unnest(s.setconfig) c WHERE c = 'slipway.closed=yes') \gexec
COMMIT;
