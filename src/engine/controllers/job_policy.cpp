#include "engine/controllers/job_policy.h"

#include <algorithm>

#include "engine/fields.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

constexpr const char* index_name = "batch.kubernetes.io/job-completion-index";

// "Container main for pod shop/a failed with exit code 42"; nullopt when no container matches.
std::optional<std::string> matching_exit(const json::object& rule, const json::object& pod) {
  const auto only = text_at(rule, {"containerName"});
  const bool in = text_at(rule, {"operator"}) == "In";
  const auto& values = array_at(rule, {"values"});
  for (const auto* kind : {"initContainerStatuses", "containerStatuses"}) {
    for (const auto& item : array_at(pod, {"status", kind})) {
      const auto& status = item.as_object();
      const auto name = text_at(status, {"name"});
      const auto code = integer_at(status, {"state", "terminated", "exitCode"}).value_or(0);
      if (code == 0 || (!only.empty() && only != name)) continue;
      const bool named = std::ranges::find(values, json::value(code)) != values.end();
      if (named == in)
        return "Container " + name + " for pod " + kube::namespace_of(pod) + "/" + kube::name_of(pod) +
               " failed with exit code " + std::to_string(code);
    }
  }
  return std::nullopt;
}

std::optional<std::string> matching_condition(const json::array& patterns, const json::object& pod) {
  for (const auto& item : patterns) {
    const auto type = text_at(item.as_object(), {"type"});
    auto status = text_at(item.as_object(), {"status"});
    if (status.empty()) status = "True";
    for (const auto& condition : array_at(pod, {"status", "conditions"})) {
      if (text_at(condition.as_object(), {"type"}) == type && text_at(condition.as_object(), {"status"}) == status)
        return "Pod " + kube::namespace_of(pod) + "/" + kube::name_of(pod) + " has condition " + type;
    }
  }
  return std::nullopt;
}

}  // namespace

FailureVerdict failure_verdict(const json::object& job, const json::object& pod) {
  std::size_t number = 0;
  for (const auto& item : array_at(job, {"spec", "podFailurePolicy", "rules"})) {
    const auto& rule = item.as_object();
    const auto match = rule.contains("onExitCodes") ? matching_exit(object_at(rule, {"onExitCodes"}), pod)
                                                    : matching_condition(array_at(rule, {"onPodConditions"}), pod);
    const auto place = number++;
    if (!match) continue;
    const auto action = text_at(rule, {"action"});
    if (action == "FailJob")
      return {OnFailure::fail_job, *match + " matching FailJob rule at index " + std::to_string(place)};
    return {action == "Ignore" ? OnFailure::ignore : OnFailure::count, ""};
  }
  return {};
}

Indexes parse_indexes(std::string_view text) {
  Indexes indexes;
  if (text.empty()) return indexes;
  for (const auto& part : split(text, ',')) {
    const auto dash = part.find('-');
    const auto first = parse_integer(part.substr(0, dash));
    const auto last = dash == std::string::npos ? first : parse_integer(part.substr(dash + 1));
    if (!first || !last || *first < 0 || *last >= most_indexes) return {};
    for (auto i = *first; i <= *last; ++i) indexes.insert(i);
  }
  return indexes;
}

std::string print_indexes(const Indexes& indexes) {
  std::string text;
  for (auto at = indexes.begin(); at != indexes.end();) {
    const auto first = *at;
    auto last = first;
    while (++at != indexes.end() && *at == last + 1) ++last;
    text += (text.empty() ? "" : ",") + std::to_string(first);
    if (last > first) text += (last == first + 1 ? "," : "-") + std::to_string(last);
  }
  return text;
}

std::optional<std::int64_t> index_of(const json::object& pod) {
  const auto index = parse_integer(kube::annotation_of(pod, index_name));
  return index && *index >= 0 ? index : std::nullopt;
}

void give_index(json::object& pod, const std::string& job, std::int64_t index) {
  const auto text = std::to_string(index);
  auto& metadata = child(pod, "metadata");
  metadata["generateName"] = job + "-" + text + "-";
  for (const auto* kind : {"labels", "annotations"}) child(metadata, kind)[index_name] = text;
  auto& spec = child(pod, "spec");
  spec["hostname"] = job + "-" + text;
  for (const auto* kind : {"initContainers", "containers"}) {
    if (!spec.contains(kind)) continue;
    for (auto& item : list(spec, kind)) {
      auto& env = list(item.as_object(), "env");
      const bool has = std::ranges::any_of(
          env, [](const auto& one) { return text_at(one.as_object(), {"name"}) == "JOB_COMPLETION_INDEX"; });
      if (!has) env.push_back(json::object{{"name", "JOB_COMPLETION_INDEX"}, {"value", text}});
    }
  }
}

}  // namespace workflow::engine
