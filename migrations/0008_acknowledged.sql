-- Somebody has seen it and takes care of it.
ALTER TABLE alert ADD COLUMN acknowledged_at INTEGER;
ALTER TABLE alert ADD COLUMN acknowledged_by INTEGER REFERENCES account (id);
