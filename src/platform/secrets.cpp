#include "platform/secrets.h"

#include <filesystem>

#include "lib/async/process.h"
#include "lib/base/encoding.h"
#include "lib/base/file.h"

namespace workflow::platform {
namespace {

namespace fs = std::filesystem;

json::object labelled(std::string kind, const std::string& name) {
  return {{"apiVersion", "v1"},
          {"kind", std::move(kind)},
          {"metadata", {{"name", name}, {"namespace", platform_namespace}, {"labels", {{"heritage", "deis"}}}}}};
}

Task<> create_secret(kube::Client& client, std::string name, std::map<std::string, std::string> fields) {
  auto secret = labelled("Secret", name);
  json::object data;
  for (const auto& [key, value] : fields) data[key] = to_base64(value);
  secret["type"] = "Opaque";
  secret["data"] = std::move(data);
  co_await client.create(kube::resources::secrets, platform_namespace, std::move(secret));
}

Task<std::string> new_ssh_key(std::string type) {
  TemporaryFolder folder;
  const auto file = (folder.path() / "key").string();
  ProcessSpec keygen{.argv = {"ssh-keygen", "-q", "-t", type, "-N", "", "-C", "workflow", "-f", file}};
  keygen.out = ProcessSpec::Stream::pipe;
  keygen.err = ProcessSpec::Stream::pipe;
  auto made = co_await run(std::move(keygen), std::chrono::seconds(30));
  if (made.status != 0) throw Error(ErrorKind::internal, "ssh-keygen could not make a host key: " + made.err);
  co_return read_file(file);
}

}  // namespace

Task<> ensure_secrets(kube::Client& client) {
  if (!co_await client.find(kube::resources::namespaces, "", platform_namespace)) {
    json::object ns{{"apiVersion", "v1"},
                    {"kind", "Namespace"},
                    {"metadata", {{"name", platform_namespace}, {"labels", {{"heritage", "deis"}}}}}};
    co_await client.create(kube::resources::namespaces, "", std::move(ns));
  }
  auto absent = [&client](std::string name) -> Task<bool> {
    auto found = co_await client.find(kube::resources::secrets, platform_namespace, std::move(name));
    co_return !found;
  };
  if (co_await absent("database-creds")) {
    std::map<std::string, std::string> fields{{"user", "workflow"}, {"password", random_alphanumeric(32)}};
    co_await create_secret(client, "database-creds", std::move(fields));
  }
  if (co_await absent("builder-key-auth")) {
    std::map<std::string, std::string> fields{{"builder-key", random_alphanumeric(64)}};
    co_await create_secret(client, "builder-key-auth", std::move(fields));
  }
  if (co_await absent("django-secret-key")) {
    std::map<std::string, std::string> fields{{"secret-key", random_alphanumeric(64)}};
    co_await create_secret(client, "django-secret-key", std::move(fields));
  }
  if (co_await absent("objectstorage-keyfile")) {
    std::map<std::string, std::string> fields{{"accesskey", random_alphanumeric(20)},
                                              {"secretkey", random_alphanumeric(40)}};
    co_await create_secret(client, "objectstorage-keyfile", std::move(fields));
  }
  if (co_await absent("builder-ssh-private-keys")) {
    std::map<std::string, std::string> fields;
    for (const std::string type : {"rsa", "ecdsa", "ed25519"}) {
      auto key = co_await new_ssh_key(type);
      fields.emplace("ssh-host-" + type + "-key", std::move(key));
    }
    co_await create_secret(client, "builder-ssh-private-keys", std::move(fields));
  }
}

Task<> publish_certificate_authorities(kube::Client& client) {
  const std::string name = "workflow-ca-certificates";
  std::error_code ignored;
  const bool has_own = fs::exists("/usr/local/share/ca-certificates", ignored) &&
                       !fs::is_empty("/usr/local/share/ca-certificates", ignored);
  const auto bundle = has_own ? find_file("/etc/ssl/certs/ca-certificates.crt") : std::nullopt;
  if (!bundle) {
    co_await client.remove(kube::resources::config_maps, platform_namespace, name);
    co_return;
  }
  auto map = labelled("ConfigMap", name);
  map["data"] = json::object{{"ca.crt", *bundle}};
  co_await client.apply(kube::resources::config_maps, platform_namespace, std::move(map));
}

}  // namespace workflow::platform
