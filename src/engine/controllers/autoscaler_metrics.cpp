#include "engine/controllers/autoscaler_metrics.h"

#include <algorithm>
#include <cmath>

#include "engine/fields.h"
#include "engine/quantity.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

using namespace std::chrono_literals;
constexpr double tolerance = 0.1;
constexpr auto cpu_initialization = 5min;  // a starting pod's use of cpu says nothing about its load …
constexpr auto readiness_delay = 30s;      // … unless it became unready only later

// In thousandths: of a core, of a byte.
std::int64_t used_by(const Usage& usage, bool cpu) {
  return cpu ? static_cast<std::int64_t>(usage.cpu_nanocores / 1'000'000)
             : static_cast<std::int64_t>(usage.memory_bytes) * 1000;
}

struct PodFigures {
  std::int64_t used = 0, requested = 0;
};

struct Source {
  std::string resource, container;  // container "": all of the pod's
  bool cpu = false;
};

bool is_meant(const Source& source, std::string_view container) {
  return source.container.empty() || source.container == container;
}

std::optional<std::int64_t> use_of(const Source& source, const PodUsage& usage) {
  std::optional<std::int64_t> sum;
  for (const auto& [container, use] : usage.containers) {
    if (is_meant(source, container)) sum = sum.value_or(0) + used_by(use, source.cpu);
  }
  return sum;
}

// nullopt: a container has no request for it.
std::optional<std::int64_t> request_of(const Source& source, const json::object& pod) {
  std::int64_t sum = 0;
  for (const auto& item : array_at(pod, {"spec", "containers"})) {
    if (!item.is_object() || !is_meant(source, text_at(item.get_object(), {"name"}))) continue;
    const auto amount = thousandths_at(item.get_object(), {"resources", "requests", source.resource});
    if (!amount) return std::nullopt;
    sum += *amount;
  }
  return sum;
}

// Whether the pod's use of cpu is that of its start.
bool is_warming_up(const json::object& pod, Time now) {
  const auto conditions = kube::conditions_of(pod);
  const auto* ready = kube::find_condition(conditions, "Ready");
  const auto started = parse_rfc3339(text_at(pod, {"status", "startTime"}));
  if (ready == nullptr || !started) return true;
  if (*started + cpu_initialization > now) return ready->status == "False";
  return ready->status == "False" && ready->last_transition && *started + readiness_delay > *ready->last_transition;
}

struct Pods {
  std::vector<PodFigures> counted;
  std::vector<std::int64_t> warming, missing;  // their requests
};

double ratio_of(const std::vector<PodFigures>& pods, std::optional<std::int64_t> percent, std::int64_t average) {
  std::int64_t used = 0, requested = 0;
  for (const auto& pod : pods) {
    used += pod.used;
    requested += pod.requested;
  }
  if (percent)
    return requested == 0
               ? 1.0
               : 100.0 * static_cast<double>(used) / static_cast<double>(requested) / static_cast<double>(*percent);
  return static_cast<double>(used) / static_cast<double>(pods.size()) / static_cast<double>(average);
}

bool is_close(double ratio) { return std::abs(1.0 - ratio) <= tolerance; }

// What is not known is assumed so that it holds back: little use when more pods seem to be needed, full use when fewer.
std::int64_t replicas_for(const Pods& pods, std::optional<std::int64_t> percent, std::int64_t average,
                          std::int64_t replicas) {
  const auto first = ratio_of(pods.counted, percent, average);
  const bool growing = first > 1.0;
  const auto up = [](double count) { return static_cast<std::int64_t>(std::ceil(count - 1e-9)); };
  if (pods.missing.empty() && (pods.warming.empty() || !growing)) {
    return is_close(first) ? replicas : up(first * static_cast<double>(pods.counted.size()));
  }
  auto all = pods.counted;
  for (const auto request : pods.missing) {
    const auto full = percent ? request * std::max<std::int64_t>(100, *percent) / 100 : average;
    if (first < 1.0) all.push_back({full, request});
    if (growing) all.push_back({0, request});
  }
  if (growing) {
    for (const auto request : pods.warming) all.push_back({0, request});
  }
  const auto ratio = ratio_of(all, percent, average);
  if (is_close(ratio) || (first < 1.0 && ratio > 1.0) || (growing && ratio < 1.0)) return replicas;
  const auto wanted = up(ratio * static_cast<double>(all.size()));
  if ((ratio < 1.0 && wanted > replicas) || (ratio > 1.0 && wanted < replicas)) return replicas;
  return wanted;
}

std::string quantity_text(std::int64_t thousandths, bool cpu) {
  return cpu ? std::to_string(thousandths) + "m" : std::to_string(thousandths / 1000);
}

}  // namespace

MetricResult ask_metric(const json::object& metric, const Objects& pods, const std::map<std::string, PodUsage>& usage,
                        std::int64_t replicas, Time now) {
  MetricResult result;
  const auto type = text_at(metric, {"type"});
  const bool of_container = type == "ContainerResource";
  if (type != "Resource" && !of_container) {
    result.problem = "metrics of type " + type + " are not supported; use Resource or ContainerResource";
    return result;
  }
  const std::string field = of_container ? "containerResource" : "resource";
  const Source source{text_at(metric, {field, "name"}), of_container ? text_at(metric, {field, "container"}) : "",
                      text_at(metric, {field, "name"}) == "cpu"};
  if (!source.cpu && source.resource != "memory") {
    result.problem = "only cpu and memory are measured, not " + source.resource;
    return result;
  }
  const auto percent = integer_at(metric, {field, "target", "averageUtilization"});
  const auto average = thousandths_at(metric, {field, "target", "averageValue"});
  if ((!percent || *percent < 1) && (!average || *average < 1)) {
    result.problem = "invalid metric: neither averageUtilization nor averageValue is set";
    return result;
  }
  const auto base = source.resource + (of_container ? " container" : "") + " resource";
  result.what = base + (percent ? " utilization (percentage of request)" : "");
  Pods sorted;
  for (const auto& pod : pods) {
    if (kube::is_being_deleted(*pod) || kube::is_pod_finished(*pod)) continue;
    std::int64_t request = 0;
    if (percent) {
      const auto known = request_of(source, *pod);
      if (!known) {
        result.problem = "missing request for " + source.resource + " in container of Pod " + kube::name_of(*pod);
        return result;
      }
      request = *known;
    }
    const auto found = usage.find(kube::name_of(*pod));
    const auto used = found == usage.end() ? std::nullopt : use_of(source, found->second);
    if (text_at(*pod, {"status", "phase"}) == "Pending" || (used && source.cpu && is_warming_up(*pod, now))) {
      sorted.warming.push_back(request);
    } else if (!used) {
      sorted.missing.push_back(request);
    } else {
      sorted.counted.push_back({*used, request});
    }
  }
  if (sorted.counted.empty()) {
    result.problem = "unable to get metrics for resource " + source.resource + ": no metrics of ready pods yet";
    return result;
  }
  std::int64_t used = 0, requested = 0;
  for (const auto& pod : sorted.counted) {
    used += pod.used;
    requested += pod.requested;
  }
  json::object current{
      {"averageValue", quantity_text(used / static_cast<std::int64_t>(sorted.counted.size()), source.cpu)}};
  if (percent && requested > 0) current["averageUtilization"] = used * 100 / requested;
  json::object where{{"name", source.resource}, {"current", std::move(current)}};
  if (of_container) where["container"] = source.container;
  result.current = {{"type", type}, {key(field), std::move(where)}};
  result.replicas = replicas_for(sorted, percent, average.value_or(0), replicas);
  return result;
}

}  // namespace workflow::engine
