#include "router/observe.h"

#include <algorithm>

#include "lib/async/supervisor.h"
#include "lib/base/log.h"
#include "lib/kube/objects.h"
#include "router/certificate.h"

namespace workflow::router {
namespace {

constexpr auto certificate_secret = "deis-router-platform-cert", dhparam_secret = "deis-router-dhparam";

const json::array* array_at(const json::object& object, Path path) {
  const auto* value = find_path(object, path);
  return value ? value->if_array() : nullptr;
}

kube::ListOptions named(const std::string& name) { return {.field_selector = "metadata.name=" + name}; }

// The name of the service's port for HTTP.
std::string port_name(const json::object& service) {
  const auto* ports = array_at(service, {"spec", "ports"});
  if (!ports || ports->empty()) return "";
  for (const auto& port : *ports) {
    if (find_integer(port, {"port"}) == 80) return find_string(port, {"name"}).value_or("");
  }
  return find_string(ports->front(), {"name"}).value_or("");
}

std::optional<std::int64_t> port_number(const json::value& subset, const std::string& name) {
  const auto* value = find_path(subset, {"ports"});
  const auto* ports = value ? value->if_array() : nullptr;
  if (!ports) return std::nullopt;
  for (const auto& port : *ports) {
    if (find_string(port, {"name"}).value_or("") == name) return find_integer(port, {"port"});
  }
  return ports->size() == 1 ? find_integer(ports->front(), {"port"}) : std::nullopt;
}

Annotations annotations_of(const json::object& object) {
  return string_map(find_path(object, {"metadata", "annotations"}));
}

ObservedSecret checked_secret(const json::object& secret) {
  const auto values = kube::secret_values(secret);
  const auto certificate = values.find("tls.crt"), key = values.find("tls.key");
  if (certificate == values.end()) return {std::nullopt, "it has no entry tls.crt"};
  if (key == values.end()) return {std::nullopt, "it has no entry tls.key"};
  return check_certificate(certificate->second, key->second);
}

}  // namespace

std::vector<std::string> addresses_of(const json::object& service, const json::object* endpoints) {
  std::vector<std::string> addresses;
  const auto* subsets = endpoints ? array_at(*endpoints, {"subsets"}) : nullptr;
  if (!subsets) return addresses;
  const auto name = port_name(service);
  for (const auto& subset : *subsets) {
    const auto port = port_number(subset, name);
    const auto* ready = find_path(subset, {"addresses"});
    if (!port || *port < 1 || *port > 65535 || !ready || !ready->is_array()) continue;
    for (const auto& address : ready->as_array()) {
      const auto range = parse_cidr(find_string(address, {"ip"}).value_or(""));
      if (!range) continue;
      const auto ip = range->substr(0, range->find('/'));
      addresses.push_back((ip.contains(':') ? "[" + ip + "]" : ip) + ":" + std::to_string(*port));
    }
  }
  std::ranges::sort(addresses);
  addresses.erase(std::ranges::unique(addresses).begin(), addresses.end());
  return addresses;
}

Cluster::Cluster(kube::Client& client, std::string ns, std::string platform_domain)
    : ns_(std::move(ns)),
      platform_domain_(std::move(platform_domain)),
      changes_(client.executor()),
      services_(client, kube::resources::services, "", {.label_selector = "router.deis.io/routable=true"},
                when_changed()),
      endpoints_(client, kube::resources::endpoints, "", {}, when_endpoints_change()),
      certificates_(client, kube::resources::secrets, "", {.field_selector = "type=kubernetes.io/tls"}, when_changed()),
      platform_certificate_(client, kube::resources::secrets, ns_, named(certificate_secret), when_changed()),
      dhparam_(client, kube::resources::secrets, ns_, named(dhparam_secret), when_changed()),
      deployment_(client, kube::resources::deployments, ns_, named("deis-router"), when_changed()),
      builder_(client, kube::resources::services, ns_, named("deis-builder"), when_changed()) {}

Cluster::Callbacks Cluster::when_changed() {
  auto tell = [this](const kube::Informer::Object&) {
    changed_.everything = true;
    changes_.notify_all();
  };
  return {.added = tell, .modified = [tell](const auto&, const auto& after) { tell(after); }, .deleted = tell};
}

Cluster::Callbacks Cluster::when_endpoints_change() {
  auto tell = [this](const kube::Informer::Object& object) {
    const auto ns = kube::namespace_of(*object), name = kube::name_of(*object);
    if (builder_.find(ns, name)) {
      changed_.everything = true;
    } else if (services_.find(ns, name)) {
      changed_.endpoints.insert(ns + "/" + name);
    } else {
      return;
    }
    changes_.notify_all();
  };
  return {.added = tell, .modified = [tell](const auto&, const auto& after) { tell(after); }, .deleted = tell};
}

std::vector<std::string> Cluster::addresses(const std::string& service) const {
  const auto slash = service.find('/');
  const auto ns = service.substr(0, slash), name = service.substr(slash + 1);
  const auto object = services_.find(ns, name);
  return object ? addresses_of(*object, endpoints_.find(ns, name).get()) : std::vector<std::string>();
}

void Cluster::watch(Supervisor& supervisor) {
  supervisor.keep("watch services", [this] { return services_.run(); });
  supervisor.keep("watch endpoints", [this] { return endpoints_.run(); });
  supervisor.keep("watch certificates", [this] { return certificates_.run(); });
  supervisor.keep("watch the platform's certificate", [this] { return platform_certificate_.run(); });
  supervisor.keep("watch the DH parameters", [this] { return dhparam_.run(); });
  supervisor.keep("watch the router's deployment", [this] { return deployment_.run(); });
  supervisor.keep("watch the builder", [this] { return builder_.run(); });
}

std::array<kube::Informer*, 7> Cluster::informers() {
  return {&services_, &endpoints_, &certificates_, &platform_certificate_, &dhparam_, &deployment_, &builder_};
}

Task<> Cluster::wait_synced() {
  for (auto* informer : informers()) co_await informer->wait_synced();
}

bool Cluster::synced() {
  return std::ranges::all_of(informers(), [](const auto* informer) { return informer->synced(); });
}

// Checking costs a millisecond for a key, so each secret is checked once for each of its states.
void Cluster::check_secret(const kube::Informer::Object& secret, Observed& observed,
                           std::map<std::string, Checked>& now) {
  const auto key = kube::namespace_of(*secret) + "/" + kube::name_of(*secret);
  const auto known = checked_.find(key);
  Checked checked{secret, {}};
  if (known != checked_.end() && known->second.secret == secret) {
    checked.result = known->second.result;
  } else {
    checked.result = checked_secret(*secret);
    // A bad replacement does not take away what worked.
    if (!checked.result.certificate && known != checked_.end())
      checked.result.certificate = known->second.result.certificate;
  }
  observed.certificates.insert_or_assign(key, checked.result);
  now.insert_or_assign(key, std::move(checked));
}

void Cluster::check_secrets(Observed& observed) {
  std::map<std::string, Checked> now;
  for (const auto& [key, secret] : certificates_.objects()) {
    if (kube::name_of(*secret) != certificate_secret || kube::namespace_of(*secret) != ns_)
      check_secret(secret, observed, now);
  }
  if (const auto secret = platform_certificate_.find(ns_, certificate_secret)) check_secret(secret, observed, now);
  checked_ = std::move(now);
}

Observed Cluster::observe() {
  Observed observed{.ns = ns_, .platform_domain = platform_domain_};
  if (const auto deployment = deployment_.find(ns_, "deis-router")) observed.router = annotations_of(*deployment);
  observed.services.reserve(services_.objects().size());
  for (const auto& [key, object] : services_.objects()) {
    const auto endpoints = endpoints_.find(kube::namespace_of(*object), kube::name_of(*object));
    const auto app = kube::label_of(*object, "app");
    observed.services.push_back(
        {.ns = kube::namespace_of(*object),
         .name = kube::name_of(*object),
         .app = app.empty() ? kube::name_of(*object) : app,
         .created =
             parse_rfc3339(find_string(*object, {"metadata", "creationTimestamp"}).value_or("")).value_or(Time{}),
         .annotations = annotations_of(*object),
         .addresses = addresses_of(*object, endpoints.get())});
  }
  check_secrets(observed);
  if (const auto secret = dhparam_.find(ns_, dhparam_secret)) {
    auto values = kube::secret_values(*secret);
    if (is_dhparam(values["dhparam"])) observed.dhparam_pem = values["dhparam"];
  }
  if (const auto builder = builder_.find(ns_, "deis-builder")) {
    const auto endpoints = endpoints_.find(ns_, "deis-builder");
    observed.builder = ObservedBuilder{annotations_of(*builder), addresses_of(*builder, endpoints.get())};
  }
  return observed;
}

}  // namespace workflow::router
