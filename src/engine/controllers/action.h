// src/engine/controllers/action.h: what a controller decided, as data.
#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/store.h"
#include "lib/base/error.h"

namespace workflow::engine {

struct Create {
  const kube::Resource* resource;
  json::object object;
};
// RFC 7386 on the stored object, if it is still the one with this uid ("": whichever).
struct Merge {
  const kube::Resource* resource;
  std::string ns, name, uid;
  json::object patch;
};
struct Remove {
  const kube::Resource* resource;
  std::string ns, name, uid;
  std::string propagation = "Background";
};
struct Emit {
  ObjectPtr about;
  std::string type, reason, message;
};
using Action = std::variant<Create, Merge, Remove, Emit>;
using Actions = std::vector<Action>;

// Merges that turn `before` into `after`; nothing when they are equal.
void merge_status(Actions& actions, const kube::Resource& r, const json::object& object, const json::object& status);
json::object merge_patch_between(const json::object& before, const json::object& after);

// The object with the patch in it.
void apply_merge(json::object& object, const Merge& merge);

// What became of a Create.
struct Created {
  ObjectPtr object;  // null when refused
  std::optional<Error> error;
};

// Everything that controllers need from the rest of the engine.
struct ControllerContext {
  Store& store;
  Clock& clock;
  std::string component;
  // Defaults and admission of what a controller makes, as the API server would; throws what it would say.
  std::function<Task<json::object>(const kube::Resource&, json::object)> admit;
};
// Begins all of them at once, in order, so that they are seen in order; returns when all are done. What is gone already
// is fine; so is a conflict of uid. The result has an entry per Create, in order.
Task<std::vector<Created>> perform(ControllerContext context, Actions actions);

}  // namespace workflow::engine
