// record_event: Kubernetes Events, repeats counted in one object.
#include <algorithm>
#include <string_view>

#include "engine/fields.h"
#include "engine/store.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/utf8.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

constexpr std::size_t longest_message = 1024;

json::object reference_to(const json::object& object) {
  json::object reference{{"kind", text_at(object, {"kind"})},
                         {"name", kube::name_of(object)},
                         {"uid", kube::uid_of(object)},
                         {"apiVersion", text_at(object, {"apiVersion"})},
                         {"resourceVersion", text_at(object, {"metadata", "resourceVersion"})}};
  if (const auto ns = kube::namespace_of(object); !ns.empty()) reference["namespace"] = ns;
  return reference;
}

}  // namespace

Task<> record_event(Store& store, const Clock& clock, ObjectPtr object, std::string type, std::string reason,
                    std::string message, std::string component) {
  const auto& r = kube::resources::events;
  if (message.size() > longest_message)
    message = Utf8Stream().add(std::string_view(message).substr(0, longest_message));
  const auto uid = kube::uid_of(*object);
  auto ns = kube::namespace_of(*object);
  if (ns.empty()) ns = "default";
  const auto digest = sha256(uid + '\n' + type + '\n' + reason + '\n' + message + '\n' + component);
  const auto name = kube::name_of(*object).substr(0, 230) + "." + to_hex(std::string_view(digest).substr(0, 8));
  const auto now = rfc3339(clock.now());
  auto count_again = [&now](json::object& event) {
    event["count"] = integer_at(event, {"count"}).value_or(1) + 1;
    event["lastTimestamp"] = now;
    return true;
  };
  try {
    const auto repeated = co_await store.edit(r, ns, name, count_again);
    if (repeated) co_return;
    json::object event{{"metadata", json::object{{"name", name}, {"namespace", ns}}},
                       {"involvedObject", reference_to(*object)},
                       {"reason", reason},
                       {"message", message},
                       {"source", json::object{{"component", component}}},
                       {"firstTimestamp", now},
                       {"lastTimestamp", now},
                       {"count", 1},
                       {"type", type},
                       {"eventTime", nullptr},
                       {"reportingComponent", component},
                       {"reportingInstance", ""}};
    co_await store.create(r, std::move(event));
  } catch (const Error& error) {
    // The namespace is going, or two tell the same at once: an event is never worth a failure.
    const bool expected = error.kind() == ErrorKind::not_found || error.kind() == ErrorKind::forbidden ||
                          error.kind() == ErrorKind::conflict;
    if (!expected) log::warn("event not recorded", kv("reason", reason), kv("error", error.message()));
  }
}

}  // namespace workflow::engine
