-- Who did it, where it is about somebody else's account.
ALTER TABLE event ADD COLUMN done_by INTEGER REFERENCES account (id);
