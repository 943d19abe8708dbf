// src/engine/controllers/endpoints.h: which pods are behind a Service: Endpoints and EndpointSlices.
#pragma once
#include "engine/controllers/action.h"
#include "engine/controllers/workload.h"

namespace workflow::engine {

// `service` null: it is gone. `pods`: of the namespace; `slices` those labelled with the Service's name; `endpoints` of
// its name, or null. A Service without selector is left to whoever made it.
Actions plan_endpoints(const std::string& ns, const std::string& name, const ObjectPtr& service, const Objects& pods,
                       const Objects& slices, const ObjectPtr& endpoints);

// The endpoints of Service default/kubernetes: the API server itself.
Actions plan_api_endpoints(const std::vector<std::string>& addresses, int port, const Objects& slices,
                           const ObjectPtr& endpoints);

}  // namespace workflow::engine
