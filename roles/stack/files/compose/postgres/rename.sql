CREATE ROLE slipway_renames SUPERUSER;
SET SESSION AUTHORIZATION slipway_renames;
DO $$
DECLARE old name;
BEGIN
  SELECT rolname INTO old FROM pg_catalog.pg_authid WHERE oid = 10;
  IF old <> 'slipway_superuser' THEN
    EXECUTE pg_catalog.format('ALTER ROLE %I RENAME TO slipway_superuser', old);
  END IF;
END $$;
ALTER ROLE slipway_superuser SUPERUSER LOGIN;
SET SESSION AUTHORIZATION slipway_superuser;
DROP ROLE slipway_renames;

