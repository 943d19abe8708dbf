#include "engine/apiserver/access.h"

#include <algorithm>

#include "engine/fields.h"
#include "engine/store_rules.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;

bool lists(const json::object& rule, std::string_view field, std::string_view value) {
  for (const auto& entry : array_at(rule, {field})) {
    if (entry.is_string() && (view(entry.get_string()) == "*" || view(entry.get_string()) == value)) return true;
  }
  return false;
}

bool lists_resource(const json::object& rule, const Attributes& a) {
  const auto wanted = a.subresource.empty() ? a.resource : a.resource + "/" + a.subresource;
  for (const auto& entry : array_at(rule, {"resources"})) {
    if (!entry.is_string()) continue;
    const auto text = view(entry.get_string());
    if (text == "*" || text == wanted || (!a.subresource.empty() && text == "*/" + a.subresource)) return true;
  }
  return false;
}

bool lists_path(const json::object& rule, const std::string& path) {
  for (const auto& entry : array_at(rule, {"nonResourceURLs"})) {
    if (!entry.is_string()) continue;
    const auto text = view(entry.get_string());
    if (text == path || (text.ends_with('*') && path.starts_with(text.substr(0, text.size() - 1)))) return true;
  }
  return false;
}

std::vector<std::string> texts_of(const json::object& rule, std::string_view field) {
  std::vector<std::string> texts;
  for (const auto& entry : array_at(rule, {field})) {
    if (entry.is_string()) texts.emplace_back(entry.get_string());
  }
  return texts;
}

// Whether one rule that somebody holds gives everything that this combination would.
bool gives(const json::object& held, const std::string& verb, const std::string& group, const std::string& resource,
           const std::string& name) {
  if (!lists(held, "verbs", verb) || !lists(held, "apiGroups", group)) return false;
  const auto slash = resource.find('/');
  const bool listed = lists(held, "resources", resource) ||
                      (slash != std::string::npos && lists(held, "resources", "*" + resource.substr(slash)));
  if (!listed) return false;
  const auto names = texts_of(held, "resourceNames");
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

// Each is looked for in everything that somebody holds, so a role that multiplies out would hold the thread for long.
constexpr std::size_t most_combinations = 4096;
std::size_t combinations_of(const json::array& rules) {
  std::size_t sum = 0;
  for (const auto& entry : rules) {
    if (!entry.is_object()) continue;
    const auto count = [&](std::string_view field) {
      return std::min(array_at(entry.get_object(), {field}).size(), most_combinations + 1);
    };
    const auto names = std::max<std::size_t>(count("resourceNames"), 1);
    auto each = count("nonResourceURLs");
    each += std::min(count("apiGroups") * count("resources"), most_combinations + 1) * names;
    sum += std::min(count("verbs") * std::min(each, most_combinations + 1), most_combinations + 1);
  }
  return sum;
}

bool holds(const std::vector<const json::object*>& held, const json::object& wanted) {
  const auto any = [&held](const auto& gives_it) { return std::any_of(held.begin(), held.end(), gives_it); };
  auto names = texts_of(wanted, "resourceNames");
  if (names.empty()) names.emplace_back();  // every name: no rule with names gives that
  for (const auto& verb : texts_of(wanted, "verbs")) {
    for (const auto& path : texts_of(wanted, "nonResourceURLs")) {
      if (!any([&](const auto* rule) { return lists(*rule, "verbs", verb) && lists_path(*rule, path); })) return false;
    }
    for (const auto& group : texts_of(wanted, "apiGroups")) {
      for (const auto& resource : texts_of(wanted, "resources")) {
        for (const auto& name : names) {
          if (!any([&](const auto* rule) { return gives(*rule, verb, group, resource, name); })) return false;
        }
      }
    }
  }
  return true;
}

bool names_user(const json::object& binding, const User& user, const std::string& ns) {
  for (const auto& entry : array_at(binding, {"subjects"})) {
    if (!entry.is_object()) continue;
    const auto& subject = entry.get_object();
    const auto kind = text_at(subject, {"kind"}), name = text_at(subject, {"name"});
    if (kind == "User" && name == user.name) return true;
    if (kind == "Group" && user.is_in(name)) return true;
    if (kind == "ServiceAccount") {
      auto account_ns = text_at(subject, {"namespace"});
      if (account_ns.empty()) account_ns = ns;
      if (user.name == "system:serviceaccount:" + account_ns + ":" + name) return true;
    }
  }
  return false;
}

json::array words(std::initializer_list<std::string_view> list) {
  json::array result;
  for (const auto word : list) result.emplace_back(key(word));
  return result;
}

json::object rule(std::initializer_list<std::string_view> groups, std::initializer_list<std::string_view> resources,
                  std::initializer_list<std::string_view> verbs) {
  return {{"apiGroups", words(groups)}, {"resources", words(resources)}, {"verbs", words(verbs)}};
}

json::object cluster_role(std::string_view name, json::array rules) {
  auto role = kube::make_object(res::cluster_roles, "", name, {{"kubernetes.io/bootstrapping", "rbac-defaults"}});
  role["rules"] = std::move(rules);
  return role;
}

json::object cluster_binding(std::string_view name, std::string_view role, std::string_view group) {
  auto binding =
      kube::make_object(res::cluster_role_bindings, "", name, {{"kubernetes.io/bootstrapping", "rbac-defaults"}});
  binding["subjects"] =
      json::array{json::object{{"kind", "Group"}, {"apiGroup", "rbac.authorization.k8s.io"}, {"name", key(group)}}};
  binding["roleRef"] =
      json::object{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "ClusterRole"}, {"name", key(role)}};
  return binding;
}

