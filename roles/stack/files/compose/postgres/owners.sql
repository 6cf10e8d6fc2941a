-- In one database: what the user made as the first superuser, or a seed did, is slipway's; what the system and extensions are made of stays.
-- Each object changes by itself: one transaction would hold a lock for each, and there may be a million. What is cut off goes on; what cannot
-- be changed is told, and the rest changes.
-- Whatever kind an object is of, it stands here as a row: where its catalog has it, how ALTER names it, its owner, its rights, and whether it
-- stays the first superuser's (NULL: it is left alone).
-- Run functions of users nowhere: their indexes, views, policies and types are only named.
-- An event trigger does not run at what follows, but for those that are to run always.
SET session_replication_role = replica;
SET synchronous_commit = off;
SELECT oid AS slipway_oid FROM pg_authid WHERE rolname = 'slipway' \gset
-- Since PostgreSQL 15, and 14.
SELECT to_regclass('pg_publication_namespace') IS NOT NULL AS slipway_schemas,
       EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'pg_range'::regclass AND attname = 'rngmultitypid') AS slipway_multiranges \gset
CREATE TEMP TABLE slipway_objects AS
WITH code (oid) AS (
  -- Functions that run as part of something else, also of a superuser's: in C their owner cannot change them.
  SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
  WHERE l.lanname NOT IN ('c', 'internal') AND (
    p.prorettype = 'event_trigger'::regtype
    OR EXISTS (SELECT FROM pg_type t WHERE t.typtype = 'b' AND p.oid IN (t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typanalyze))
    OR EXISTS (SELECT FROM pg_foreign_data_wrapper f WHERE p.oid IN (f.fdwvalidator, f.fdwhandler)))
), objects (class, oid, kind, name, owner, acl, stays) AS (
  SELECT 'pg_namespace'::regclass, n.oid, 'SCHEMA', quote_ident(nspname), nspowner, nspacl,
         -- That of a database which is not slipway's is left alone.
         CASE WHEN n.oid >= 16384 OR EXISTS (SELECT FROM pg_database WHERE datname = current_database() AND datdba = :slipway_oid) THEN false END
  FROM pg_namespace n WHERE nspname !~ '^pg_' AND (n.oid >= 16384 OR nspname = 'public')
  UNION ALL
  SELECT 'pg_class'::regclass, c.oid,
         CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
         format('%I.%I', nspname, relname), relowner, relacl,
         -- A sequence of a column's has its table's owner.
         CASE WHEN relkind <> 'S' OR NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                                 AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'))
              THEN false END
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.oid >= 16384 AND relpersistence <> 't' AND nspname !~ '^pg_'
  UNION ALL
  SELECT 'pg_type'::regclass, t.oid, 'TYPE', format('%I.%I', nspname, typname), typowner, typacl, false
  FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
  WHERE t.oid >= 16384 AND nspname !~ '^pg_'
    AND (typtype IN ('d', 'e', 'r', 'b') OR typtype = 'c' AND EXISTS (SELECT FROM pg_class c WHERE c.oid = typrelid AND relkind = 'c'))
    AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
  UNION ALL
  -- Not regprocedure, which ends all of this for one function with a type that is not there.
  SELECT 'pg_proc'::regclass, p.oid, 'ROUTINE',
         format('%I.%I(%s)', nspname, proname,
                (SELECT string_agg(format_type(t, NULL), ', ' ORDER BY i) FROM unnest(proargtypes) WITH ORDINALITY AS a (t, i))),
         proowner, proacl, EXISTS (SELECT FROM code WHERE code.oid = p.oid)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE p.oid >= 16384 AND nspname !~ '^pg_'
  UNION ALL SELECT 'pg_operator'::regclass, oid, 'OPERATOR', oid::regoperator::text, oprowner, NULL, false FROM pg_operator WHERE oid >= 16384
  UNION ALL
  SELECT 'pg_opclass'::regclass, o.oid, 'OPERATOR CLASS', format('%I.%I USING %I', nspname, opcname, amname), opcowner, NULL, false
  FROM pg_opclass o JOIN pg_namespace n ON n.oid = opcnamespace JOIN pg_am m ON m.oid = opcmethod WHERE o.oid >= 16384
  UNION ALL
  SELECT 'pg_opfamily'::regclass, o.oid, 'OPERATOR FAMILY', format('%I.%I USING %I', nspname, opfname, amname), opfowner, NULL, false
  FROM pg_opfamily o JOIN pg_namespace n ON n.oid = opfnamespace JOIN pg_am m ON m.oid = opfmethod WHERE o.oid >= 16384
  UNION ALL
  SELECT 'pg_collation'::regclass, o.oid, 'COLLATION', format('%I.%I', nspname, collname), collowner, NULL, false
  FROM pg_collation o JOIN pg_namespace n ON n.oid = collnamespace WHERE o.oid >= 16384
  UNION ALL
  SELECT 'pg_conversion'::regclass, o.oid, 'CONVERSION', format('%I.%I', nspname, conname), conowner, NULL, false
  FROM pg_conversion o JOIN pg_namespace n ON n.oid = connamespace WHERE o.oid >= 16384
  UNION ALL
  SELECT 'pg_statistic_ext'::regclass, o.oid, 'STATISTICS', format('%I.%I', nspname, stxname), stxowner, NULL, false
  FROM pg_statistic_ext o JOIN pg_namespace n ON n.oid = stxnamespace WHERE o.oid >= 16384
  UNION ALL
  SELECT 'pg_ts_dict'::regclass, o.oid, 'TEXT SEARCH DICTIONARY', format('%I.%I', nspname, dictname), dictowner, NULL, false
  FROM pg_ts_dict o JOIN pg_namespace n ON n.oid = dictnamespace WHERE o.oid >= 16384
  UNION ALL
  SELECT 'pg_ts_config'::regclass, o.oid, 'TEXT SEARCH CONFIGURATION', format('%I.%I', nspname, cfgname), cfgowner, NULL, false
  FROM pg_ts_config o JOIN pg_namespace n ON n.oid = cfgnamespace WHERE o.oid >= 16384
  UNION ALL
  -- These are a superuser's alone.
  SELECT 'pg_foreign_data_wrapper'::regclass, oid, 'FOREIGN DATA WRAPPER', quote_ident(fdwname), fdwowner, fdwacl, true
  FROM pg_foreign_data_wrapper WHERE oid >= 16384
  UNION ALL SELECT 'pg_event_trigger'::regclass, oid, 'EVENT TRIGGER', quote_ident(evtname), evtowner, NULL, true FROM pg_event_trigger WHERE oid >= 16384
  UNION ALL SELECT 'pg_language'::regclass, oid, 'LANGUAGE', quote_ident(lanname), lanowner, lanacl, NOT lanpltrusted FROM pg_language WHERE oid >= 16384
  UNION ALL
  SELECT 'pg_publication'::regclass, oid, 'PUBLICATION', quote_ident(pubname), pubowner, NULL, puballtables
\if :slipway_schemas
    OR EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = p.oid)
