-- What the figure was when somebody said that they take care of it.
ALTER TABLE alert ADD COLUMN acknowledged_value REAL;