// What an app's team works with.
json::array namespace_rules(std::initializer_list<std::string_view> verbs, bool with_secrets) {
  json::array rules;
  rules.push_back(rule({""},
                       {"bindings", "configmaps", "endpoints", "events", "persistentvolumeclaims", "pods", "pods/log",
                        "pods/status", "replicationcontrollers", "replicationcontrollers/scale", "serviceaccounts",
                        "services", "services/status", "limitranges", "resourcequotas", "resourcequotas/status"},
                       verbs));
  rules.push_back(rule({""}, {"namespaces"}, {"get", "list", "watch"}));
  rules.push_back(rule({"apps"}, {"*"}, verbs));
  rules.push_back(rule({"batch"}, {"*"}, verbs));
  rules.push_back(rule({"autoscaling"}, {"*"}, verbs));
  rules.push_back(rule({"networking.k8s.io"}, {"*"}, verbs));
  rules.push_back(rule({"policy"}, {"poddisruptionbudgets", "poddisruptionbudgets/status"}, verbs));
  rules.push_back(rule({"discovery.k8s.io"}, {"endpointslices"}, {"get", "list", "watch"}));
  rules.push_back(rule({"metrics.k8s.io"}, {"pods", "nodes"}, {"get", "list", "watch"}));
  if (with_secrets) {
    rules.push_back(rule({""}, {"secrets"}, verbs));
    rules.push_back(rule({""},
                         {"pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy",
                          "pods/eviction", "serviceaccounts/token"},
                         verbs));
    rules.push_back(rule({"coordination.k8s.io"}, {"leases"}, verbs));
  }
  return rules;
}

}  // namespace

