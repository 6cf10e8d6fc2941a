-- What each role may. All that was said of the first superuser while it was called slipway is said of slipway. One transaction.
BEGIN;
SELECT (SELECT oid FROM pg_authid WHERE rolname = 'slipway') IS NULL AS slipway_missing,
       coalesce(rolpassword LIKE 'SCRAM-SHA-256$%', false) AS slipway_kept, coalesce(rolpassword, '') AS slipway_verifier,
       CASE WHEN rolvaliduntil IS NOT NULL THEN format('VALID UNTIL %L', rolvaliduntil) ELSE '' END AS slipway_until, rolconnlimit AS slipway_limit
FROM pg_authid WHERE oid = 10 \gset
\if :slipway_missing
CREATE ROLE slipway LOGIN CONNECTION LIMIT :slipway_limit :slipway_until;
\if :slipway_kept
ALTER ROLE slipway PASSWORD :'slipway_verifier';
\endif
\endif
-- The verifier of MD5 has the role's name in it, and by TCP the server takes SCRAM alone.
SELECT coalesce(rolpassword, '') NOT LIKE 'SCRAM-SHA-256$%' AS slipway_open FROM pg_authid WHERE rolname = 'slipway' \gset
\if :slipway_open
\set slipway_password `printf %s "${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:-/run/secrets/postgres_password}")}"`
ALTER ROLE slipway PASSWORD :'slipway_password';
\unset slipway_password
\endif
\unset slipway_verifier
SELECT 'ALTER ROLE slipway_superuser SUPERUSER LOGIN PASSWORD NULL CONNECTION LIMIT -1 VALID UNTIL ''infinity'''
FROM pg_authid WHERE oid = 10 AND (rolpassword IS NOT NULL OR rolconnlimit <> -1 OR rolvaliduntil <> 'infinity') \gexec
SELECT format('ALTER ROLE slipway LOGIN CREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS %s', CASE WHEN :superuser THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END)
FROM pg_authid WHERE rolname = 'slipway'
  AND (NOT rolcanlogin OR NOT rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls OR rolsuper <> :superuser) \gexec
UPDATE pg_db_role_setting s SET setrole = (SELECT oid FROM pg_authid WHERE rolname = 'slipway')
WHERE setrole = 10 AND NOT EXISTS (SELECT FROM pg_db_role_setting o JOIN pg_authid r ON r.oid = o.setrole
                                   WHERE r.rolname = 'slipway' AND o.setdatabase = s.setdatabase);
DELETE FROM pg_db_role_setting WHERE setrole = 10;
SELECT format('GRANT %I TO slipway%s', r.rolname, CASE WHEN m.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END),
       format('REVOKE %I FROM slipway_superuser', r.rolname)
FROM pg_auth_members m JOIN pg_authid r ON r.oid = m.roleid WHERE m.member = 10 \gexec
SELECT format('GRANT slipway TO %I%s', r.rolname, CASE WHEN m.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END),
       format('REVOKE slipway_superuser FROM %I', r.rolname)
FROM pg_auth_members m JOIN pg_authid r ON r.oid = m.member WHERE m.roleid = 10 AND r.rolname <> 'slipway' \gexec
SELECT 'REVOKE slipway_superuser FROM slipway'
FROM pg_auth_members m JOIN pg_authid r ON r.oid = m.member WHERE m.roleid = 10 AND r.rolname = 'slipway' \gexec

-- Reads what tables hold, for fingerprints: what a user's function or index does there, it does not do as a superuser.
-- Its errors are read by Slipway, and only a superuser sets their language.
SELECT 'CREATE ROLE slipway_reader LOGIN BYPASSRLS', 'ALTER ROLE slipway_reader SET lc_messages = ''C'''
WHERE NOT EXISTS (SELECT FROM pg_authid WHERE rolname = 'slipway_reader') \gexec
SELECT 'ALTER ROLE slipway_reader LOGIN BYPASSRLS NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION INHERIT PASSWORD NULL'
FROM pg_authid WHERE rolname = 'slipway_reader'
  AND (NOT rolcanlogin OR NOT rolbypassrls OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR NOT rolinherit OR rolpassword IS NOT NULL)
