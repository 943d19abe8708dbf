// src/controller/controller.h: the HTTP API of the platform: accounts, apps, releases, deploys.
//   Owns    the PostgreSQL database: users, apps, configs, builds, releases, jobs, events.
//   Needs   PostgreSQL, the Kubernetes API, the object store (to sign slugs' URLs).
//   Speaks  HTTP/JSON, /v2/…, as spec/controller-api.md says; several replicas may run at once.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/cluster/spec.h"
#include "controller/directory.h"
#include "controller/registry.h"
#include "lib/async/task.h"
#include "lib/base/settings.h"
#include "lib/s3/s3.h"
#include "lib/sql/sql.h"

namespace workflow::controller {

enum class Registration { enabled, admin_only, disabled };

struct Settings {
  std::uint16_t port = 8000;                             // CONTROLLER_PORT
  sql::Config database;                                  // DATABASE_HOST, _PORT, _NAME, _USER_FILE, _PASSWORD_FILE
  Secret builder_key;                                    // BUILDER_KEY_FILE: shared with the builder
  Registration registration = Registration::admin_only;  // REGISTRATION_MODE; the first user registers by himself
  int login_failures = 10;  // LOGIN_FAILURES: per name and minute, before the next attempt has to wait; 0 = any
  std::optional<DirectorySettings> directory;  // LDAP_ENDPOINT, …: asked first at login
  std::set<std::string> reserved_names;        // RESERVED_NAMES: comma list
  std::string platform_domain;                 // PLATFORM_DOMAIN: names without a dot are below it; "": not known
  bool reject_missing_procfile = false;        // DEIS_DEPLOY_REJECT_IF_PROCFILE_MISSING
  bool remove_missing_procfile = true;         // DEIS_DEPLOY_PROCFILE_MISSING_REMOVE
  std::vector<std::string> hook_urls;          // DEIS_DEPLOY_HOOK_URLS: comma list, called for each release
  std::optional<Secret> hook_key;              // DEIS_DEPLOY_HOOK_SECRET_KEY: signs those calls
  json::object default_tags;                   // DEIS_DEFAULT_CONFIG_TAGS: JSON, for apps without tags
  std::optional<s3::Endpoint> store;           // S3_ENDPOINT, …; absent: no buildpack apps
  std::string bucket = "builder";              // BUILDER_BUCKET
  // DEIS_REGISTRY_HOST: the platform's registry in names of images; DEIS_REGISTRY_SERVICE_HOST, _PORT: where it answers
  RegistryPlaces registries;
  cluster::Settings cluster;
  static Settings from(Env& env);
};

Task<> serve(Executor executor, Settings settings);  // until cancelled
int controller_main(int argc, char** argv);

}  // namespace workflow::controller
