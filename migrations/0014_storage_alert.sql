-- About the host: nothing can be written to the database. Not where somebody has a rule of that kind already.
INSERT INTO alert_rule (scope, metric, threshold, for_secs, severity) VALUES ('host', 'figures', NULL, 15, 'error');
