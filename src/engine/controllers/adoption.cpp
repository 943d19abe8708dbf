#include "engine/controllers/adoption.h"

#include "engine/fields.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

Merge with_owners(const json::object& pod, json::value owners) {
  return {&kube::resources::pods, kube::namespace_of(pod), kube::name_of(pod), kube::uid_of(pod),
          json::object{{"metadata", json::object{{"ownerReferences", std::move(owners)}}}}};
}

}  // namespace

Merge adopt(const json::object& pod, const json::object& owner) {
  auto owners = array_at(pod, {"metadata", "ownerReferences"});
  owners.push_back(kube::owner_reference_to(owner));
  return with_owners(pod, std::move(owners));
}

Merge let_go(const json::object& pod, const std::string& uid) {
  json::array others;
  for (const auto& owner : array_at(pod, {"metadata", "ownerReferences"})) {
    if (owner.is_object() && text_at(owner.get_object(), {"uid"}) != uid) others.push_back(owner);
  }
  return with_owners(pod, others.empty() ? json::value() : json::value(std::move(others)));
}

}  // namespace workflow::engine
