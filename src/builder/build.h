// src/builder/build.h: from a commit to a release: upload, build pod, log, release.
#pragma once
#include "builder/builder.h"
#include "builder/controller.h"
#include "builder/git.h"
#include "builder/output.h"
#include "lib/http/metrics.h"
#include "lib/kube/client.h"

namespace workflow::builder {

// What the builder works with; everything lives as long as the component.
struct Parts {
  Executor executor;
  const Config& config;
  Git& git;
  Controller& controller;
  kube::Client& kube;
  kube::Informer& build_pods;  // those with the label build_label
  kube::Informer& namespaces;  // of apps
  s3::Client& store;
  http::Metrics& metrics;
};

struct BuildJob {
  AppName app;
  UserName user;
  ObjectId commit;
  std::vector<RefUpdate> stores;  // what git must be able to store for the push to stand
  AppConfig config;
  Quarantine quarantine;
  bool drop_cache = false;  // what is stored is of an earlier app of that name
};

// What a build had, and nobody needs once it has ended.
struct Leftovers {
  std::string pod;                   // "": none
  std::vector<std::string> secrets;  // names
  std::vector<std::string> objects;  // keys
};
// As much of it as can be had: what stays is logged, and removed at the next start.
Task<> remove(Parts& parts, Leftovers leftovers);

// A slug that waits to be released.
struct Built {
  NewBuild build;
  std::string slug;     // its key
  Leftovers leftovers;  // the caller removes them
};
// Throws Error with words for the pusher, and then has left nothing. Fills in the phases upload and build.
Task<Built> build_slug(Parts& parts, BuildJob job, Output& output, Phases& phases);
// Returns when the release serves. Throws Error with words for the pusher: unavailable or timeout when it may yet come
// to serve. Fills in the phase release.
Task<ReleaseVersion> release(Parts& parts, NewBuild build, Output& output, Phases& phases);

// Removes pods and secrets of builds that an earlier process did not end.
Task<> remove_leftovers(Parts& parts);

}  // namespace workflow::builder
