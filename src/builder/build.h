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
  const Git& git;
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
  AppConfig config;
  Quarantine quarantine;
  bool drop_cache = false;  // what is stored is of an earlier app of that name
};

// Returns when the release serves. Throws Error with words for the pusher. Pod and secret are gone in the end, whatever
// happened. Fills in the phases upload, build and release.
Task<ReleaseVersion> build_and_release(Parts& parts, BuildJob job, Output& output, Phases& phases);

// Removes pods and secrets of builds that an earlier process did not end.
Task<> remove_leftovers(Parts& parts);

}  // namespace workflow::builder
