// src/engine/apiserver/patch.h: the three kinds of patches that say what to change. Server-side apply is in apply.h.
//   Throw  ApiError 400 for a malformed patch, 422 for one that does not fit the object.
#pragma once
#include "engine/apiserver/schema.h"
#include "lib/json/json.h"

namespace workflow::engine {

json::object json_patched(const json::object& object, const json::value& patch);   // RFC 6902
json::object merge_patched(const json::object& object, const json::value& patch);  // RFC 7386
// Kubernetes' own: lists of objects are merged by their key, with the directives $patch, $retainKeys,
// $setElementOrder/<list> and $deleteFromPrimitiveList/<list>. `type` null: like a merge patch.
json::object strategic_patched(const TypeSchema* type, const json::object& object, const json::value& patch);

// RFC 7386 on any value, in place: nulls remove.
void merge_into(json::value& target, const json::value& patch);

}  // namespace workflow::engine
