#include "registry/registry.h"

#include <filesystem>

#include "lib/async/component.h"
#include "lib/async/process.h"
#include "lib/async/supervisor.h"
#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/http/health.h"

namespace workflow::registry {
namespace {

using namespace std::chrono_literals;

// A YAML double-quoted scalar: the same escapes as JSON for what can stand in a setting.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

Task<std::optional<std::string>> why_not_ready(http::Client& client, std::uint16_t port) {
  try {
    http::ClientRequest request{.url = *http::Url::parse("http://127.0.0.1:" + std::to_string(port) + "/v2/"),
                                .timeout = 2s};
    auto response = co_await client.send(std::move(request));
    if (response.status == 200) co_return std::nullopt;
    co_return "the registry answers " + std::to_string(response.status);
  } catch (const Error& error) {
    co_return error.message();
  }
}

// Runs docker-registry; its log goes to our output. A registry that ends on its own ends us too: the pod is restarted.
Task<> supervise(ChildProcess& child) {
  const int status = co_await exited(child);
  throw Error(ErrorKind::unavailable, "docker-registry ended with status " + std::to_string(status));
}

}  // namespace

Config Config::from(Env& env) {
  Config config;
  config.storage = env.text("REGISTRY_STORAGE", "filesystem");
  config.folder = env.text("REGISTRY_DIR", "/var/lib/workflow/registry");
  config.port = static_cast<std::uint16_t>(env.integer("REGISTRY_PORT", 5000, 1, 65535));
  config.health_port = static_cast<std::uint16_t>(env.integer("REGISTRY_HEALTH_PORT", 8092, 1, 65535));
  if (config.storage == "s3") {
    config.s3_endpoint = env.required("S3_ENDPOINT");
    config.s3_region = env.text("S3_REGION", "us-east-1");
    config.bucket = env.text("REGISTRY_BUCKET", "registry");
    config.access_key = env.secret_or_file("S3_ACCESS_KEY");
    config.secret_key = env.secret_or_file("S3_SECRET_KEY");
  } else if (config.storage != "filesystem") {
    env.problem("REGISTRY_STORAGE", "must be filesystem or s3, not \"" + config.storage + "\"");
  }
  return config;
}

std::string registry_yaml(const Config& config, const std::string& upload_secret) {
  std::string yaml =
      "version: 0.1\n"
      "log: {level: warn, formatter: logstash, accesslog: {disabled: true}}\n"
      "http:\n"
      "  addr: \":" +
      std::to_string(config.port) +
      "\"\n"
      "  secret: " +
      quoted(upload_secret) +
      "\n"
      "  headers: {X-Content-Type-Options: [nosniff]}\n"
      "health: {storagedriver: {enabled: true, interval: 10s, threshold: 3}}\n"
      "storage:\n"
      "  delete: {enabled: true}\n"
      "  cache: {blobdescriptor: inmemory}\n";
  if (config.storage == "s3") {
    yaml +=
        "  redirect: {disable: true}\n"  // clients may not reach the object store
        "  s3:\n"
        "    regionendpoint: " +
        quoted(config.s3_endpoint) +
        "\n"
        "    region: " +
        quoted(config.s3_region) +
        "\n"
        "    bucket: " +
        quoted(config.bucket) +
        "\n"
        "    accesskey: " +
        quoted(config.access_key.reveal()) +
        "\n"
        "    secretkey: " +
        quoted(config.secret_key.reveal()) +
        "\n"
        "    secure: " +
        std::string(config.s3_endpoint.starts_with("https:") ? "true" : "false") + "\n";
  } else {
    yaml += "  filesystem: {rootdirectory: " + quoted(config.folder) + "}\n";
  }
  return yaml;
}

Task<> serve(Executor executor, Config config) {
  if (config.storage == "filesystem") std::filesystem::create_directories(config.folder);
  TemporaryFolder folder;
  const auto file = (folder.path() / "config.yml").string();
  // Uploads that were begun before a restart cannot be told apart from forged ones, so clients begin them again.
  write_file_atomically(file, registry_yaml(config, random_hex(64)), 0600);
  ProcessSpec spec{.argv = {"docker-registry", "serve", file}, .die_with_parent = true};
  // It takes every REGISTRY_* variable for a setting of its own: it gets none of ours.
  // Its heap may grow by half between two collections, not to twice what is in use: it idles on a small machine.
  spec.env = std::map<std::string, std::string>{{"PATH", "/usr/bin:/bin"}, {"GOGC", "50"}};
  ChildProcess child(spec);
  http::Client client(executor);
  Supervisor supervisor(executor);
  auto pages = std::make_shared<http::Router>();
  http::add_health(*pages,
                   {.supervisor = supervisor, .why_not_ready = [&] { return why_not_ready(client, config.port); }});
  auto health = http::health_server(executor, config.health_port, pages);
  TaskGroup tasks(executor);
  tasks.spawn("health", health.serve());
  log::info("registry started", kv("storage", config.storage), kv("port", config.port));
  auto stop = [&]() -> Task<> {
    co_await stop_process(child, 20s);
    co_await tasks.stop();
  };
  co_await with_cleanup(supervise(child), stop);
}

int registry_main(int, char**) { return run_component<Config>("registry", serve); }

}  // namespace workflow::registry
