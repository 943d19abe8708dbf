// src/objectstore/objectstore.h: a durable S3 server on a local disk.
//   Owns    its folder: objects, each a file with its description and checksums; see store.h for the layout.
//   Needs   nothing else. Everything that keeps bytes talks to it: builder, registry, database.
//   Speaks  S3 over HTTP; /healthz, /readiness, /metrics without credentials.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lib/async/task.h"
#include "lib/base/clock.h"
#include "lib/base/settings.h"

namespace workflow::objectstore {

struct Config {
  std::string folder;                // OBJECTSTORE_DIR: where everything is kept
  std::uint16_t port = 9000;         // OBJECTSTORE_PORT
  std::string address;               // OBJECTSTORE_ADDRESS: what to listen on
  std::vector<std::string> buckets;  // OBJECTSTORE_BUCKETS: created at start when absent, comma-separated
  std::string region;                // S3_REGION
  Secret access_key, secret_key;     // S3_ACCESS_KEY_FILE, S3_SECRET_KEY_FILE
  static Config from(Env& env);
};

Task<> serve(Config config, const Clock& clock);  // returns when cancelled
int objectstore_main(int argc, char** argv);

}  // namespace workflow::objectstore
