// src/engine/apiserver/views.h: the same object in another API version.
#pragma once
#include "lib/json/json.h"

namespace workflow::engine {

json::object hpa_v1_from_v2(json::object hpa);
json::object hpa_v2_from_v1(json::object hpa);
json::object events_v1_from_core(json::object event);
json::object core_event_from_events_v1(json::object event);

}  // namespace workflow::engine
