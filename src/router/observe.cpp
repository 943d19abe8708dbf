#include "router/observe.h"

#include <algorithm>
#include <utility>

#include "lib/async/supervisor.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"
#include "router/acme/answers.h"
#include "router/acme/keys.h"
#include "router/certificate.h"

namespace workflow::router {
namespace {

constexpr auto certificate_secret = "deis-router-platform-cert", dhparam_secret = "deis-router-dhparam";
constexpr std::size_t most_answer = 512;
constexpr std::size_t longest_page = 16 << 10;

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

std::optional<std::int64_t> port_number(const json::object& slice, const std::string& name) {
  const auto* ports = array_at(slice, {"ports"});
  if (!ports) return std::nullopt;
  for (const auto& port : *ports) {
    if (find_string(port, {"name"}).value_or("") == name) return find_integer(port, {"port"});
  }
  return ports->size() == 1 ? find_integer(ports->front(), {"port"}) : std::nullopt;
}

// "IPv4" or "IPv6".
std::string family_of(const json::object& service) {
  const auto* families = array_at(service, {"spec", "ipFamilies"});
  const auto* first = families && !families->empty() ? families->front().if_string() : nullptr;
  return first ? std::string(*first) : "";
}

bool is_ready(const json::value& endpoint) {
  const auto* ready = find_path(endpoint, {"conditions", "ready"});
  return !ready || !ready->is_bool() || ready->as_bool();
}

std::string name_of(const json::object& object) { return kube::namespace_of(object) + "/" + kube::name_of(object); }

std::string service_of(const json::object& slice) {
  return kube::namespace_of(slice) + "/" + kube::label_of(slice, "kubernetes.io/service-name");
}

Annotations annotations_of(const json::object& object) {
  return string_map(find_path(object, {"metadata", "annotations"}));
}

// Numbers that grow, as every API server makes them; 0: one that does not.
std::int64_t version_of(const json::object& object) {
  return parse_integer(find_string(object, {"metadata", "resourceVersion"}).value_or("")).value_or(0);
}

// "user:password"; a user with a colon cannot be sent by anybody.
std::optional<std::string> credential_of(const json::object& secret) {
  auto values = kube::secret_values(secret);
  const auto &user = values["username"], &password = values["password"];
  if (user.empty() || password.empty() || user.contains(':')) return std::nullopt;
  return user + ":" + password;
}

ObservedSecret checked_secret(const json::object& secret) {
  const auto values = kube::secret_values(secret);
  const auto certificate = values.find("tls.crt"), key = values.find("tls.key");
  if (certificate == values.end()) return {std::nullopt, "it has no entry tls.crt"};
  if (key == values.end()) return {std::nullopt, "it has no entry tls.key"};
  return check_certificate(certificate->second, key->second);
}

}  // namespace

std::vector<std::string> addresses_of(const json::object& service, const std::vector<ObjectPtr>& slices) {
  std::vector<std::string> addresses;
  const auto name = port_name(service), family = family_of(service);
  for (const auto& slice : slices) {
    const auto port = port_number(*slice, name);
    const auto* endpoints = array_at(*slice, {"endpoints"});
    const auto type = find_string(*slice, {"addressType"}).value_or("");
    if (!port || *port < 1 || *port > 65535 || !endpoints || (!family.empty() && type != family)) continue;
    for (const auto& endpoint : *endpoints) {
      // All addresses of an endpoint are the same pod's.
      const auto* all = find_path(endpoint, {"addresses"});
      const auto* list = all ? all->if_array() : nullptr;
      const auto* first = list && !list->empty() ? list->front().if_string() : nullptr;
      const auto range = first && is_ready(endpoint) ? parse_cidr(std::string_view(*first)) : std::nullopt;
      if (!range) continue;
      const auto ip = range->substr(0, range->find('/'));
      addresses.push_back((ip.contains(':') ? "[" + ip + "]" : ip) + ":" + std::to_string(*port));
    }
  }
  std::ranges::sort(addresses);
  addresses.erase(std::ranges::unique(addresses).begin(), addresses.end());
  return addresses;
}

Pages pages_of(const json::object& config_map) {
  static constexpr std::string_view known[] = {"403", "413", "429", "502", "503", "504", "maintenance"};
  Pages pages;
  for (auto& [name, html] : string_map(find_path(config_map, {"data"}))) {
    const auto key = name.ends_with(".html") ? name.substr(0, name.size() - 5) : name;
    if (std::ranges::find(known, key) != std::end(known) && html.size() <= longest_page)
      pages.emplace(key, std::move(html));
  }
  return pages;
}

Cluster::Cluster(kube::Client& client, Options options)
    : ns_(std::move(options.ns)),
      platform_domain_(std::move(options.platform_domain)),
      has_authority_(options.has_authority),
      changes_(client.executor()),
      services_(client, kube::resources::services, "", {.label_selector = "router.deis.io/routable=true"},
                when_changed(&Names::services)),
      slices_(client, kube::resources::endpoint_slices, "", {}, when_slices_change()),
      certificates_(client, kube::resources::secrets, "", {.field_selector = "type=kubernetes.io/tls"},
                    when_changed(&Names::certificates)),
      credentials_(client, kube::resources::secrets, "", {.field_selector = "type=kubernetes.io/basic-auth"},
                   when_changed(&Names::credentials)),
      pages_(client, kube::resources::config_maps, "", {.label_selector = "router.deis.io/pages=true"},
             when_changed(&Names::pages)),
      platform_certificate_(client, kube::resources::secrets, ns_, named(certificate_secret),
                            when_everything_changes()),
      dhparam_(client, kube::resources::secrets, ns_, named(dhparam_secret), when_everything_changes()),
      deployment_(client, kube::resources::deployments, ns_, named("deis-router"), when_everything_changes()),
      builder_(client, kube::resources::services, ns_, named("deis-builder"), when_everything_changes()),
      challenges_(client, kube::resources::config_maps, ns_, named("deis-router-acme"), when_challenges_change()) {}

Cluster::Callbacks Cluster::when_changed(std::set<std::string> Names::* kind) {
  auto tell = [this, kind](const ObjectPtr& object) {
    (changed_.*kind).insert(name_of(*object));
    changes_.notify_all();
  };
  return {.added = tell, .modified = [tell](const auto&, const auto& after) { tell(after); }, .deleted = tell};
}

Cluster::Callbacks Cluster::when_everything_changes() {
  auto tell = [this](const ObjectPtr&) {
    changed_.everything = true;
    changes_.notify_all();
  };
  return {.added = tell, .modified = [tell](const auto&, const auto& after) { tell(after); }, .deleted = tell};
}

Cluster::Callbacks Cluster::when_challenges_change() {
  auto tell = [this](const ObjectPtr&) {
    changed_.challenges = true;
    changes_.notify_all();
  };
  return {.added = tell, .modified = [tell](const auto&, const auto& after) { tell(after); }, .deleted = tell};
}

Cluster::Callbacks Cluster::when_slices_change() {
  return {.added = [this](const ObjectPtr& slice) { index_slice(slice, nullptr); },
          .modified = [this](const ObjectPtr& before, const ObjectPtr& after) { index_slice(after, before); },
          .deleted = [this](const ObjectPtr& slice) { index_slice(nullptr, slice); }};
}

void Cluster::index_slice(const ObjectPtr& slice, const ObjectPtr& before) {
  if (before) {
    const auto found = slices_by_service_.find(service_of(*before));
    if (found != slices_by_service_.end()) found->second.erase(name_of(*before));
    if (found != slices_by_service_.end() && found->second.empty()) slices_by_service_.erase(found);
  }
  if (slice) slices_by_service_[service_of(*slice)].insert(name_of(*slice));
  for (const auto& one : {before, slice}) {
    if (!one) continue;
    const auto service = service_of(*one);
    if (builder_.objects().contains(service)) {
      changed_.everything = true;
    } else if (services_.objects().contains(service)) {
      changed_.services.insert(service);
    } else {
      continue;
    }
    changes_.notify_all();
  }
}

std::vector<ObjectPtr> Cluster::slices_of(const std::string& service) const {
  std::vector<ObjectPtr> slices;
  const auto found = slices_by_service_.find(service);
  if (found == slices_by_service_.end()) return slices;
  const auto& all = slices_.objects();
  for (const auto& name : found->second) {
    if (const auto slice = all.find(name); slice != all.end()) slices.push_back(slice->second);
  }
  return slices;
}

void Cluster::watch(Supervisor& supervisor) {
  supervisor.keep("watch services", [this] { return services_.run(); });
  supervisor.keep("watch endpoint slices", [this] { return slices_.run(); });
  supervisor.keep("watch certificates", [this] { return certificates_.run(); });
  supervisor.keep("watch credentials", [this] { return credentials_.run(); });
  supervisor.keep("watch pages", [this] { return pages_.run(); });
  supervisor.keep("watch the platform's certificate", [this] { return platform_certificate_.run(); });
  supervisor.keep("watch the DH parameters", [this] { return dhparam_.run(); });
  supervisor.keep("watch the router's deployment", [this] { return deployment_.run(); });
  supervisor.keep("watch the builder", [this] { return builder_.run(); });
  supervisor.keep("watch challenges", [this] { return challenges_.run(); });
}

std::vector<kube::Informer*> Cluster::informers() {
  return {&services_, &slices_,     &certificates_, &credentials_, &pages_, &platform_certificate_,
          &dhparam_,  &deployment_, &builder_,      &challenges_};
}

Task<> Cluster::wait_synced() {
  for (auto* informer : informers()) co_await informer->wait_synced();
}

bool Cluster::synced() {
  return std::ranges::all_of(informers(), [](const auto* informer) { return informer->synced(); });
}

// Checking costs a millisecond for a key, so each secret is checked once for each of its states.
std::optional<ObservedSecret> Cluster::find_certificate(const std::string& name) {
  auto& informer = name == ns_ + "/" + certificate_secret ? platform_certificate_ : certificates_;
  const auto found = informer.objects().find(name);
  if (found == informer.objects().end()) {
    checked_.erase(name);
    return std::nullopt;
  }
  const auto& secret = found->second;
  const auto known = checked_.find(name);
  if (known != checked_.end() && known->second.secret == secret) return known->second.result;
  auto result = checked_secret(*secret);
  result.version = version_of(*secret);
  // A bad replacement does not take away what worked.
  if (!result.certificate && known != checked_.end()) result.certificate = known->second.result.certificate;
  checked_.insert_or_assign(name, Checked{secret, result});
  return result;
}

ObservedService Cluster::observe_service(const json::object& service) const {
  const auto app = kube::label_of(service, "app");
  return {
      .ns = kube::namespace_of(service),
      .name = kube::name_of(service),
      .app = app.empty() ? kube::name_of(service) : app,
      .created = parse_rfc3339(find_string(service, {"metadata", "creationTimestamp"}).value_or("")).value_or(Time{}),
      .version = version_of(service),
      .annotations = annotations_of(service),
      .addresses = addresses_of(service, slices_of(name_of(service)))};
}

std::optional<Changes> Cluster::take_changes() {
  const auto names = std::exchange(changed_, {.everything = false});
  if (names.everything) return std::nullopt;
  Changes changes;
  for (const auto& name : names.services) {
    const auto found = services_.objects().find(name);
    auto& change = changes.services[name];
    if (found != services_.objects().end()) change = observe_service(*found->second);
  }
  for (const auto& name : names.certificates) changes.certificates.emplace(name, find_certificate(name));
  for (const auto& name : names.credentials) {
    const auto found = credentials_.objects().find(name);
    auto& change = changes.credentials[name];
    if (found != credentials_.objects().end()) change = credential_of(*found->second);
  }
  for (const auto& name : names.pages) {
    const auto found = pages_.objects().find(name);
    auto& change = changes.pages[name];
    if (found != pages_.objects().end()) change = pages_of(*found->second);
  }
  if (names.challenges) changes.challenges = observe_challenges();
  return changes;
}

// What the router that orders certificates wants all of us to answer. A key costs a while to make: each is made once.
std::vector<Challenge> Cluster::observe_challenges() {
  std::vector<Challenge> challenges;
  std::map<std::string, Certificate> now;
  const auto map = challenges_.find(ns_, "deis-router-acme");
  for (const auto& [token, text] : map ? string_map(find_path(*map, {"data"})) : std::map<std::string, std::string>()) {
    const auto value = parse_json(text);
    const auto domain = parse_domain(value ? find_string(*value, {"domain"}).value_or("") : "");
    const auto answer = value ? find_string(*value, {"answer"}).value_or("") : "";
    if (!domain || !acme::is_token(token) || !answer.starts_with(token + ".") || answer.size() > most_answer) continue;
    const auto key = *domain + " " + answer;
    auto known = challenge_certificates_.find(key);
    if (known == challenge_certificates_.end()) {
      const auto made = acme::make_challenge_certificate(*domain, answer);
      const auto checked = check_certificate(made.certificate_pem, made.key_pem);
      known = challenge_certificates_.emplace(key, checked.certificate.value()).first;
    }
    now.emplace(key, known->second);
    challenges.push_back({*domain, token, answer, known->second});
  }
  challenge_certificates_ = std::move(now);
  return challenges;
}

Observed Cluster::observe() {
  Observed observed{.ns = ns_, .platform_domain = platform_domain_, .has_authority = has_authority_};
  observed.challenges = observe_challenges();
  if (const auto deployment = deployment_.find(ns_, "deis-router")) observed.router = annotations_of(*deployment);
  observed.services.reserve(services_.objects().size());
  for (const auto& [name, service] : services_.objects()) observed.services.push_back(observe_service(*service));
  const auto platform = ns_ + "/" + certificate_secret;
  std::set<std::string> names;
  for (const auto& [name, secret] : certificates_.objects()) names.insert(name);
  names.insert(platform);
  std::erase_if(checked_, [&](const auto& entry) { return !names.contains(entry.first); });
  for (const auto& name : names) {
    if (auto certificate = find_certificate(name)) observed.certificates.emplace(name, std::move(*certificate));
  }
  for (const auto& [name, secret] : credentials_.objects()) {
    if (auto credential = credential_of(*secret)) observed.credentials.emplace(name, std::move(*credential));
  }
  for (const auto& [name, config_map] : pages_.objects()) observed.pages.emplace(name, pages_of(*config_map));
  if (const auto secret = dhparam_.find(ns_, dhparam_secret)) {
    auto values = kube::secret_values(*secret);
    if (is_dhparam(values["dhparam"])) observed.dhparam_pem = values["dhparam"];
  }
  if (const auto builder = builder_.find(ns_, "deis-builder"))
    observed.builder = ObservedBuilder{annotations_of(*builder), addresses_of(*builder, slices_of(name_of(*builder)))};
  return observed;
}

}  // namespace workflow::router
