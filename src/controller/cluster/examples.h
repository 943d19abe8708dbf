// src/controller/cluster/examples.h: apps and releases for tests.
#pragma once
#include "controller/cluster/spec.h"

namespace workflow::controller::cluster {

inline ProcessType type(std::string_view text) { return *ProcessType::parse(text); }

inline AppSpec shop_app() {
  AppSpec app{.app = *AppName::parse("shop")};
  app.domains = {"shop"};
  return app;
}

inline Settings example_settings() {
  Settings s;
  s.slugrunner_image = "localhost/workflow/stack:test";
  s.image_pull_policy = "IfNotPresent";
  return s;
}

// A slug with one web process.
inline ReleaseSpec shop_release(std::int64_t version = 4) {
  ReleaseSpec r{.app = *AppName::parse("shop"), .version = {version}};
  r.summary = "alice deployed d3ccc05";
  r.created = *parse_rfc3339("2026-01-05T10:00:00Z");
  r.source_version = "d3ccc05f0000000000000000000000000000beef";
  r.slug_url =
      Secret("http://deis-objectstore.deis:9000/builder/home/shop:git-d3ccc05f/push/slug.tgz?X-Amz-Signature=1");
  r.processes[type("web")] = {.replicas = 1, .command = "node server.js"};
  return r;
}

inline ReleaseSpec image_release() {
  auto r = shop_release(7);
  r.build = BuildKind::image;
  r.image = "registry.example.com/shop:1.2";
  r.slug_url.reset();
  r.source_version.clear();
  r.port = 8080;
  r.processes.clear();
  r.processes[type("cmd")] = {.replicas = 3};
  return r;
}

}  // namespace workflow::controller::cluster
