#include "controller/model.h"

#include <algorithm>
#include <charconv>

#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

// Names of what was added, changed and deleted between two maps.
struct Difference {
  std::vector<std::string> added, changed, deleted;
  bool empty() const { return added.empty() && changed.empty() && deleted.empty(); }
};

Difference difference(const json::object& before, const json::object& after) {
  Difference out;
  for (const auto& [key, value] : after) {
    const auto* old = before.if_contains(key);
    if (!old)
      out.added.emplace_back(key);
    else if (*old != value)
      out.changed.emplace_back(key);
  }
  for (const auto& [key, value] : before) {
    if (!after.contains(key)) out.deleted.emplace_back(key);
  }
  for (auto* names : {&out.added, &out.changed, &out.deleted}) std::ranges::sort(*names);
  return out;
}

// "added A, B, changed C": only the clauses that apply.
std::string clauses(const Difference& difference, const std::string& what) {
  std::vector<std::string> parts;
  for (const auto& [verb, names] :
       {std::pair{"added", &difference.added}, {"changed", &difference.changed}, {"deleted", &difference.deleted}}) {
    if (!names->empty()) parts.push_back(std::string(verb) + " " + what + join(*names, ", "));
  }
  return join(parts, ", ");
}

}  // namespace

const std::vector<ConfigMap>& config_maps() {
  static const std::vector<ConfigMap> maps = {
      {"cpu", &Config::cpu},
      {"memory", &Config::memory},
      {"tags", &Config::tags},
      {"registry", &Config::registry},
      {"values", &Config::values},
      {"lifecycle_post_start", &Config::lifecycle_post_start},
      {"lifecycle_pre_stop", &Config::lifecycle_pre_stop},
      {"termination_grace_period", &Config::termination_grace_period},
      {"healthcheck", &Config::healthcheck},
  };
  return maps;
}

cluster::BuildKind kind_of(const Build& build) {
  if (!build.dockerfile.empty()) return cluster::BuildKind::dockerfile;
  return build.sha.empty() ? cluster::BuildKind::image : cluster::BuildKind::slug;
}

std::vector<ProcessType> process_types_of(const Build& build) {
  std::vector<ProcessType> types;
  for (const auto& [name, command] : build.procfile) {
    if (auto type = ProcessType::parse(std::string(name))) types.push_back(*type);
  }
  return types;
}

bool TokenPower::covers(std::string_view app) const { return !apps || std::ranges::find(*apps, app) != apps->end(); }

BeforeAfter object_difference(const json::object& before, const json::object& after) {
  BeforeAfter told;
  for (const auto& [key, value] : before) {
    const auto* now = after.if_contains(key);
    if (!now || *now != value) told.before[key] = value;
  }
  for (const auto& [key, value] : after) {
    const auto* then = before.if_contains(key);
    if (!then || *then != value) told.after[key] = value;
  }
  return told;
}

BeforeAfter config_difference(const Config& before, const Config& after) {
  BeforeAfter told;
  for (const auto& [name, map] : config_maps()) {
    auto of_map = object_difference(before.*map, after.*map);
    const bool is_secret = name == "values" || name == "registry";
    for (auto* side : {&of_map.before, &of_map.after}) {
      if (!is_secret) continue;
      for (auto& [key, value] : *side) value = "***";
    }
    if (of_map == BeforeAfter{}) continue;
    told.before[name] = std::move(of_map.before);
    told.after[name] = std::move(of_map.after);
  }
  return told;
}

json::object merge_map(json::object base, const json::object& change, std::string_view map_name) {
  for (const auto& [key, value] : change) {
    if (!value.is_null()) {
      base[key] = value;
    } else if (base.erase(key) == 0) {
      throw Error(ErrorKind::unprocessable, std::string(key) + " does not exist under " + std::string(map_name));
    }
  }
  return base;
}

json::object merge_healthcheck(json::object base, const json::object& change) {
  for (const auto& [type, probes] : change) {
    auto absent = [&type]() {
      return Error(ErrorKind::unprocessable, std::string(type) + " does not exist under healthcheck");
    };
    if (probes.is_null()) {
      if (base.erase(type) == 0) throw absent();
      continue;
    }
    json::object merged;
    if (const auto* old = base.if_contains(type); old && old->is_object()) merged = old->get_object();
    for (const auto& [probe, setting] : probes.as_object()) {
      if (!setting.is_null())
        merged[probe] = setting;
      else if (merged.erase(probe) == 0)
        throw absent();
    }
    base[type] = std::move(merged);
  }
  return base;
}

