-- Runs once, at the first start of an empty volume, after files of a lower number. slipway.yml names the file as a seed.
CREATE TABLE measurements (
    taken_on date NOT NULL,
    station  text NOT NULL,
    celsius  numeric(4, 1),  -- empty where it is missing
    PRIMARY KEY (taken_on, station)
);

COPY measurements (taken_on, station, celsius) FROM '/data/measurements.csv' WITH (FORMAT csv, HEADER);
