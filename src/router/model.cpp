#include "router/model.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "lib/base/text.h"
#include "router/settings.h"

namespace workflow::router {
namespace {

std::string full_name(const ObservedService& service) { return service.ns + "/" + service.name; }

// The order in which services get the names that they ask for.
bool is_older(const ObservedService* a, const ObservedService* b) {
  return std::tie(a->created, a->ns, a->name) < std::tie(b->created, b->ns, b->name);
}

// `www.example.com:my-cert` entries, by domain.
std::map<std::string, std::string> certificate_names(const AnnotationReader& reader) {
  std::map<std::string, std::string> names;
  const auto* text = reader.find("certificates");
  if (!text) return names;
  for (const auto& item : parse_list(*text)) {
    const auto colon = item.find(':');
    const auto domain = parse_domain(trim(item.substr(0, colon)));
    const auto name = colon == std::string::npos ? std::string() : std::string(trim(item.substr(colon + 1)));
    const auto label = parse_domain(name);
    if (!domain || !label || !is_bare(*label))
      reader.problem("certificates", "has an item that is not <domain>:<certificate>: " + item);
    else
      names.insert_or_assign(*domain, name);
  }
  return names;
}

class Builder {
 public:
  explicit Builder(const Observed& observed) : observed_(observed) {}

  Model build() {
    model_.settings =
        router_settings(observed_.router, observed_.ns + "/deis-router", observed_.platform_domain, model_.problems);
    model_.platform_certificate =
        use_secret(observed_.ns, "deis-router-platform-cert", observed_.ns + "/deis-router-platform-cert", "tls.crt");
    model_.dhparam_pem = observed_.dhparam_pem;
    std::vector<const ObservedService*> services;
    services.reserve(observed_.services.size());
    for (const auto& service : observed_.services) services.push_back(&service);
    std::ranges::sort(services, is_older);
    model_.backends.reserve(services.size());
    model_.apps.reserve(services.size());
    for (const auto* service : services) add(*service);
    for (const auto& [service, backend] : plugs_) plug(*service, backend);
    std::erase_if(model_.apps, [](const App& app) { return app.hosts.empty(); });
    add_builder();
    std::ranges::sort(model_.problems);
    model_.problems.erase(std::ranges::unique(model_.problems).begin(), model_.problems.end());
    return std::move(model_);
  }

 private:
  void add(const ObservedService& service) {
    const AnnotationReader reader(service.annotations, "", full_name(service), model_.problems);
    App app;
    app.label = service.app == service.ns ? service.app : service.ns + "/" + service.app;
    app.platform = service.ns == observed_.ns;
    app.backend = model_.backends.size();
    model_.backends.push_back(backend_of(service, reader));
    app.whitelist = whitelist_of(reader);
    app.referrer_policy = model_.settings.referrer_policy;
    read_referrer_policy(reader, app.referrer_policy);
    if (app.referrer_policy == "none") app.referrer_policy.clear();
    bool no_request_start = false;
    reader.read("disableRequestStartHeader", no_request_start);
    app.request_start = model_.settings.request_start && !no_request_start;
    reader.read("nginx.oddHeaderNames", app.odd_header_names);
    add_hosts(service, reader, app);
    if (reader.find("proxyDomain")) plugs_.emplace_back(&service, app.backend);
    model_.apps.push_back(std::move(app));
  }

  Backend backend_of(const ObservedService& service, const AnnotationReader& reader) {
    Backend backend;
    backend.name = service.ns + "." + service.name;
    backend.addresses = service.addresses;
    backend.io_timeout = model_.settings.default_timeout;
    reader.read("connectTimeout", backend.connect_timeout);
    reader.read("tcpTimeout", backend.io_timeout);
    backend.buffers = reader.buffers("nginx.", model_.settings.buffers);
    reader.read("maintenance", backend.maintenance);
    reader.read("ssl.enforce", backend.enforce_tls);
    reader.read("nginx.sessionAffinity", backend.affinity);
    reader.read("nginx.slowStart", backend.slow_start);
    reader.read("nginx.grpc", backend.grpc);
    backend.enforce_tls = backend.enforce_tls || model_.settings.enforce_tls || model_.settings.hsts;
    return backend;
  }

  // Nobody is let in because a list could not be read.
  std::optional<std::vector<std::string>> whitelist_of(const AnnotationReader& reader) {
    const auto& settings = model_.settings;
    auto own = reader.cidrs("whitelist");
    if (!own && settings.default_whitelist.empty() && !settings.enforce_whitelists) return std::nullopt;
    std::vector<std::string> allowed = own.value_or(settings.default_whitelist);
    if (own && settings.extend_whitelists) {
      allowed.insert(allowed.end(), settings.default_whitelist.begin(), settings.default_whitelist.end());
    }
    std::ranges::sort(allowed);
    allowed.erase(std::ranges::unique(allowed).begin(), allowed.end());
    return allowed;
  }