\endif
  FROM pg_publication p WHERE oid >= 16384
  UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 'FOREIGN SERVER', quote_ident(srvname), srvowner, srvacl, false FROM pg_foreign_server WHERE oid >= 16384
  UNION ALL SELECT 'pg_largeobject'::regclass, oid, 'LARGE OBJECT', oid::text, lomowner, lomacl, false FROM pg_largeobject_metadata
)
SELECT row_number() OVER () AS n, o.*,
       EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.objsubid = 0 AND d.deptype = 'e') AS member
FROM objects o;
ALTER TABLE slipway_objects ADD PRIMARY KEY (n);
-- So does what extensions are made of.
UPDATE slipway_objects SET stays = true WHERE member AND NOT stays;
SELECT count(*) AS slipway_count FROM slipway_objects WHERE owner = 10 AND NOT stays \gset

\set ON_ERROR_STOP 0
\set slipway_from 1
\i /slipway/owners_round.sql
\if :slipway_multiranges
-- In PostgreSQL 15 ALTER TYPE leaves these behind: the multiranges of ranges.
WITH given AS (
  UPDATE pg_type t SET typowner = o.typowner
  FROM pg_range r JOIN pg_type m ON m.oid = r.rngmultitypid JOIN pg_type o ON o.oid = r.rngtypid
  WHERE t.oid IN (m.oid, m.typarray) AND t.oid >= 16384 AND t.typowner = 10 AND o.typowner <> 10
  RETURNING t.oid, t.typowner
)
INSERT INTO pg_shdepend (dbid, classid, objid, objsubid, refclassid, refobjid, deptype)
SELECT d.oid, 'pg_type'::regclass, given.oid, 0, 'pg_authid'::regclass, given.typowner, 'o' FROM given, pg_database d WHERE d.datname = current_database();
\endif
-- What objects to come have; the row is the same, of another role.
BEGIN;
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE slipway %s REVOKE ALL ON %s FROM slipway, PUBLIC', d.place, d.what)
FROM (SELECT CASE WHEN defaclnamespace = 0 THEN '' ELSE 'IN SCHEMA ' || quote_ident(nspname) END,
             CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END
      FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace WHERE defaclrole = 10) d (place, what) \gexec
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE slipway %s GRANT %s ON %s TO %s%s', CASE WHEN defaclnamespace = 0 THEN '' ELSE 'IN SCHEMA ' || quote_ident(nspname) END,
              a.privilege_type, CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END,
              CASE a.grantee WHEN 0 THEN 'PUBLIC' WHEN 10 THEN 'slipway' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace, aclexplode(defaclacl) a WHERE defaclrole = 10 \gexec
