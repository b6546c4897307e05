-- An amount out of all proportion makes the sum of an account's entries overflow, and no page with the sum can be shown.
-- No allowed grant and no price comes near this bound.
DELETE FROM credit_entry WHERE kind = 'grant' AND amount NOT BETWEEN -4294967296 AND 4294967296;
CREATE TRIGGER credit_entry_amount BEFORE INSERT ON credit_entry
WHEN NEW.amount NOT BETWEEN -4294967296 AND 4294967296
BEGIN
    SELECT RAISE(ABORT, 'credit_entry.amount is out of bounds');
END;
