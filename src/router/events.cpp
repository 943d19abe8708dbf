#include "router/events.h"

#include <algorithm>

#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/utf8.h"

namespace workflow::router {
namespace {

constexpr std::size_t longest_message = 1000, most_at_once = 200;

std::string namespace_of(const Problem& problem) { return problem.service.substr(0, problem.service.find('/')); }
std::string name_of(const Problem& problem) { return problem.service.substr(problem.service.find('/') + 1); }

}  // namespace

json::object event_for(const Problem& problem, Time now) {
  const auto ns = namespace_of(problem), name = name_of(problem);
  const auto digest = to_hex(sha256(problem.service + '\n' + problem.key + '\n' + problem.what)).substr(0, 16);
  const bool is_router = name == "deis-router", is_secret = name == "deis-router-platform-cert";
  const auto time = rfc3339(now);
  return {{"apiVersion", "v1"},
          {"kind", "Event"},
          {"metadata", json::object{{"name", name.substr(0, 230) + "." + digest}, {"namespace", ns}}},
          {"involvedObject", json::object{{"kind", is_router   ? "Deployment"
                                                   : is_secret ? "Secret"
                                                               : "Service"},
                                          {"apiVersion", is_router ? "apps/v1" : "v1"},
                                          {"namespace", ns},
                                          {"name", name}}},
          {"type", "Warning"},
          {"reason", "AnnotationNotHonoured"},
          {"message", valid_utf8((problem.key + " " + problem.what).substr(0, longest_message))},
          {"source", json::object{{"component", "deis-router"}}},
          {"firstTimestamp", time},
          {"lastTimestamp", time},
          {"count", 1}};
}

Task<> record(kube::Client& client, std::vector<Problem> problems, Time now) {
  problems.resize(std::min(problems.size(), most_at_once));
  for (const auto& problem : problems) {
    try {
      co_await client.create(kube::resources::events, namespace_of(problem), event_for(problem, now));
    } catch (const Error& error) {
      // It is there already, perhaps from another replica; or its namespace is going.
      const bool expected = error.kind() == ErrorKind::conflict || error.kind() == ErrorKind::not_found;
      if (!expected) log::warn("event not recorded", kv("service", problem.service), kv("error", error.message()));
    }
  }
}

}  // namespace workflow::router
