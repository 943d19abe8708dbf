// src/slugbuilder/slugbuilder.h: one build: source archive → buildpack → slug in the object store.
//   Needs   the object store; the buildpacks of the stack image; /tmp/env with a file per config variable.
//   Speaks  S3; the classic buildpack interface (bin/detect, bin/compile, bin/release) to the buildpacks.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "lib/async/task.h"
#include "lib/base/settings.h"
#include "lib/s3/s3.h"

namespace workflow::slugbuilder {

struct Config {
  std::string tar_path;                  // TAR_PATH: key of the source; "": what is in /app
  std::string put_path;                  // PUT_PATH: prefix of the results; "": nothing is uploaded
  std::string cache_path;                // CACHE_PATH: prefix of the cache; "": no cache
  std::string buildpack_url;             // BUILDPACK_URL: git URL[#ref] or a .tgz URL; "": the stack's own buildpacks
  std::string source_version;            // SOURCE_VERSION: the commit
  std::string stack;                     // STACK: name told to buildpacks, default workflow-12
  std::string bucket;                    // BUILDER_BUCKET: default builder
  std::optional<s3::Endpoint> store;     // S3_ENDPOINT, S3_REGION, S3_ACCESS_KEY_FILE, S3_SECRET_KEY_FILE
  std::filesystem::path buildpacks_dir;  // BUILDPACKS_DIR: default /tmp/buildpacks
  std::filesystem::path env_dir;         // ENV_DIR: default /tmp/env
  std::filesystem::path app_dir;         // APP_DIR: default /app
  std::filesystem::path work_dir;        // WORK_DIR: build, cache and slug lie in it; default /tmp
  bool to_stdout = false;                // argument "-": the slug goes to standard output
  bool debug = false;                    // DEIS_BUILDPACK_DEBUG: show what detect says
  // Everything else that build scripts may see of our environment (PATH, proxies, certificate settings, …).
  std::map<std::string, std::string> build_env;
  static Config from(Env& env);
};

// Returns the exit status of the build: 0, or the failing script's. Throws Error for what is not a script's own
// failure.
Task<int> build(Executor executor, Config config);

int slugbuilder_main(int argc, char** argv);

}  // namespace workflow::slugbuilder
