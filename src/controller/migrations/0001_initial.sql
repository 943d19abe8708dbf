-- Users sign in with a password and act with tokens, of which only the SHA-256 is kept.
CREATE TABLE users (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  username      text NOT NULL UNIQUE,
  password      text NOT NULL,              -- scrypt$N$r$p$salt$hash; "!" when there is none
  email         text NOT NULL,
  first_name    text NOT NULL DEFAULT '',
  last_name     text NOT NULL DEFAULT '',
  is_superuser  boolean NOT NULL DEFAULT false,
  is_active     boolean NOT NULL DEFAULT true,
  last_login    timestamptz,
  date_joined   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tokens (
  hash      text PRIMARY KEY,
  user_id   bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  created   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tokens_by_user ON tokens (user_id);

CREATE TABLE keys (
  uuid          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  owner_id      bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  id            text NOT NULL UNIQUE,
  public        text NOT NULL UNIQUE,
  fingerprint   text NOT NULL,              -- MD5, as the original's builder asks for it
  sha256        text NOT NULL,              -- SHA256:…, as OpenSSH prints it
  created       timestamptz NOT NULL DEFAULT now(),
  updated       timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX keys_by_fingerprint ON keys (fingerprint);
CREATE UNIQUE INDEX keys_by_sha256 ON keys (sha256);
CREATE INDEX keys_by_owner ON keys (owner_id);

CREATE TABLE apps (
  uuid                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  id                  text NOT NULL UNIQUE,
  owner_id            bigint NOT NULL REFERENCES users ON DELETE RESTRICT,
  structure           text NOT NULL DEFAULT '{}',
  procfile_structure  text NOT NULL DEFAULT '{}',
  created             timestamptz NOT NULL DEFAULT now(),
  updated             timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX apps_by_owner ON apps (owner_id);

CREATE TABLE grants (
  app_uuid  uuid NOT NULL REFERENCES apps ON DELETE CASCADE,
  user_id   bigint NOT NULL REFERENCES users ON DELETE CASCADE,
  PRIMARY KEY (app_uuid, user_id)
);
CREATE INDEX grants_by_user ON grants (user_id);

-- Maps are JSON text: the order of their keys is what the user sees.
CREATE TABLE configs (
  uuid                      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  app_uuid                  uuid NOT NULL REFERENCES apps ON DELETE CASCADE,
  owner_id                  bigint NOT NULL REFERENCES users ON DELETE RESTRICT,
  vars                      text NOT NULL DEFAULT '{}',
  memory                    text NOT NULL DEFAULT '{}',
  cpu                       text NOT NULL DEFAULT '{}',
  tags                      text NOT NULL DEFAULT '{}',
  registry                  text NOT NULL DEFAULT '{}',
  healthcheck               text NOT NULL DEFAULT '{}',
  lifecycle_post_start      text NOT NULL DEFAULT '{}',
  lifecycle_pre_stop        text NOT NULL DEFAULT '{}',
  termination_grace_period  text NOT NULL DEFAULT '{}',
  created                   timestamptz NOT NULL DEFAULT now(),
  updated                   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX configs_by_app ON configs (app_uuid);

CREATE TABLE builds (
  uuid        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  app_uuid    uuid NOT NULL REFERENCES apps ON DELETE CASCADE,
  owner_id    bigint NOT NULL REFERENCES users ON DELETE RESTRICT,
  image       text NOT NULL,
  sha         text NOT NULL DEFAULT '',
  procfile    text NOT NULL DEFAULT '{}',
  dockerfile  text NOT NULL DEFAULT '',
  created     timestamptz NOT NULL DEFAULT now(),
  updated     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX builds_by_app ON builds (app_uuid, created);

-- A release is pending until it served, then live; the newest live one is the app's current release.
CREATE TABLE releases (
  uuid         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  app_uuid     uuid NOT NULL REFERENCES apps ON DELETE CASCADE,
  owner_id     bigint NOT NULL REFERENCES users ON DELETE RESTRICT,
  version      bigint NOT NULL CHECK (version > 0),
  config_uuid  uuid NOT NULL REFERENCES configs ON DELETE CASCADE,
  build_uuid   uuid REFERENCES builds ON DELETE CASCADE,
  summary      text NOT NULL,
  state        text NOT NULL CHECK (state IN ('pending', 'live', 'failed')),
  exception    text,
  created      timestamptz NOT NULL DEFAULT now(),
  updated      timestamptz NOT NULL DEFAULT now(),
  UNIQUE (app_uuid, version)
);

CREATE TABLE certificates (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner_id     bigint NOT NULL REFERENCES users ON DELETE RESTRICT,
  name         text NOT NULL UNIQUE,
  certificate  text NOT NULL,
  key          text NOT NULL,
  common_name  text,
  san          text NOT NULL DEFAULT '[]',
  fingerprint  text NOT NULL,
  starts       timestamptz NOT NULL,
  expires      timestamptz NOT NULL,
  issuer       text NOT NULL,
  subject      text NOT NULL,
  created      timestamptz NOT NULL DEFAULT now(),
  updated      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE domains (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  app_uuid        uuid NOT NULL REFERENCES apps ON DELETE CASCADE,
  owner_id        bigint NOT NULL REFERENCES users ON DELETE RESTRICT,
  domain          text NOT NULL UNIQUE,
  certificate_id  bigint REFERENCES certificates ON DELETE SET NULL,
  created         timestamptz NOT NULL DEFAULT now(),
  updated         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX domains_by_app ON domains (app_uuid);
CREATE INDEX domains_by_certificate ON domains (certificate_id);

CREATE TABLE services (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  app_uuid       uuid NOT NULL REFERENCES apps ON DELETE CASCADE,
  owner_id       bigint NOT NULL REFERENCES users ON DELETE RESTRICT,
  procfile_type  text NOT NULL,
  path_pattern   text NOT NULL,
  created        timestamptz NOT NULL DEFAULT now(),
  updated        timestamptz NOT NULL DEFAULT now(),
  UNIQUE (app_uuid, procfile_type)
);

-- The newest row counts; older ones are history.
CREATE TABLE settings (
  uuid         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  serial       bigint GENERATED ALWAYS AS IDENTITY,
  app_uuid     uuid NOT NULL REFERENCES apps ON DELETE CASCADE,
  owner_id     bigint NOT NULL REFERENCES users ON DELETE RESTRICT,
  maintenance  boolean NOT NULL DEFAULT false,
  routable     boolean NOT NULL DEFAULT true,
  whitelist    text NOT NULL DEFAULT '[]',
  autoscale    text NOT NULL DEFAULT '{}',
  label        text NOT NULL DEFAULT '{}',
  created      timestamptz NOT NULL DEFAULT now(),
  updated      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX settings_by_app ON settings (app_uuid, serial);

CREATE TABLE tls (
  uuid            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  serial          bigint GENERATED ALWAYS AS IDENTITY,
  app_uuid        uuid NOT NULL REFERENCES apps ON DELETE CASCADE,
  owner_id        bigint NOT NULL REFERENCES users ON DELETE RESTRICT,
  https_enforced  boolean,
  created         timestamptz NOT NULL DEFAULT now(),
  updated         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tls_by_app ON tls (app_uuid, serial);

-- Long work that goes on when the client disconnects or a controller dies. Whoever holds the lease works on it.
CREATE TABLE jobs (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  app_uuid      uuid NOT NULL REFERENCES apps ON DELETE CASCADE,
  kind          text NOT NULL CHECK (kind IN ('deploy', 'scale')),
  release_uuid  uuid NOT NULL REFERENCES releases ON DELETE CASCADE,
  structure     text NOT NULL,              -- the process counts that the app has once this is done
  state         text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
  message       text NOT NULL DEFAULT '',
  lease_holder  text NOT NULL,
  lease_until   timestamptz NOT NULL,
  created       timestamptz NOT NULL DEFAULT now(),
  finished      timestamptz
);
CREATE UNIQUE INDEX jobs_one_at_a_time ON jobs (app_uuid) WHERE state = 'running';

-- Who changed what: append only.
CREATE TABLE events (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at        timestamptz NOT NULL DEFAULT now(),
  username  text NOT NULL,
  app       text NOT NULL,
  what      text NOT NULL
);
CREATE INDEX events_by_app ON events (app, id);
