-- The tables of a Hephy Workflow 2.x database that a takeover reads, as its migrations leave them: names, types and keys, without
-- indexes and without the tables of its web framework that say nothing about the platform.
CREATE TABLE auth_user (id serial PRIMARY KEY, password varchar(128) NOT NULL, last_login timestamptz, is_superuser boolean NOT NULL,
  username varchar(150) NOT NULL UNIQUE, first_name varchar(30) NOT NULL, last_name varchar(150) NOT NULL, email varchar(254) NOT NULL,
  is_staff boolean NOT NULL, is_active boolean NOT NULL, date_joined timestamptz NOT NULL);
CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created timestamptz NOT NULL, user_id integer NOT NULL UNIQUE REFERENCES auth_user);
CREATE TABLE auth_permission (id serial PRIMARY KEY, name varchar(255) NOT NULL, content_type_id integer NOT NULL, codename varchar(100) NOT NULL);
CREATE TABLE guardian_userobjectpermission (id serial PRIMARY KEY, object_pk varchar(255) NOT NULL, content_type_id integer NOT NULL,
  permission_id integer NOT NULL REFERENCES auth_permission, user_id integer NOT NULL REFERENCES auth_user);
CREATE TABLE api_key (created timestamptz NOT NULL, updated timestamptz NOT NULL, uuid uuid PRIMARY KEY, id varchar(128) NOT NULL UNIQUE,
  public text NOT NULL UNIQUE, fingerprint varchar(128) NOT NULL, owner_id integer NOT NULL REFERENCES auth_user);
CREATE TABLE api_app (created timestamptz NOT NULL, updated timestamptz NOT NULL, uuid uuid PRIMARY KEY, id varchar(63) UNIQUE,
  structure text NOT NULL, owner_id integer NOT NULL REFERENCES auth_user, procfile_structure text NOT NULL);
CREATE TABLE api_build (created timestamptz NOT NULL, updated timestamptz NOT NULL, uuid uuid PRIMARY KEY, image text NOT NULL,
  sha varchar(40) NOT NULL, procfile text NOT NULL, dockerfile text NOT NULL, app_id uuid NOT NULL REFERENCES api_app,
  owner_id integer NOT NULL REFERENCES auth_user);
CREATE TABLE api_config (created timestamptz NOT NULL, updated timestamptz NOT NULL, uuid uuid PRIMARY KEY, "values" text NOT NULL,
  memory text NOT NULL, cpu text NOT NULL, tags text NOT NULL, app_id uuid NOT NULL REFERENCES api_app,
  owner_id integer NOT NULL REFERENCES auth_user, registry text NOT NULL, healthcheck text NOT NULL, lifecycle_post_start text NOT NULL,
  lifecycle_pre_stop text NOT NULL, termination_grace_period text NOT NULL);
CREATE TABLE api_release (created timestamptz NOT NULL, updated timestamptz NOT NULL, uuid uuid PRIMARY KEY, version integer NOT NULL,
  summary text, app_id uuid NOT NULL REFERENCES api_app, build_id uuid REFERENCES api_build, config_id uuid NOT NULL REFERENCES api_config,
  owner_id integer NOT NULL REFERENCES auth_user, failed boolean NOT NULL, exception text);
CREATE TABLE api_certificate (id serial PRIMARY KEY, created timestamptz NOT NULL, updated timestamptz NOT NULL, name varchar(253) NOT NULL UNIQUE,
  certificate text NOT NULL, key text NOT NULL, common_name text, fingerprint varchar(96) NOT NULL, expires timestamptz NOT NULL,
  owner_id integer NOT NULL REFERENCES auth_user, issuer text NOT NULL, san varchar(253)[], starts timestamptz NOT NULL, subject text NOT NULL);
CREATE TABLE api_domain (id serial PRIMARY KEY, created timestamptz NOT NULL, updated timestamptz NOT NULL, domain text NOT NULL UNIQUE,
  app_id uuid NOT NULL REFERENCES api_app, owner_id integer NOT NULL REFERENCES auth_user, certificate_id integer REFERENCES api_certificate);
CREATE TABLE api_service (id serial PRIMARY KEY, created timestamptz NOT NULL, updated timestamptz NOT NULL, procfile_type text NOT NULL,
  path_pattern text NOT NULL, app_id uuid NOT NULL REFERENCES api_app, owner_id integer NOT NULL REFERENCES auth_user);
CREATE TABLE api_appsettings (created timestamptz NOT NULL, updated timestamptz NOT NULL, uuid uuid PRIMARY KEY, maintenance boolean,
  app_id uuid NOT NULL REFERENCES api_app, owner_id integer NOT NULL REFERENCES auth_user, routable boolean, whitelist varchar(50)[] NOT NULL,
  autoscale text NOT NULL, label text NOT NULL);
CREATE TABLE api_tls (created timestamptz NOT NULL, updated timestamptz NOT NULL, uuid uuid PRIMARY KEY, https_enforced boolean,
  app_id uuid NOT NULL REFERENCES api_app, owner_id integer NOT NULL REFERENCES auth_user);