void migrate_healthcheck_values(Config& config) {
  const auto* url = config.values.if_contains("HEALTHCHECK_URL");
  if (!url) return;
  auto number = [&](std::string_view name, std::int64_t fallback) {
    return parse_integer(find_string(config.values, {name}).value_or("")).value_or(fallback);
  };
  json::object probe{{"httpGet", {{"path", *url}}},
                     {"initialDelaySeconds", number("HEALTHCHECK_INITIAL_DELAY", 50)},
                     {"timeoutSeconds", number("HEALTHCHECK_TIMEOUT", 50)},
                     {"periodSeconds", number("HEALTHCHECK_PERIOD_SECONDS", 10)},
                     {"successThreshold", number("HEALTHCHECK_SUCCESS_THRESHOLD", 1)},
                     {"failureThreshold", number("HEALTHCHECK_FAILURE_THRESHOLD", 3)}};
  json::object liveness = probe;
  liveness["successThreshold"] = 1;
  config.healthcheck["web/cmd"] = json::object{{"livenessProbe", liveness}, {"readinessProbe", probe}};
  std::vector<std::string> doomed;
  for (const auto& [key, value] : config.values) {
    if (std::string_view(key).starts_with("HEALTHCHECK_")) doomed.emplace_back(key);
  }
  for (const auto& key : doomed) config.values.erase(key);
}

std::string change_summary(const std::string& who, const Config& before, const Config& after) {
  std::vector<std::string> parts;
  auto add = [&](const std::string& text) {
    if (!text.empty()) parts.push_back(who + " " + text);
  };
  add(clauses(difference(before.values, after.values), ""));
  std::vector<std::string> limits;
  if (before.memory != after.memory) limits.emplace_back("memory");
  if (before.cpu != after.cpu) limits.emplace_back("cpu");
  if (!limits.empty()) add("changed limits for " + join(limits, ", "));
  add(clauses(difference(before.lifecycle_post_start, after.lifecycle_post_start), "lifecycle_post_start "));
  add(clauses(difference(before.lifecycle_pre_stop, after.lifecycle_pre_stop), "lifecycle_pre_stop "));
  if (before.termination_grace_period != after.termination_grace_period)
    add("changed timeouts for termination_grace_period");
  add(clauses(difference(before.tags, after.tags), "tag "));
  add(clauses(difference(before.registry, after.registry), "registry info "));
  add(clauses(difference(before.healthcheck, after.healthcheck), "healthcheck info for proc type "));
  return join(parts, " and ");
}

std::string build_summary(const Build& build) {
  return build.owner + " deployed " + (build.sha.empty() ? build.image : build.sha.substr(0, 7));
}

json::object structure_after(const json::object& structure, const std::optional<Build>& previous, const Build& build,
                             bool remove_missing_types) {
  json::object counts = structure;
  if (previous && !previous->procfile.empty() && (!build.procfile.empty() || remove_missing_types)) {
    for (const auto& [type, command] : previous->procfile) {
      if (!build.procfile.contains(type) && counts.contains(type)) counts[type] = 0;
    }
  }
  const bool first = counts.empty();
  const bool other_kind = previous && kind_of(*previous) != kind_of(build);
  if (!first && !other_kind) return counts;
  if (other_kind) {
    for (const char* type : {"cmd", "web"}) {
      if (counts.contains(type)) counts[type] = 0;
    }
  }
  for (const auto& [type, count] : cluster::default_structure(kind_of(build), process_types_of(build))) {
    counts[type.text()] = count;
  }
  return counts;
}

std::string python_text(const json::value& value) {
  switch (value.kind()) {
    case json::kind::string: return std::string(value.get_string());
    case json::kind::bool_: return value.get_bool() ? "True" : "False";
    case json::kind::null: return "None";
    case json::kind::double_: {
      char buffer[32];
      const auto end = std::to_chars(buffer, buffer + sizeof buffer, value.get_double()).ptr;
      const std::string text(buffer, end);
      return text.find_first_not_of("-0123456789") == std::string::npos ? text + ".0" : text;
    }
    default: return json::serialize(value);
  }
}

}  // namespace workflow::controller
