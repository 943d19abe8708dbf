#include <filesystem>

#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/base/settings.h"
#include "lib/base/text.h"
#include "lib/kube/client.h"
#include "lib/kube/yaml.h"

namespace workflow::kube {

namespace {
constexpr auto service_account = "/var/run/secrets/kubernetes.io/serviceaccount/";

// The entry of a named list of a kubeconfig: {"name": name, kind: {…}}.
const json::value& named(const json::value& config, const char* list, const char* kind, const std::string& name) {
  if (const auto* entries = find_path(config, {list}); entries != nullptr && entries->is_array()) {
    for (const auto& entry : entries->get_array()) {
      if (find_string(entry, {"name"}) != name) continue;
      if (const auto* found = find_path(entry, {kind})) return *found;
    }
  }
  throw Error(ErrorKind::invalid, std::string("it has no ") + kind + " named \"" + name + "\"");
}

std::string string_or(const json::value& value, const char* key, std::string fallback = "") {
  return find_string(value, {key}).value_or(std::move(fallback));
}

// `<key>-data` (base64), else the file named by `key`, relative to the kubeconfig's folder.
std::optional<std::string> data_or_file(const json::value& value, const std::string& key,
                                        const std::filesystem::path& folder) {
  if (const auto data = find_string(value, {key + "-data"})) {
    auto bytes = from_base64(*data);
    if (!bytes) throw Error(ErrorKind::invalid, key + "-data is not base64");
    return bytes;
  }
  if (const auto file = find_string(value, {key}); file && !file->empty()) return read_file(folder / *file);
  return std::nullopt;
}

http::Url server_url(const std::string& text) {
  auto url = http::Url::parse(text);
  if (!url) throw Error(ErrorKind::invalid, "the server \"" + text + "\" is not a URL");
  while (url->path.ends_with('/')) url->path.pop_back();
  return *url;
}

Connection connection_from(const json::value& config, const std::filesystem::path& folder) {
  const auto current = string_or(config, "current-context");
  const auto& context = named(config, "contexts", "context", current);
  const auto& cluster = named(config, "clusters", "cluster", string_or(context, "cluster"));
  const auto& user = named(config, "users", "user", string_or(context, "user"));
  Connection c;
  c.server = server_url(string_or(cluster, "server"));
  c.namespace_ = string_or(context, "namespace", "default");
  c.tls.ca_pem = data_or_file(cluster, "certificate-authority", folder);
  c.tls.verify = !find_bool(cluster, {"insecure-skip-tls-verify"}).value_or(false);
  c.tls.server_name = string_or(cluster, "tls-server-name");
  c.tls.certificate_pem = data_or_file(user, "client-certificate", folder).value_or("");
  c.tls.key_pem = data_or_file(user, "client-key", folder).value_or("");
  c.token = Secret(string_or(user, "token"));
  if (const auto file = find_string(user, {"tokenFile"})) c.token_file = folder / *file;
  if (find_path(user, {"exec"}) != nullptr && c.token.empty() && c.token_file.empty() &&
      c.tls.certificate_pem.empty()) {
    throw Error(ErrorKind::invalid, "credential plugins (exec) are not supported; use a token or a client certificate");
  }
  return c;
}
}  // namespace

Connection Connection::in_cluster() {
  auto env = Env::from_process();
  const auto host = env.text("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc");
  const auto port = env.integer("KUBERNETES_SERVICE_PORT", 443, 1, 65535);
  env.done();
  Connection c;
  const bool ipv6 = host.find(':') != std::string::npos;
  c.server = server_url("https://" + (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port));
  const std::filesystem::path folder(service_account);
  c.token_file = folder / "token";
  if (!find_file(c.token_file)) {
    throw Error(ErrorKind::unavailable, "no Kubernetes cluster: " + c.token_file +
                                            " is not there; run in a pod with a service account, or set KUBECONFIG");
  }
  c.tls.ca_pem = find_file(folder / "ca.crt");
  c.namespace_ = find_file(folder / "namespace").value_or("default");
  return c;
}

Connection Connection::from_kubeconfig(const std::string& path) {
  const auto text = read_file(path);
  try {
    return connection_from(parse_yaml(text), std::filesystem::path(path).parent_path());
  } catch (const Error& error) {
    throw Error(error.kind(), "kubeconfig " + path + ": " + error.message());
  }
}

Connection Connection::from_env(const std::map<std::string, std::string>& env) {
  const auto found = env.find("KUBECONFIG");
  if (found == env.end() || found->second.empty()) return in_cluster();
  const auto files = split(found->second, ':');  // as kubectl lists them: the first that exists
  for (const auto& file : files) {
    if (!file.empty() && std::filesystem::exists(file)) return from_kubeconfig(file);
  }
  throw Error(ErrorKind::invalid, "KUBECONFIG names no file that exists: " + found->second);
}

}  // namespace workflow::kube
