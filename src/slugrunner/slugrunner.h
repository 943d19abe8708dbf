// src/slugrunner/slugrunner.h: the first process of an app's container: fetches the slug, becomes the app's init.
//   Needs   SLUG_URL, a presigned URL; or a slug already unpacked in /app; or one on standard input.
//   Speaks  HTTP(S) to the object store, once; signals to the app.
#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "lib/async/task.h"

namespace workflow::slugrunner {

// Downloads the slug, trying again when the network or the store fails, and unpacks it into `folder`. Throws not_found
// when the store does not have it (any more), forbidden when the URL's time has passed, invalid when its bytes are not
// those that the URL's digest (slug_name.h) names.
Task<> fetch_slug(Executor executor, std::string url, std::filesystem::path folder);

// Runs `command` with bash after the slug's .profile.d/* and .profile, in `folder`; forwards signals to it and all its
// children, collects orphans, and returns its exit status as a shell would say it.
int run_app(const std::string& command, const std::filesystem::path& folder,
            const std::map<std::string, std::string>& env);

// /runner/init start TYPE | COMMAND…
int slugrunner_main(int argc, char** argv);

}  // namespace workflow::slugrunner
