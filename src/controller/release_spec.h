// src/controller/release_spec.h: a release of the database as what the cluster should run.
#pragma once
#include "controller/api.h"

namespace workflow::controller {

struct ReleaseToRun {
  App app;
  Release release;         // with a build
  json::object structure;  // counts by process type
  json::object autoscale;  // rules by process type
};
// Reads the operator's credentials of a registry.
Task<cluster::ReleaseSpec> release_spec(const Parts& parts, ReleaseToRun what);
// Asks the image's registry once for the port that nobody else says. Throws unprocessable when the image is not there,
// or not for us.
Task<> find_port(const Parts& parts, cluster::ReleaseSpec& spec, Build build);
// Where a container fetches a slug; good for seven days.
Secret slug_url(const Parts& parts, const std::string& image);

}  // namespace workflow::controller
