-- A VM that was not launched here but adopted: which machine of which of a person's own Vagrant projects it is.
CREATE TABLE adopted (
    vm_id          INTEGER PRIMARY KEY REFERENCES vm (id),
    directory      TEXT NOT NULL,
    -- Null: the usual name.
    vagrantfile    TEXT,
    data_directory TEXT NOT NULL,
    machine        TEXT NOT NULL,
    provider       TEXT NOT NULL,
    -- Whether Vagrant's index, not the hypervisor, tells how it stands.
    is_indexed     INTEGER NOT NULL CHECK (is_indexed IN (0, 1)),
    CONSTRAINT adopted_once UNIQUE (data_directory, machine)
) STRICT;