  void add_hosts(const ObservedService& service, const AnnotationReader& reader, App& app) {
    const auto* text = reader.find("domains");
    if (!text) return;
    const auto certificates = certificate_names(reader);
    for (const auto& item : parse_list(*text)) {
      const auto domain = parse_domain(item);
      if (!domain) {
        reader.problem("domains", "has an item that is no domain name: " + item);
        continue;
      }
      Host host;
      host.name = !is_bare(*domain)                         ? *domain
                  : model_.settings.platform_domain.empty() ? *domain + ".*"
                                                            : *domain + "." + model_.settings.platform_domain;
      if (!claim(host.name, service, reader, "domains")) continue;
      entries_[*domain].push_back(model_.apps.size());
      if (is_bare(*domain)) {
        host.certificate = model_.platform_certificate;
      } else if (const auto found = certificates.find(*domain); found != certificates.end()) {
        host.certificate =
            use_secret(service.ns, found->second + "-cert", full_name(service), "router.deis.io/certificates");
      }
      app.hosts.push_back(std::move(host));
    }
    add_regex_domain(service, reader, app);
  }

  void add_regex_domain(const ObservedService& service, const AnnotationReader& reader, App& app) {
    const auto* regex = reader.find("regexDomain");
    if (!regex || !model_.settings.regex_domains || app.hosts.empty()) return;
    const auto domains = parse_list(*reader.find("domains"));
    if (std::ranges::none_of(domains, [&](const auto& domain) { return regex->contains(domain); })) {
      reader.problem("regexDomain", "must contain one of the domains");
    } else if (!is_tame_regex(*regex) || regex->contains('^') || regex->contains('$') || regex->contains(' ')) {
      reader.problem("regexDomain", "is not among the regular expressions that are supported, see docs/router.md");
    } else if (claim(*regex, service, reader, "regexDomain")) {
      app.hosts.push_back({.name = "^(?:" + *regex + ")\\.(.+)$", .regex = true, .certificate = ""});
    }
  }

  // A name belongs to the oldest service that asks for it.
  bool claim(const std::string& name, const ObservedService& service, const AnnotationReader& reader,
             std::string_view key) {
    const auto [owner, is_new] = owners_.emplace(name, &service);
    if (is_new) return true;
    if (owner->second != &service)
      reader.problem(key, name + " belongs to " + full_name(*owner->second) + ", which is older");
    return false;
  }

  // The id of a certificate, or "" with a problem told.
  std::string use_secret(const std::string& ns, const std::string& secret, const std::string& service,
                         const std::string& key) {
    const auto found = observed_.certificates.find(ns + "/" + secret);
    if (found == observed_.certificates.end()) {
      if (secret != "deis-router-platform-cert")
        model_.problems.push_back({service, key, "there is no secret " + secret + " of type kubernetes.io/tls"});
      return "";
    }
    if (!found->second.problem.empty())
      model_.problems.push_back({service, key, "the secret " + secret + ": " + found->second.problem});
    if (!found->second.certificate) return "";
    const auto& certificate = *found->second.certificate;
    model_.certificates.emplace(certificate.id, certificate);
    return certificate.id;
  }

  // Puts a service under paths of another one's hosts.
  void plug(const ObservedService& service, std::size_t backend) {
    const AnnotationReader reader(service.annotations, "", full_name(service), model_.problems);
    const auto target = parse_domain(trim(*reader.find("proxyDomain")));
    const auto found = target ? entries_.find(*target) : entries_.end();
    if (found == entries_.end()) return reader.problem("proxyDomain", "is no domain of any routed app");
    const auto* paths = reader.find("proxyLocations");
    if (!paths) return;
    // Several apps may have the same bare entry as text only while a platform domain tells them apart; ours come first.
    const auto& candidates = found->second;
    const auto own = std::ranges::find_if(candidates, [&](std::size_t at) {
      return model_.backends[model_.apps[at].backend].name.starts_with(service.ns + ".");
    });
    auto& app = model_.apps[own == candidates.end() ? candidates.front() : *own];
    for (const auto& item : parse_list(*paths)) {
      const auto path = parse_location(item);
      if (!path)
        reader.problem("proxyLocations", "has an item that is no path and no supported regular expression: " + item);
      else if (!is_free(app, *path))
        reader.problem("proxyLocations", item + " is taken by an older service");
      else
        app.locations.push_back({*path, backend});
    }
  }

  // nginx takes "^~ /a" and "/a" for the same place. "/" would take the whole app away from itself.
  static bool is_free(const App& app, const LocationPath& path) {
    const auto kind = [](const LocationPath& p) { return p.modifier == "^~" ? std::string() : p.modifier; };
    if (kind(path).empty() && path.path == "/") return false;
    return std::ranges::none_of(
        app.locations, [&](const Location& l) { return l.path.path == path.path && kind(l.path) == kind(path); });
  }

  void add_builder() {
    if (!observed_.builder) return;
    const AnnotationReader reader(observed_.builder->annotations, "nginx.", observed_.ns + "/deis-builder",
                                  model_.problems);
    BuilderStream stream{.addresses = observed_.builder->addresses};
    reader.read("connectTimeout", stream.connect_timeout);
    reader.read("tcpTimeout", stream.io_timeout);
    model_.builder = std::move(stream);
  }

  const Observed& observed_;
  Model model_;
  std::unordered_map<std::string, const ObservedService*> owners_;     // by host name
  std::unordered_map<std::string, std::vector<std::size_t>> entries_;  // apps by entry of `domains`
  std::vector<std::pair<const ObservedService*, std::size_t>> plugs_;  // services with proxyDomain, and their backends
};

}  // namespace

Model build_model(const Observed& observed) { return Builder(observed).build(); }

}  // namespace workflow::router
