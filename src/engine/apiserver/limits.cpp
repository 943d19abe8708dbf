#include "engine/apiserver/limits.h"

#include <cstdint>
#include <functional>
#include <string_view>
#include <tuple>
#include <utility>

#include "engine/fields.h"
#include "engine/quantity.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

namespace res = kube::resources;

template <typename F>
void each_container(json::object& pod, F f) {
  auto& spec = child(pod, "spec");
  for (const auto* kind : {"initContainers", "containers"}) {
    if (!spec.contains(kind)) continue;
    for (auto& item : list(spec, kind)) {
      if (item.is_object()) f(item.get_object());
    }
  }
}

// One thing that asks for resources: a container, a pod or a claim.
struct Asker {
  std::string type;  // as the item's
  std::function<std::optional<std::int64_t>(std::string_view kind, std::string_view resource)> amount;
};

std::string usage(std::string_view how, std::string_view resource, const Asker& asker, std::string_view bound) {
  return std::string(how) + " " + std::string(resource) + " usage per " + asker.type + " is " + std::string(bound);
}

void check_least(const json::object& item, const Asker& asker, std::vector<std::string>& breaches) {
  for (const auto& [resource, value] : object_at(item, {"min"})) {
    const auto text = text_at(item, {"min", std::string_view(resource)});
    const auto least = quantity_in_thousandths(text).value_or(0);
    const auto request = asker.amount("requests", resource), limit = asker.amount("limits", resource);
    const auto said = usage("minimum", resource, asker, text);
    if (!request) {
      breaches.push_back(said + ".  No request is specified");
    } else if (*request < least) {
      breaches.push_back(said + ", but request is less");
    } else if (limit && *limit < least) {
      breaches.push_back(said + ", but limit is less");
    }
  }
}

void check_most(const json::object& item, const Asker& asker, std::vector<std::string>& breaches) {
  const bool of_claim = asker.type == "PersistentVolumeClaim";
  for (const auto& [resource, value] : object_at(item, {"max"})) {
    const auto text = text_at(item, {"max", std::string_view(resource)});
    const auto most = quantity_in_thousandths(text).value_or(0);
    const auto request = asker.amount("requests", resource), limit = asker.amount("limits", resource);
    const auto said = usage("maximum", resource, asker, text);
    if (!limit && !of_claim) {
      breaches.push_back(said + ".  No limit is specified");
    } else if (limit && *limit > most) {
      breaches.push_back(said + ", but limit is more");
    } else if (request && *request > most) {
      breaches.push_back(said + ", but request is more");
    }
  }
}

void check_ratio(const json::object& item, const Asker& asker, std::vector<std::string>& breaches) {
  for (const auto& [resource, value] : object_at(item, {"maxLimitRequestRatio"})) {
    const auto text = text_at(item, {"maxLimitRequestRatio", std::string_view(resource)});
    const auto ratio = quantity_in_thousandths(text).value_or(0);
    const auto request = asker.amount("requests", resource), limit = asker.amount("limits", resource);
    const auto said = std::string(resource) + " max limit to request ratio per " + asker.type + " is " + text;
    if (!request || *request == 0) {
      breaches.push_back(said + ", but no request is specified or request is 0");
    } else if (!limit || *limit == 0) {
      breaches.push_back(said + ", but no limit is specified or limit is 0");
    } else if (static_cast<double>(*limit) * 1000 / static_cast<double>(*request) > static_cast<double>(ratio)) {
      breaches.push_back(said + ", but provided ratio is more");
    }
  }
}

void check_item(const json::object& item, const Asker& asker, std::vector<std::string>& breaches) {
  check_least(item, asker, breaches);
  check_most(item, asker, breaches);
  check_ratio(item, asker, breaches);
}

// A pod asks for what its containers ask for together; for nothing where none of them names the resource.
std::optional<std::int64_t> amount_of_pod(const json::object& pod, std::string_view kind, std::string_view resource) {
  bool named = false;
  for (const auto* containers : {"initContainers", "containers"}) {
    for (const auto& item : array_at(pod, {"spec", containers}))
      named = named || value_at(item.as_object(), {"resources", kind, resource}) != nullptr;
  }
  return named ? std::optional(pod_amount(pod, kind, resource)) : std::nullopt;
}

}  // namespace

