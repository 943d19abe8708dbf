#include "engine/apiserver/views.h"

#include <initializer_list>
#include <utility>

#include "engine/fields.h"

namespace workflow::engine {

namespace {

void rename(json::object& object, std::string_view from, std::string_view to) {
  auto* value = object.if_contains(key(from));
  if (value == nullptr) return;
  json::value moved = std::move(*value);
  object.erase(key(from));
  object[key(to)] = std::move(moved);
}

bool is_cpu_utilization(const json::value& metric) {
  return metric.is_object() && text_at(metric.get_object(), {"type"}) == "Resource" &&
         text_at(metric.get_object(), {"resource", "name"}) == "cpu";
}

}  // namespace

json::object hpa_v1_from_v2(json::object hpa) {
  hpa["apiVersion"] = "autoscaling/v1";
  auto& spec = child(hpa, "spec");
  for (const auto& metric : array_at(spec, {"metrics"})) {
    if (!is_cpu_utilization(metric)) continue;
    if (const auto percent = integer_at(metric.get_object(), {"resource", "target", "averageUtilization"})) {
      spec["targetCPUUtilizationPercentage"] = *percent;
    }
  }
  spec.erase("metrics");
  spec.erase("behavior");
  if (auto* status = hpa.if_contains("status"); status != nullptr && status->is_object()) {
    auto& s = status->get_object();
    for (const auto& metric : array_at(s, {"currentMetrics"})) {
      if (!is_cpu_utilization(metric)) continue;
      if (const auto percent = integer_at(metric.get_object(), {"resource", "current", "averageUtilization"})) {
        s["currentCPUUtilizationPercentage"] = *percent;
      }
    }
    s.erase("currentMetrics");
    s.erase("conditions");
  }
  return hpa;
}

json::object hpa_v2_from_v1(json::object hpa) {
  hpa["apiVersion"] = "autoscaling/v2";
  auto& spec = child(hpa, "spec");
  if (const auto percent = integer_at(spec, {"targetCPUUtilizationPercentage"})) {
    json::object target{{"type", "Utilization"}, {"averageUtilization", *percent}};
    spec["metrics"] = json::array{
        json::object{{"type", "Resource"}, {"resource", json::object{{"name", "cpu"}, {"target", std::move(target)}}}}};
    spec.erase("targetCPUUtilizationPercentage");
  }
  if (auto* status = hpa.if_contains("status"); status != nullptr && status->is_object()) {
    status->get_object().erase("currentCPUUtilizationPercentage");
  }
  return hpa;
}

json::object events_v1_from_core(json::object event) {
  event["apiVersion"] = "events.k8s.io/v1";
  rename(event, "involvedObject", "regarding");
  rename(event, "message", "note");
  rename(event, "source", "deprecatedSource");
  rename(event, "firstTimestamp", "deprecatedFirstTimestamp");
  rename(event, "lastTimestamp", "deprecatedLastTimestamp");
  rename(event, "count", "deprecatedCount");
  rename(event, "reportingComponent", "reportingController");
  return event;
}

json::object core_event_from_events_v1(json::object event) {
  event["apiVersion"] = "v1";
  rename(event, "regarding", "involvedObject");
  rename(event, "note", "message");
  rename(event, "deprecatedSource", "source");
  rename(event, "deprecatedFirstTimestamp", "firstTimestamp");
  rename(event, "deprecatedLastTimestamp", "lastTimestamp");
  rename(event, "deprecatedCount", "count");
  rename(event, "reportingController", "reportingComponent");
  return event;
}

}  // namespace workflow::engine
