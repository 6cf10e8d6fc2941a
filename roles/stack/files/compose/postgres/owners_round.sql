-- Changes 10,000 of the objects, from the number slipway_from on, and calls itself for the next: psql holds all statements of a \gexec at once,
-- and there may be a million. Each object has its turn once, whether it can be changed or not.
SELECT :slipway_from + 9999 AS slipway_to \gset
-- Owners: the table, then the schema that it is in, or the other way round, as a superuser may.
SELECT format('ALTER %s %s OWNER TO %s', replace(kind, 'FOREIGN SERVER', 'SERVER'), name, CASE WHEN stays THEN 'slipway_superuser' ELSE 'slipway' END)
FROM slipway_objects
WHERE n BETWEEN :slipway_from AND :slipway_to AND CASE WHEN stays THEN owner = :slipway_oid AND NOT :superuser WHEN NOT stays THEN owner = 10 END \gexec
-- What it was given of other roles' objects.
SELECT format('GRANT %s%s ON %s %s TO slipway%s', a.privilege_type, o.columns, o.what, o.name, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END),
       format('REVOKE %s%s ON %s %s FROM slipway_superuser', a.privilege_type, o.columns, o.what, o.name)
FROM (SELECT CASE WHEN class = 'pg_class'::regclass AND kind <> 'SEQUENCE' THEN 'TABLE' ELSE kind END, name, '', owner, acl FROM slipway_objects
      WHERE n BETWEEN :slipway_from AND :slipway_to
      UNION ALL
      SELECT 'TABLE', o.name, format(' (%I)', c.attname), o.owner, c.attacl
      FROM slipway_objects o JOIN pg_attribute c ON o.class = 'pg_class'::regclass AND c.attrelid = o.oid
      WHERE o.n BETWEEN :slipway_from AND :slipway_to AND c.attacl IS NOT NULL) o (what, name, columns, owner, acl),
     aclexplode(o.acl) a
WHERE a.grantee = 10 AND o.owner <> 10 \gexec
SELECT format('ALTER POLICY %I ON %s TO %s', polname, o.name,
              (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' WHEN 10 THEN 'slipway' ELSE quote_ident(pg_get_userbyid(r)) END, ', ' ORDER BY n)
               FROM unnest(polroles) WITH ORDINALITY AS each_one (r, n)))
FROM pg_policy p JOIN slipway_objects o ON o.class = 'pg_class'::regclass AND o.oid = p.polrelid
WHERE o.n BETWEEN :slipway_from AND :slipway_to AND 10 = ANY (polroles) \gexec
\set slipway_more false
SELECT :slipway_to + 1 AS slipway_from, EXISTS (SELECT FROM slipway_objects WHERE n > :slipway_to) AS slipway_more \gset
\if :slipway_more
\i /slipway/owners_round.sql
\endif
