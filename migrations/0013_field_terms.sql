-- Columns and event kinds by the terms that the pages and other clients use.
ALTER TABLE vm RENAME COLUMN fell_at TO unexpected_stop_at;
ALTER TABLE alert RENAME COLUMN told_at TO last_notified_at;
UPDATE event SET kind = replace(kind, '_asked', '_requested') WHERE kind LIKE 'vm\_%\_asked' ESCAPE '\';
