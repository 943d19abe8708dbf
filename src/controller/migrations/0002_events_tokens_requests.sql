-- Events tell what was there before and after, and belong to the app itself: one of the same name, made later by somebody
-- else, does not show them.
ALTER TABLE events
  ADD COLUMN app_uuid uuid,
  ADD COLUMN before text NOT NULL DEFAULT '{}',
  ADD COLUMN after text NOT NULL DEFAULT '{}';
UPDATE events e SET app_uuid = a.uuid FROM apps a WHERE a.id = e.app AND e.at >= a.created;
CREATE INDEX events_by_app_uuid ON events (app_uuid, id);
DROP INDEX events_by_app;
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'events are append-only';
END $$;
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Tokens made on purpose have a name, may end, and may have less power than their user.
ALTER TABLE tokens
  ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY,
  ADD COLUMN name text NOT NULL DEFAULT '',
  ADD COLUMN scope text NOT NULL DEFAULT 'all' CHECK (scope IN ('all', 'read')),
  ADD COLUMN apps text,                     -- JSON list of app names; null: all that the user may use
  ADD COLUMN expires timestamptz;
CREATE UNIQUE INDEX tokens_by_id ON tokens (id);

-- Requests that named a key, so that the same one sent again is done once.
CREATE TABLE requests (
  user_id       bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  key           text NOT NULL,
  fingerprint   text NOT NULL,              -- of method, path, query and body
  lease_holder  text NOT NULL,
  lease_until   timestamptz NOT NULL,
  job_id        bigint REFERENCES jobs ON DELETE SET NULL,
  status        integer,                    -- of the answer; null while it is worked on
  answer        text NOT NULL DEFAULT '',
  created       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, key)
);
CREATE INDEX requests_under_way ON requests (lease_holder) WHERE status IS NULL;
CREATE INDEX jobs_by_app ON jobs (app_uuid, id);

-- Groups of the directory that the user comes from.
ALTER TABLE users ADD COLUMN groups text NOT NULL DEFAULT '[]';
