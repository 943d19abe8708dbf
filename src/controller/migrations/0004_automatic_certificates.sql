-- Whether the app's names get certificates by themselves; NULL: nobody has said.
ALTER TABLE tls ADD COLUMN certs_auto_enabled boolean;
