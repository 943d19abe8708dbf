// src/slugbuilder/slugbuilder.h: one build: source archive → buildpack → slug in the object store.
//   Needs   presigned URLs for its objects, and no credentials; the buildpacks of the stack image; /tmp/env with a file
//           per config variable. Runs as the user that runs the app (uid 2000 in the stack image), never as root.
//   Speaks  HTTP to the object store; the classic buildpack interface (bin/detect, bin/compile, bin/release) to the
//           buildpacks.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "lib/async/task.h"
#include "lib/base/settings.h"
#include "lib/http/http.h"

namespace workflow::slugbuilder {

struct Config {
  // Presigned: whoever has them has the objects. Build scripts do not get to see them.
  std::optional<http::Url> tar_url;       // TAR_URL: the source; absent: what is in APP_DIR
  std::optional<http::Url> slug_put_url;  // SLUG_PUT_URL, PROCFILE_PUT_URL: the results; absent: nothing is uploaded
  std::optional<http::Url> procfile_put_url;
  std::optional<http::Url> digest_put_url;  // DIGEST_PUT_URL: of the slug's bytes, SHA-256 in hex
  std::optional<http::Url> cache_get_url;   // CACHE_GET_URL, CACHE_PUT_URL; absent: no cache
  std::optional<http::Url> cache_put_url;
  std::string buildpack_url;             // BUILDPACK_URL: git URL[#ref] or a .tgz URL; "": the stack's own buildpacks
  std::string source_version;            // SOURCE_VERSION: the commit
  std::string stack;                     // STACK: name told to buildpacks, default workflow-12
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
