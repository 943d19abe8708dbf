#include "objectstore/objectstore.h"

#include "lib/async/component.h"
#include "lib/async/supervisor.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/http/health.h"
#include "lib/http/metrics.h"
#include "objectstore/api.h"
#include "objectstore/s3_error.h"
#include "objectstore/store.h"

namespace workflow::objectstore {

using namespace std::chrono_literals;

namespace {

constexpr auto forgotten_after = std::chrono::days(7);  // a multipart upload that nobody finishes

Task<> abort_forgotten_uploads(Store& store, const Clock& clock) {
  const auto count =
      co_await offload([&store, time = clock.now() - forgotten_after] { return store.abort_uploads_before(time); });
  if (count > 0) log::info("forgotten uploads removed", kv("count", count));
  co_await sleep_for(1h);
}

std::string metrics_text(const Store& store, const Api& api) {
  const auto usage = store.usage();
  http::Metrics metrics;
  auto gauge = [&metrics](const char* name, const char* help, std::uint64_t value) {
    metrics.gauge(name, help, [value] { return static_cast<double>(value); });
  };
  gauge("objectstore_buckets", "Buckets.", usage.buckets);
  gauge("objectstore_objects", "Objects.", usage.objects);
  gauge("objectstore_bytes", "Bytes of objects.", usage.bytes);
  gauge("objectstore_damaged_objects", "Objects whose description could not be read at start.", usage.damaged);
  gauge("objectstore_disk_free_bytes", "Bytes left on the disk.", usage.disk_free);
  return metrics.text() + api.metrics().text();
}

void create_buckets(Store& store, const std::vector<std::string>& names) {
  for (const auto& name : names) {
    try {
      store.create_bucket(name);
      log::info("bucket created", kv("bucket", name));
    } catch (const S3Error& error) {
      if (error.code() != "BucketAlreadyOwnedByYou") throw;
    }
  }
}

// Health pages stand beside the buckets; no bucket can have their names.
http::Handler handler_of(Api& api, const Store& store, const Supervisor& supervisor) {
  auto router = std::make_shared<http::Router>();
  http::add_health(*router, {.supervisor = supervisor, .metrics = [&] { return metrics_text(store, api); }});
  return [&api, health = http::handler_of(router)](http::Request& request) {
    const bool page = request.path == "/healthz" || request.path == "/readiness" || request.path == "/metrics";
    return page && (request.method == "GET" || request.method == "HEAD") ? health(request) : api.handle(request);
  };
}

}  // namespace

Config Config::from(Env& env) {
  Config config;
  config.folder = env.text("OBJECTSTORE_DIR", "/var/lib/workflow/objects");
  config.port = static_cast<std::uint16_t>(env.integer("OBJECTSTORE_PORT", 9000, 0, 65535));
  config.address = env.text("OBJECTSTORE_ADDRESS", "0.0.0.0");
  for (const auto& name : split(env.text("OBJECTSTORE_BUCKETS", "builder,registry,database"), ',')) {
    const std::string bucket(trim(name));
    if (bucket.empty()) continue;
    if (!is_bucket_name(bucket)) env.problem("OBJECTSTORE_BUCKETS", "not a bucket's name: " + bucket);
    config.buckets.push_back(bucket);
  }
  config.region = env.text("S3_REGION", "us-east-1");
  config.access_key = env.secret_or_file("S3_ACCESS_KEY");
  config.secret_key = env.secret_or_file("S3_SECRET_KEY");
  return config;
}

Task<> serve(Config config, const Clock& clock) {
  auto executor = co_await asio::this_coro::executor;
  auto store = co_await offload([&config, &clock] {
    auto opened = std::make_unique<Store>(config.folder, clock);
    create_buckets(*opened, config.buckets);
    return opened;
  });
  Api api(*store, {config.access_key.reveal(), config.secret_key}, config.region, clock);
  Supervisor supervisor(executor);
  http::Server server(executor, {.address = config.address, .port = config.port}, handler_of(api, *store, supervisor));
  log::info("ready", kv("port", server.port()), kv("folder", config.folder), kv("region", config.region));
  supervisor.keep("remove forgotten uploads", [&] { return abort_forgotten_uploads(*store, clock); },
                  {.role = Supervisor::Role::housekeeping});
  co_await with_cleanup(server.serve(), [&supervisor] { return supervisor.stop(); });
}

int objectstore_main(int, char**) {
  return run_component<Config>("objectstore", [](Executor, Config config) -> Task<> {
    const SystemClock clock;
    co_await serve(std::move(config), clock);
  });
}

}  // namespace workflow::objectstore
