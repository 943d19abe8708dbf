#include "engine/controllers/workload.h"

#include <algorithm>
#include <tuple>

#include "engine/fields.h"
#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"
#include "lib/kube/selectors.h"

namespace workflow::engine {

namespace {

constexpr std::string_view letters = "bcdfghjklmnpqrstvwxz2456789";

// JSON with sorted keys: equal values give equal text.
void print_sorted(const json::value& value, std::string& out) {
  if (value.is_object()) {
    std::vector<std::pair<std::string_view, const json::value*>> fields;
    for (const auto& [name, inner] : value.get_object()) fields.emplace_back(std::string_view(name), &inner);
    std::sort(fields.begin(), fields.end());
    out += '{';
    for (const auto& [name, inner] : fields) {
      out += name;
      out += ':';
      print_sorted(*inner, out);
      out += ',';
    }
    out += '}';
  } else if (value.is_array()) {
    out += '[';
    for (const auto& item : value.get_array()) {
      print_sorted(item, out);
      out += ',';
    }
    out += ']';
  } else {
    out += json::serialize(value);
  }
}

std::optional<Time> ready_since(const json::object& pod) {
  const auto conditions = kube::conditions_of(pod);
  const auto* ready = kube::find_condition(conditions, "Ready");
  return ready == nullptr || ready->status != "True" ? std::nullopt : ready->last_transition;
}

}  // namespace

std::string owner_named(const json::object& object, std::string_view kind) {
  for (const auto& owner : array_at(object, {"metadata", "ownerReferences"})) {
    if (owner.is_object() && text_at(owner.get_object(), {"kind"}) == kind)
      return text_at(owner.get_object(), {"name"});
  }
  return "";
}

bool selects(const json::object& owner, const json::object& object) {
  const auto* selector = value_at(owner, {"spec", "selector"});
  if (selector == nullptr) return false;
  const auto parsed = kube::LabelSelector::from_object(*selector);
  return parsed && !parsed->empty() && parsed->matches(value_at(object, {"metadata", "labels"}));
}

bool is_pod_available(const json::object& pod, std::int64_t min_ready_seconds, Time now,
                      std::optional<Time>* ready_at) {
  if (!kube::is_pod_ready(pod)) return false;
  if (min_ready_seconds == 0) return true;
  const auto since = ready_since(pod);
  if (!since) return false;
  const auto available = *since + std::chrono::seconds(min_ready_seconds);
  if (available <= now) return true;
  if (ready_at != nullptr && (!*ready_at || available < **ready_at)) *ready_at = available;
  return false;
}

bool is_pod_active(const json::object& pod) { return !kube::is_pod_finished(pod) && !kube::is_being_deleted(pod); }

json::object pod_from_template(const json::object& owner, const std::string& generate_name) {
  const auto& pod_template = object_at(owner, {"spec", "template"});
  json::object metadata{{"generateName", generate_name}, {"namespace", kube::namespace_of(owner)}};
  for (const auto* field : {"labels", "annotations", "finalizers"}) {
    if (const auto* value = value_at(pod_template, {"metadata", field})) metadata[field] = *value;
  }
  metadata["ownerReferences"] = json::array{kube::owner_reference_to(owner)};
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata", std::move(metadata)},
          {"spec", object_at(pod_template, {"spec"})},
          {"status", json::object{{"phase", "Pending"}}}};
}

std::string template_hash(const json::value& pod_template, std::int64_t collisions) {
  std::string text;
  print_sorted(pod_template, text);
  if (collisions > 0) text += std::to_string(collisions);
  const auto digest = sha256(text);
  std::string hash;
  for (std::size_t i = 0; i < 10; ++i) hash += letters[static_cast<unsigned char>(digest[i]) % letters.size()];
  return hash;
}

std::int64_t share_of(const json::value* value, std::int64_t total, Rounding rounding) {
  if (value == nullptr) return 0;
  if (value->is_int64()) return value->get_int64();
  if (!value->is_string()) return 0;
  auto text = view(value->get_string());
  if (text.ends_with('%')) text.remove_suffix(1);
  const auto percent = parse_integer(text).value_or(0);
  return (percent * total + (rounding == Rounding::up ? 99 : 0)) / 100;
}

const json::object* find_condition(const json::array& conditions, std::string_view type) {
  for (const auto& c : conditions) {
    if (c.is_object() && text_at(c.get_object(), {"type"}) == type) return &c.get_object();
  }
  return nullptr;
}

bool set_condition(json::array& conditions, const ConditionChange& change, Time now, bool with_update_time) {
  const auto* old = find_condition(conditions, change.type);
  const bool same_status = old != nullptr && text_at(*old, {"status"}) == change.status;
  if (same_status && text_at(*old, {"reason"}) == change.reason && text_at(*old, {"message"}) == change.message)
    return false;
  json::object next{{"type", change.type}, {"status", change.status}};
  if (with_update_time) next["lastUpdateTime"] = rfc3339(now);
  next["lastTransitionTime"] = same_status ? text_at(*old, {"lastTransitionTime"}) : rfc3339(now);
  next["reason"] = change.reason;
  next["message"] = change.message;
  for (auto& c : conditions) {
    if (c.is_object() && text_at(c.get_object(), {"type"}) == change.type) {
      c = std::move(next);
      return true;
    }
  }
  conditions.push_back(std::move(next));
  return true;
}

bool is_given_up_before(const json::object& a, const json::object& b) {
  const auto rank = [](const json::object& pod) {
    const auto phase = text_at(pod, {"status", "phase"});
    const int progress = text_at(pod, {"spec", "nodeName"}).empty() ? 0
                         : phase == "Pending" || phase.empty()      ? 1
                         : phase == "Unknown"                       ? 2
                                                                    : 3;
    const bool ready = kube::is_pod_ready(pod);
    const auto cost = parse_integer(kube::annotation_of(pod, "controller.kubernetes.io/pod-deletion-cost")).value_or(0);
    // The newest goes first, by when it became ready and by when it was made.
    const auto since = ready ? ready_since(pod).value_or(Time{}) : Time{};
    return std::tuple(progress, ready, cost, -since.time_since_epoch().count());
  };
  const auto ra = rank(a), rb = rank(b);
  if (ra != rb) return ra < rb;
  const auto ca = text_at(a, {"metadata", "creationTimestamp"}), cb = text_at(b, {"metadata", "creationTimestamp"});
  if (ca != cb) return ca > cb;
  return kube::name_of(a) < kube::name_of(b);
}

void set_counter(json::object& status, std::string_view name, std::int64_t value) {
  if (value == 0) {
    status.erase(key(name));
  } else {
    status[key(name)] = value;
  }
}

}  // namespace workflow::engine