\gexec
SELECT format('GRANT %I TO slipway_reader', r.rolname) FROM pg_authid r
WHERE r.rolname IN ('pg_read_all_data', 'slipway')
  AND NOT EXISTS (SELECT FROM pg_auth_members m JOIN pg_authid o ON o.oid = m.member WHERE m.roleid = r.oid AND o.rolname = 'slipway_reader') \gexec
SELECT format('REVOKE slipway_reader FROM %I', r.rolname) FROM pg_auth_members m JOIN pg_authid r ON r.oid = m.member
WHERE m.roleid = (SELECT oid FROM pg_authid WHERE rolname = 'slipway_reader') \gexec

-- Nor is another role a superuser, becomes one, or reaches files and programs.
\set slipway_loads '^(dynamic_library_path|extension_control_path)=|^session_preload_libraries=.*/'
\if :superuser
\else
SELECT format('ALTER ROLE %I NOSUPERUSER NOCREATEROLE NOREPLICATION', rolname) FROM pg_authid
WHERE oid >= 16384 AND (rolsuper OR rolcreaterole OR rolreplication) \gexec
SELECT format('REVOKE %I FROM %I', r.rolname, o.rolname)
FROM pg_auth_members m JOIN pg_authid r ON r.oid = m.roleid JOIN pg_authid o ON o.oid = m.member
WHERE r.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', 'pg_create_subscription') AND m.member >= 16384 \gexec
SELECT to_regclass('pg_parameter_acl') IS NOT NULL AS slipway_parameters \gset
\if :slipway_parameters
SELECT format('REVOKE ALL ON PARAMETER %s FROM %s', p.parname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
FROM pg_parameter_acl p, aclexplode(p.paracl) a WHERE a.grantee <> 10 \gexec
\endif
-- Where libraries and extensions are looked for, and libraries by a path: each session of a database or a role would load them. An array is
-- never left empty.
DELETE FROM pg_db_role_setting WHERE NOT EXISTS (SELECT FROM unnest(setconfig) c WHERE c !~* :'slipway_loads');
UPDATE pg_db_role_setting SET setconfig = ARRAY(SELECT c FROM unnest(setconfig) WITH ORDINALITY AS each_one (c, n) WHERE c !~* :'slipway_loads' ORDER BY n)
WHERE EXISTS (SELECT FROM unnest(setconfig) c WHERE c ~* :'slipway_loads');
\endif

-- What belongs to all databases.
SELECT format('ALTER DATABASE %I OWNER TO slipway', datname) FROM pg_database WHERE datdba = 10 AND oid >= 16384 \gexec
SELECT format('ALTER TABLESPACE %I OWNER TO slipway', spcname) FROM pg_tablespace WHERE spcowner = 10 AND oid >= 16384 \gexec
SELECT format('GRANT %s ON %s TO slipway%s', a.privilege_type, o.name, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END),
       format('REVOKE %s ON %s FROM slipway_superuser', a.privilege_type, o.name)
FROM (SELECT format('DATABASE %I', datname), datdba, datacl FROM pg_database
      UNION ALL SELECT format('TABLESPACE %I', spcname), spcowner, spcacl FROM pg_tablespace) o (name, owner, acl), aclexplode(o.acl) a
WHERE a.grantee = 10 AND o.owner <> 10 \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO slipway_reader', datname) FROM pg_database
WHERE NOT has_database_privilege('slipway_reader', oid, 'CONNECT') \gexec
-- Those that let no one in, for as long as their objects are looked at. A setting of theirs says so, should this be cut off.
SELECT format('ALTER DATABASE %I SET slipway.closed = ''yes''', datname), format('ALTER DATABASE %I ALLOW_CONNECTIONS true', datname)
FROM pg_database WHERE NOT datallowconn AND datconnlimit <> -2 \gexec
COMMIT;