void default_limit_range(json::object& range) {
  for (auto& value : list(child(range, "spec"), "limits")) {
    if (!value.is_object() || text_at(value.get_object(), {"type"}) != "Container") continue;
    auto& item = value.get_object();
    const auto fill = [&item](const char* to, const char* from) {
      const auto amounts = object_at(item, {from});
      for (const auto& amount : amounts) {
        if (auto& target = child(item, to); !target.contains(amount.key())) target[amount.key()] = amount.value();
      }
    };
    fill("default", "max");
    fill("defaultRequest", "default");
    fill("defaultRequest", "min");
  }
}

std::vector<FieldProblem> problems_of_limit_range(const json::object& range) {
  std::vector<FieldProblem> problems;
  std::size_t i = 0;
  for (const auto& value : array_at(range, {"spec", "limits"})) {
    const auto path = "spec.limits[" + std::to_string(i++) + "]";
    if (!value.is_object()) continue;
    const auto& item = value.get_object();
    if (text_at(item, {"type"}).empty()) problems.push_back(required_field(path + ".type"));
    const auto in_order = [&](const char* less, const char* more) {
      for (const auto& [resource, amount] : object_at(item, {less})) {
        const std::string_view name = resource;
        const auto low = thousandths_at(item, {less, name}), high = thousandths_at(item, {more, name});
        if (!low || !high || *low <= *high) continue;
        problems.push_back(invalid_field(path + "." + less + "[" + std::string(name) + "]",
                                         json::value(text_at(item, {less, name})),
                                         std::string(less) + " value " + text_at(item, {less, name}) +
                                             " is greater than " + more + " value " + text_at(item, {more, name})));
      }
    };
    for (const auto& [less, more] : {std::pair{"min", "max"},
                                     {"min", "default"},
                                     {"min", "defaultRequest"},
                                     {"default", "max"},
                                     {"defaultRequest", "max"},
                                     {"defaultRequest", "default"}})
      in_order(less, more);
  }
  return problems;
}

void apply_limit_range(const json::object& range, json::object& pod) {
  std::vector<std::string> told;
  for (const auto& value : array_at(range, {"spec", "limits"})) {
    const auto& item = value.as_object();
    if (text_at(item, {"type"}) != "Container") continue;
    each_container(pod, [&](json::object& container) {
      for (const auto& [from, kind, word] :
           {std::tuple{"defaultRequest", "requests", "request"}, {"default", "limits", "limit"}}) {
        for (const auto& amount : object_at(item, {from})) {
          auto& target = child(child(container, "resources"), kind);
          if (target.contains(amount.key())) continue;
          target[amount.key()] = amount.value();
          told.push_back(std::string(amount.key()) + " " + word + " for container " + text_at(container, {"name"}));
        }
      }
    });
  }
  if (told.empty()) return;
  child(child(pod, "metadata"), "annotations")["kubernetes.io/limit-ranger"] =
      "LimitRanger plugin set: " + join(told, "; ");
}

std::vector<std::string> breaches_of(const json::object& range, const kube::Resource& r, const json::object& object) {
  std::vector<std::string> breaches;
  for (const auto& value : array_at(range, {"spec", "limits"})) {
    const auto& item = value.as_object();
    const auto type = text_at(item, {"type"});
    if (&r == &res::persistent_volume_claims && type == "PersistentVolumeClaim") {
      check_item(item,
                 {type, [&](auto kind,
                            auto resource) { return thousandths_at(object, {"spec", "resources", kind, resource}); }},
                 breaches);
    } else if (&r == &res::pods && type == "Pod") {
      check_item(item, {type, [&](auto kind, auto resource) { return amount_of_pod(object, kind, resource); }},
                 breaches);
    } else if (&r == &res::pods && type == "Container") {
      for (const auto* kind_of_container : {"initContainers", "containers"}) {
        for (const auto& one : array_at(object, {"spec", kind_of_container})) {
          check_item(
              item,
              {type, [&](auto kind,
                         auto resource) { return thousandths_at(one.as_object(), {"resources", kind, resource}); }},
              breaches);
        }
      }
    }
  }
  return breaches;
}

void admit_within_limits(const Store& store, const kube::Resource& r, json::object& object) {
  if (&r != &res::pods && &r != &res::persistent_volume_claims) return;
  const auto ranges = store.list(res::limit_ranges, kube::namespace_of(object));
  if (&r == &res::pods) {
    for (const auto& range : ranges) apply_limit_range(*range, object);
  }
  std::vector<std::string> breaches;
  for (const auto& range : ranges) {
    for (auto& breach : breaches_of(*range, r, object)) breaches.push_back(std::move(breach));
  }
  if (breaches.empty()) return;
  throw forbidden(r, kube::name_of(object), breaches.size() == 1 ? breaches[0] : "[" + join(breaches, ", ") + "]");
}

}  // namespace workflow::engine
