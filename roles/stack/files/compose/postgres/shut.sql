-- In one database, unless slipway is a superuser: what would make one of it, or reaches files, ends before the server serves. One transaction.
BEGIN;
-- An event trigger does not run at what follows, but for those that are to run always.
SET LOCAL session_replication_role = replica;
SELECT format('ALTER EVENT TRIGGER %I DISABLE', evtname) FROM pg_event_trigger WHERE evtenabled IN ('A', 'R') AND oid >= 16384 \gexec
-- As a superuser it would run the triggers of tables that are slipway's.
SELECT format('ALTER SUBSCRIPTION %I DISABLE', subname) FROM pg_subscription
WHERE subenabled AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \gexec
-- Functions of the system's that read files and the like.
SELECT format('REVOKE EXECUTE ON ROUTINE %s FROM %s', p.oid::regprocedure, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
FROM pg_proc p JOIN pg_init_privs i ON i.objoid = p.oid AND i.classoid = 'pg_proc'::regclass AND i.privtype = 'i', aclexplode(p.proacl) a
WHERE p.oid < 16384 AND a.grantee <> 10 AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) b WHERE b.grantee = a.grantee) \gexec
-- Logins at other servers without a password: the socket would take them for a superuser.
SELECT format('ALTER USER MAPPING FOR %s SERVER %I OPTIONS (DROP password_required)',
              CASE m.umuser WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(m.umuser)) END, s.srvname)
FROM pg_user_mapping m JOIN pg_foreign_server s ON s.oid = m.umserver JOIN pg_foreign_data_wrapper f ON f.oid = s.srvfdw
JOIN pg_proc p ON p.oid = f.fdwvalidator JOIN pg_language l ON l.oid = p.prolang
WHERE l.lanname IN ('c', 'internal') AND EXISTS (SELECT FROM unnest(m.umoptions) o WHERE split_part(o, '=', 1) = 'password_required') \gexec
COMMIT;
