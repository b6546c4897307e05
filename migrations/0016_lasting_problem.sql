-- A problem that a VM keeps while it runs well, such as a failed set-up, until an operation succeeds.
ALTER TABLE vm ADD COLUMN problem_lasts INTEGER NOT NULL DEFAULT 0 CHECK (problem_lasts IN (0, 1));
