-- Runs once, at the first start of an empty volume. slipway.yml names the file as a seed.
CREATE TABLE breast_cancer (
    id                   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sample_number        integer NOT NULL,  -- not unique: some patients came twice
    clump_thickness      smallint NOT NULL,
    cell_size            smallint NOT NULL,
    cell_shape           smallint NOT NULL,
    adhesion             smallint NOT NULL,
    epithelial_cell_size smallint NOT NULL,
    bare_nuclei          smallint,          -- `?` in the file where it is missing
    bland_chromatin      smallint NOT NULL,
    normal_nucleoli      smallint NOT NULL,
    mitoses              smallint NOT NULL,
    class                smallint NOT NULL CHECK (class IN (2, 4))  -- 2: benign, 4: malignant
);

COPY breast_cancer (
    sample_number, clump_thickness, cell_size, cell_shape, adhesion, epithelial_cell_size, bare_nuclei, bland_chromatin,
    normal_nucleoli, mitoses, class
) FROM '/data/breast_cancer.csv' WITH (FORMAT csv, NULL '?');
