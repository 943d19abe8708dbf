// src/controller/model.h: what the controller keeps, as values; and the decisions about releases, as plain functions.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/cluster/spec.h"
#include "lib/base/domain.h"
#include "lib/json/json.h"

namespace workflow::controller {

struct User {
  std::int64_t id = 0;
  std::string username, email, first_name, last_name;
  bool is_superuser = false, is_active = true;
  std::optional<std::string> last_login;
  std::string date_joined;
  json::array groups;  // of the directory that the user comes from
};

// What the token of a request allows, within what its user may do.
struct TokenPower {
  bool read_only = false;
  std::optional<std::vector<std::string>> apps;  // nullopt: all that the user may use
  bool whole() const { return !read_only && !apps; }
  bool covers(std::string_view app) const;
  bool operator==(const TokenPower&) const = default;
};

struct App {
  std::string uuid;
  std::string id;  // its name
  std::int64_t owner_id = 0;
  std::string owner;
  json::object structure, procfile_structure;
  std::string created, updated;
  AppName name() const { return *AppName::parse(id); }
};

// The maps of a config, in the order in which a change is merged and summarised.
struct Config {
  std::string uuid, owner, created, updated;
  json::object values, memory, cpu, tags, registry, healthcheck, lifecycle_post_start, lifecycle_pre_stop,
      termination_grace_period;
};
struct ConfigMap {
  std::string_view name;  // in the API
  json::object Config::* map;
};
const std::vector<ConfigMap>& config_maps();

struct Build {
  std::string uuid, owner, image, sha, dockerfile, created, updated;
  json::object procfile;
  std::optional<int>
      port;  // that the image says it listens on; nullopt: its registry was not asked yet; 0: it says none
};
cluster::BuildKind kind_of(const Build& build);
std::vector<ProcessType> process_types_of(const Build& build);

struct Release {
  std::string uuid, owner, summary, state, created, updated;
  std::int64_t version = 0;
  std::optional<std::string> exception;
  Config config;
  std::optional<Build> build;
};

// `change` merged over `base`: a null takes a key away. Throws unprocessable for a key that is not there.
json::object merge_map(json::object base, const json::object& change, std::string_view map_name);
// Per type and per probe; a probe is replaced whole.
json::object merge_healthcheck(json::object base, const json::object& change);
// HEALTHCHECK_URL and its like, as users of the first platform set them, become probes of web/cmd.
void migrate_healthcheck_values(Config& config);

// What differs between two objects, key by key, as the event of a change tells it.
struct BeforeAfter {
  json::object before, after;
  bool operator==(const BeforeAfter&) const = default;
};
BeforeAfter object_difference(const json::object& before, const json::object& after);
// By map. Values and registry settings may be secrets: only their keys are told, with "***".
BeforeAfter config_difference(const Config& before, const Config& after);

// What a release says of itself; "" when nothing changed.
std::string change_summary(const std::string& who, const Config& before, const Config& after);
std::string build_summary(const Build& build);

// The process counts once `build` is deployed after `previous` (nullopt: nothing was).
json::object structure_after(const json::object& structure, const std::optional<Build>& previous, const Build& build,
                             bool remove_missing_types);

// Python's str() of a JSON value: what clients of the original were sent for non-text values.
std::string python_text(const json::value& value);

}  // namespace workflow::controller
