// src/registry/registry.h: the managed image registry: Debian's docker-registry with a configuration of ours.
//   Owns    REGISTRY_DIR, or a bucket of the object store.
//   Needs   the program docker-registry.
//   Speaks  OCI distribution on REGISTRY_PORT; health on REGISTRY_HEALTH_PORT.
#pragma once
#include <cstdint>
#include <string>

#include "lib/async/task.h"
#include "lib/base/settings.h"

namespace workflow::registry {

struct Config {
  std::string storage;      // REGISTRY_STORAGE: filesystem (default) or s3
  std::string folder;       // REGISTRY_DIR: of the filesystem storage, default /var/lib/workflow/registry
  std::string s3_endpoint;  // S3_ENDPOINT, S3_REGION, REGISTRY_BUCKET, S3_ACCESS_KEY_FILE, S3_SECRET_KEY_FILE: of s3
  std::string s3_region, bucket;
  Secret access_key, secret_key;
  std::uint16_t port;         // REGISTRY_PORT: default 5000
  std::uint16_t health_port;  // REGISTRY_HEALTH_PORT: default 8092
  static Config from(Env& env);
};

// docker-registry's configuration file. Credentials are in it: it is written for us alone, and never logged.
std::string registry_yaml(const Config& config, const std::string& upload_secret);

Task<> serve(Executor executor, Config config);  // until cancelled; throws when docker-registry ends
int registry_main(int argc, char** argv);

}  // namespace workflow::registry