DELETE FROM pg_shdepend WHERE classid = 'pg_default_acl'::regclass
  AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND objid IN (SELECT oid FROM pg_default_acl WHERE defaclrole = 10);
DELETE FROM pg_depend WHERE classid = 'pg_default_acl'::regclass AND objid IN (SELECT oid FROM pg_default_acl WHERE defaclrole = 10);
DELETE FROM pg_default_acl WHERE defaclrole = 10;
COMMIT;
-- Logins at other servers. Without a password they are a superuser's alone.
SELECT format('CREATE USER MAPPING FOR slipway SERVER %I%s', s.srvname,
              (SELECT format(' OPTIONS (%s)', string_agg(format('%I %L', split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)), ', '))
               FROM unnest(m.umoptions) o WHERE split_part(o, '=', 1) <> 'password_required')),
       format('DROP USER MAPPING FOR slipway_superuser SERVER %I', s.srvname)
FROM pg_user_mapping m JOIN pg_foreign_server s ON s.oid = m.umserver JOIN pg_foreign_data_wrapper f ON f.oid = s.srvfdw
LEFT JOIN pg_proc p ON p.oid = f.fdwvalidator LEFT JOIN pg_language l ON l.oid = p.prolang
WHERE m.umuser = 10 AND coalesce(l.lanname, 'c') IN ('c', 'internal')
  AND NOT EXISTS (SELECT FROM pg_user_mapping o WHERE o.umserver = m.umserver AND o.umuser = :slipway_oid) \gexec
-- An extension that its owner may have made without being a superuser. No command gives one away.
WITH given AS (
  UPDATE pg_extension e SET extowner = :slipway_oid
  WHERE extowner = 10 AND oid >= 16384
    AND EXISTS (SELECT FROM pg_available_extension_versions v WHERE v.name = e.extname AND v.version = e.extversion AND v.trusted)
  RETURNING oid
)
INSERT INTO pg_shdepend (dbid, classid, objid, objsubid, refclassid, refobjid, deptype)
SELECT d.oid, 'pg_extension'::regclass, given.oid, 0, 'pg_authid'::regclass, :slipway_oid, 'o' FROM given, pg_database d WHERE d.datname = current_database();
\set ON_ERROR_STOP 1
SELECT format('PostgreSQL: in database %s slipway owns %s more objects.', quote_ident(current_database()), :slipway_count) WHERE :slipway_count > 0;
-- What is left, and acts as the superuser for each role that uses it, or when the server looks after a table: what its index is made of is slipway's.
SELECT format('slipway_unsafe %s %s', kind, o.name) FROM slipway_objects o LEFT JOIN pg_proc p ON o.class = 'pg_proc'::regclass AND p.oid = o.oid
LEFT JOIN pg_class c ON o.class = 'pg_class'::regclass AND c.oid = o.oid
WHERE NOT :superuser AND CASE
  WHEN o.stays THEN o.owner = :slipway_oid AND coalesce(p.proowner, c.relowner, 10) <> 10
  WHEN o.stays IS NULL THEN false
  WHEN p.proowner = 10 THEN p.prosecdef
  WHEN c.relowner = 10 THEN c.relkind IN ('v', 'm') OR c.relhasrules
    OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.atttypid >= 16384)
    OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
                                                                     OR EXISTS (SELECT FROM unnest(i.indclass) e (oid) WHERE e.oid >= 16384)))
    OR EXISTS (SELECT FROM pg_statistic_ext e WHERE e.stxrelid = c.oid)
  ELSE false
END
ORDER BY 1 LIMIT 1;
