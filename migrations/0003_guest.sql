-- The way into a VM's guest, as `vagrant ssh-config` told it, and the host key that the guest showed at first
-- contact. Void when the VM's domain is another one by now. Names the file of a private key, never holds one.
CREATE TABLE guest (
    vm_id         INTEGER PRIMARY KEY REFERENCES vm (id),
    domain_uuid   TEXT NOT NULL,
    host          TEXT NOT NULL,
    port          INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    user          TEXT NOT NULL,
    identity_file TEXT NOT NULL,
    -- In OpenSSH's form; null until the first contact.
    host_key      TEXT,
    -- Another key that was shown later, and when it was first seen: the guest is not read while it shows this one.
    refused_key   TEXT,
    refused_at    INTEGER
) STRICT;
