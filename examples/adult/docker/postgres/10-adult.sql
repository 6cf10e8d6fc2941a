-- Runs once, at the first start of an empty volume. The file's last line is empty, which COPY into fifteen columns would refuse,
-- and a blank follows each comma. So the lines come in whole, and are taken apart here.
CREATE TEMPORARY TABLE lines (id integer GENERATED ALWAYS AS IDENTITY, line text);
COPY lines (line) FROM PROGRAM 'gunzip -c /data/adult.data.gz';

CREATE TABLE adult (
    id             integer PRIMARY KEY,
    age            integer NOT NULL,
    workclass      text,
    fnlwgt         integer NOT NULL,
    education      text NOT NULL,
    education_num  integer NOT NULL,
    marital_status text NOT NULL,
    occupation     text,
    relationship   text NOT NULL,
    race           text NOT NULL,
    sex            text NOT NULL,
    capital_gain   integer NOT NULL,
    capital_loss   integer NOT NULL,
    hours_per_week integer NOT NULL,
    native_country text,
    target         text NOT NULL,
    target_code    smallint  -- written by the workers
);

-- The third argument makes NULL of each `?`.
INSERT INTO adult
SELECT id, v[1]::integer, v[2], v[3]::integer, v[4], v[5]::integer, v[6], v[7], v[8], v[9], v[10],
       v[11]::integer, v[12]::integer, v[13]::integer, v[14], v[15]
FROM (SELECT id, string_to_array(line, ', ', '?') AS v FROM lines WHERE line <> '') AS values_of_lines;
ANALYZE adult;
