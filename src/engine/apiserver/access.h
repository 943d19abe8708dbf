// src/engine/apiserver/access.h: who may do what: RBAC, evaluated on every request.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/store.h"

namespace workflow::engine {

struct User {
  std::string name, uid;
  std::vector<std::string> groups;
  std::vector<std::pair<std::string, std::string>> extra{};  // what else its credential tells
  bool is_in(std::string_view group) const;
};
User anonymous_user();

struct Attributes {
  std::string verb;
  std::string group, resource, subresource, name, ns;
  std::string path;  // of what is no resource; then the others are empty
};

// Whether one rule of a Role or ClusterRole covers the attributes.
bool covers(const json::object& rule, const Attributes& attributes);

// All rules that bind `user` in namespace `ns` ("": cluster-wide only).
std::vector<const json::object*> rules_for(const Store& store, const User& user, const std::string& ns);

struct Decision {
  bool allowed = false;
  std::string reason;
};
Decision authorize(const Store& store, const User& user, const Attributes& attributes);

// Why `user` may not write this role or binding: it would hand out more than the user has, and no role lets the user
// `escalate` or `bind`. nullopt when it may be written.
std::optional<std::string> escalation(const Store& store, const User& user, const kube::Resource& r,
                                      const json::object& object);

// "User "x" cannot list resource "pods" in API group "" in the namespace "y""
std::string refusal(const User& user, const Attributes& attributes);

// The roles and bindings that every cluster has: cluster-admin, admin, edit, view, discovery for whoever is known.
std::vector<std::pair<const kube::Resource*, json::object>> built_in_roles();

}  // namespace workflow::engine
