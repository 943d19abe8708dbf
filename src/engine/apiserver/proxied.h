// src/engine/apiserver/proxied.h: pods and Services reached through the API server:
// …/pods/[scheme:]name[:port]/proxy/path.
//   Rules  no credential of the caller goes on; loopback and link-local addresses are asked nothing, whatever an object
//          says.
#pragma once
#include "engine/apiserver/context.h"

namespace workflow::engine {

// The answer of whom the request is for, passed on while it comes.
Task<http::Response> proxied(Call& call);

}  // namespace workflow::engine