bool User::is_in(std::string_view group) const {
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

User anonymous_user() { return {"system:anonymous", "", {"system:unauthenticated"}}; }

bool covers(const json::object& rule, const Attributes& a) {
  if (!lists(rule, "verbs", a.verb)) return false;
  if (!a.path.empty()) return lists_path(rule, a.path);
  if (!lists(rule, "apiGroups", a.group) || !lists_resource(rule, a)) return false;
  const auto& names = array_at(rule, {"resourceNames"});
  if (names.empty()) return true;
  return std::any_of(names.begin(), names.end(),
                     [&a](const json::value& n) { return n.is_string() && view(n.get_string()) == a.name; });
}

std::vector<const json::object*> rules_for(const Store& store, const User& user, const std::string& ns) {
  std::vector<const json::object*> rules;
  const auto add = [&rules](const ObjectPtr& role) {
    if (!role) return;
    for (const auto& entry : array_at(*role, {"rules"})) {
      if (entry.is_object()) rules.push_back(&entry.get_object());  // lives as long as the stored role
    }
  };
  for (const auto& binding : store.list(res::cluster_role_bindings)) {
    if (names_user(*binding, user, "")) add(store.find(res::cluster_roles, "", text_at(*binding, {"roleRef", "name"})));
  }
  if (ns.empty()) return rules;
  for (const auto& binding : store.list(res::role_bindings, ns)) {
    if (!names_user(*binding, user, ns)) continue;
    const auto name = text_at(*binding, {"roleRef", "name"});
    add(text_at(*binding, {"roleRef", "kind"}) == "ClusterRole" ? store.find(res::cluster_roles, "", name)
                                                                : store.find(res::roles, ns, name));
  }
  return rules;
}

Decision authorize(const Store& store, const User& user, const Attributes& attributes) {
  if (user.is_in("system:masters")) return {true, ""};
  for (const auto* rule : rules_for(store, user, attributes.ns)) {
    if (covers(*rule, attributes)) return {true, "RBAC: allowed by a role"};
  }
  return {false, ""};
}

std::optional<std::string> escalation(const Store& store, const User& user, const kube::Resource& r,
                                      const json::object& object) {
  const bool role = &r == &res::roles || &r == &res::cluster_roles;
  const bool binding = &r == &res::role_bindings || &r == &res::cluster_role_bindings;
  if ((!role && !binding) || user.is_in("system:masters")) return std::nullopt;
  const auto ns = kube::namespace_of(object);
  const bool cluster_wide = role ? &r == &res::cluster_roles : text_at(object, {"roleRef", "kind"}) == "ClusterRole";
  const auto name = role ? kube::name_of(object) : text_at(object, {"roleRef", "name"});
  const Attributes permit{.verb = role ? "escalate" : "bind",
                          .group = "rbac.authorization.k8s.io",
                          .resource = cluster_wide ? "clusterroles" : "roles",
                          .subresource = "",
                          .name = name,
                          .ns = ns,
                          .path = ""};
  if (authorize(store, user, permit).allowed) return std::nullopt;
  const auto bound = role           ? nullptr
                     : cluster_wide ? store.find(res::cluster_roles, "", name)
                                    : store.find(res::roles, ns, name);
  if (binding && !bound) {
    return qualified_name(cluster_wide ? res::cluster_roles : res::roles) + " \"" + name + "\" not found";
  }
  const auto& wanted = array_at(bound ? *bound : object, {"rules"});
  if (combinations_of(wanted) > most_combinations) {
    return "the rules have more than " + std::to_string(most_combinations) +
           " combinations of verbs, groups, resources and names, which are too many to be compared with what user \"" +
           user.name + "\" holds; grant them in several roles";
  }
  const auto held = rules_for(store, user, ns);
  std::vector<std::string> missing;
  for (const auto& entry : wanted) {
    if (entry.is_object() && !holds(held, entry.get_object())) missing.push_back(json::serialize(entry));
  }
  if (missing.empty()) return std::nullopt;
  return "user \"" + user.name + "\" (groups=[" + join(user.groups, " ") +
         "]) is attempting to grant RBAC permissions not currently held: " + join(missing, ", ");
}

std::string refusal(const User& user, const Attributes& a) {
  if (!a.path.empty()) return "User \"" + user.name + "\" cannot " + a.verb + " path \"" + a.path + "\"";
  const auto resource = a.subresource.empty() ? a.resource : a.resource + "/" + a.subresource;
  return "User \"" + user.name + "\" cannot " + a.verb + " resource \"" + resource + "\" in API group \"" + a.group +
         "\"" + (a.ns.empty() ? " at the cluster scope" : " in the namespace \"" + a.ns + "\"");
}

std::vector<std::pair<const kube::Resource*, json::object>> built_in_roles() {
  json::array everything{rule({"*"}, {"*"}, {"*"})};
  everything.push_back(json::object{{"nonResourceURLs", words({"*"})}, {"verbs", words({"*"})}});
  json::array self_service{
      rule({"authorization.k8s.io"}, {"selfsubjectaccessreviews", "selfsubjectrulesreviews"}, {"create"})};
  self_service.push_back(rule({"authentication.k8s.io"}, {"selfsubjectreviews"}, {"create"}));
  json::array discovery{json::object{
      {"nonResourceURLs", words({"/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/livez/*", "/openapi",
                                 "/openapi/*", "/readyz", "/readyz/*", "/version", "/version/"})},
      {"verbs", words({"get"})}}};
  json::array issuer{
      json::object{{"nonResourceURLs", words({"/.well-known/openid-configuration", "/.well-known/openid-configuration/",
                                              "/openid/v1/jwks", "/openid/v1/jwks/"})},
                   {"verbs", words({"get"})}}};
  // Every verb by name: "*" would hold escalate, bind and impersonate as well.
  const std::initializer_list<std::string_view> change{"create", "delete", "deletecollection", "get",
                                                       "list",   "patch",  "update",           "watch"};
  auto admin = namespace_rules(change, true);
  admin.push_back(rule({"rbac.authorization.k8s.io"}, {"roles", "rolebindings"}, change));
  const std::initializer_list<std::string_view> read{"get", "list", "watch"};
  std::vector<std::pair<const kube::Resource*, json::object>> result;
  result.emplace_back(&res::cluster_roles, cluster_role("cluster-admin", std::move(everything)));
  result.emplace_back(&res::cluster_roles, cluster_role("admin", std::move(admin)));
  result.emplace_back(&res::cluster_roles, cluster_role("edit", namespace_rules(change, true)));
  result.emplace_back(&res::cluster_roles, cluster_role("view", namespace_rules(read, false)));
  result.emplace_back(&res::cluster_roles, cluster_role("system:basic-user", std::move(self_service)));
  result.emplace_back(&res::cluster_roles, cluster_role("system:discovery", std::move(discovery)));
  result.emplace_back(&res::cluster_roles, cluster_role("system:service-account-issuer-discovery", std::move(issuer)));
  result.emplace_back(&res::cluster_role_bindings, cluster_binding("cluster-admin", "cluster-admin", "system:masters"));
  result.emplace_back(&res::cluster_role_bindings,
                      cluster_binding("system:basic-user", "system:basic-user", "system:authenticated"));
  result.emplace_back(&res::cluster_role_bindings,
                      cluster_binding("system:discovery", "system:discovery", "system:authenticated"));
  result.emplace_back(&res::cluster_role_bindings,
                      cluster_binding("system:service-account-issuer-discovery",
                                      "system:service-account-issuer-discovery", "system:serviceaccounts"));
  return result;
}

}  // namespace workflow::engine
