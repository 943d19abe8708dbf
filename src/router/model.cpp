#include "router/model.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "lib/base/text.h"
#include "router/acme/plan.h"
#include "router/settings.h"

namespace workflow::router {
namespace {

std::string full_name(const ObservedService& service) { return service.ns + "/" + service.name; }

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

constexpr std::size_t most_problems = 20;  // of one service that are told
const Annotations no_annotations;

// A name that a service asks for.
struct Wanted {
  std::string entry, host;  // as in `domains`; completed
  bool regex = false, bare = false;
  std::string certificate;  // name of the Secret of a name that is not bare; "": none
  bool automatic = false;   // has a certificate of ours, or is to have one
};

// What a service asks for, as its annotations say. What it gets depends on the others.
struct Planned {
  std::string ns, name;
  Time created;
  std::int64_t version = 0;
  std::vector<Wanted> wanted;
  bool has_regex = false;
  std::string canonical_host;  // "": none
  std::string plug_target;     // of proxyDomain; "": none
  std::vector<std::pair<std::string, LocationPath>> plug_paths;
  std::optional<std::vector<std::string>> users;  // names of Secrets
  std::string pages;                              // name of a ConfigMap
  std::vector<Problem> problems;                  // with the annotations themselves
  std::vector<Problem> refusals;                  // of what it did not get
  std::vector<Problem> plug_problems;
};

std::string full_name(const Planned& planned) { return planned.ns + "/" + planned.name; }

}  // namespace

class Planner::Work {
 public:
  explicit Work(Observed observed) : observed_(std::move(observed)) {
    model_.settings =
        router_settings(observed_.router, observed_.ns + "/deis-router", observed_.platform_domain, problems_);
    model_.platform_certificate = use_secret({observed_.ns, "deis-router-platform-cert"},
                                             {observed_.ns + "/deis-router-platform-cert", "tls.crt", ""}, problems_);
    model_.dhparam_pem = observed_.dhparam_pem;
    challenge(std::exchange(observed_.challenges, {}));
    auto services = std::move(observed_.services);
    std::ranges::sort(services, [](const auto& a, const auto& b) {
      return std::tie(a.created, a.ns, a.name) < std::tie(b.created, b.ns, b.name);
    });
    for (auto& service : services) plan(place_for(full_name(service)), service);
    for (std::size_t place = 0; place < planned_.size(); ++place) resolve(place);
    plug_all();
    add_builder();
  }

  std::optional<Touched> update(const Changes& changes) {
    Touched touched;
    std::set<std::size_t> again;  // places to be resolved
    const auto platform = observed_.ns + "/deis-router-platform-cert";
    if (changes.certificates.contains(platform)) return std::nullopt;
    for (const auto& [name, secret] : changes.certificates) replace(observed_.certificates, name, secret, again);
    for (const auto& [name, credential] : changes.credentials) replace(observed_.credentials, name, credential, again);
    for (const auto& [name, pages] : changes.pages) replace(observed_.pages, name, pages, again);
    for (const auto& [name, service] : changes.services) {
      const auto found = places_.find(name);
      if (found == places_.end() && !service) continue;
      const bool had_regex = found != places_.end() && planned_[found->second].has_regex;
      const auto place = place_for(name);
      touch(place, touched);
      forget(place, again);
      if (service) plan(place, *service, &again);
      if (had_regex || planned_[place].has_regex) return std::nullopt;  // expressions are tried in order of age
      again.insert(place);
      if (!service) free(name, place);
    }
    for (const auto place : again) {
      touch(place, touched);
      resolve(place);
    }
    for (const auto place : plug_all()) touch(place, touched);
    touched.challenges = changes.challenges.has_value();
    if (changes.challenges) challenge(*changes.challenges);
    if (!changes.certificates.empty() || certificates_dropped_) drop_unused_certificates();
    return touched;
  }

  const Model& model() const { return model_; }
  const std::map<std::string, std::size_t>& places() const { return places_; }
  const Observed& observed() const { return observed_; }
  const Planned* find(const std::string& service) const {
    const auto found = places_.find(service);
    return found == places_.end() ? nullptr : &planned_[found->second];
  }

  std::vector<Problem> problems_of(const std::string& service) const {
    std::vector<Problem> problems;
    for (const auto& problem : problems_) {
      if (problem.service == service) problems.push_back(problem);
    }
    if (const auto* planned = find(service)) {
      for (const auto* list : {&planned->problems, &planned->refusals, &planned->plug_problems})
        problems.insert(problems.end(), list->begin(), list->end());
    }
    std::ranges::sort(problems);
    problems.erase(std::ranges::unique(problems).begin(), problems.end());
    if (problems.size() > most_problems) problems.resize(most_problems);
    return problems;
  }

  std::vector<Problem> problems() const {
    std::vector<Problem> all = problems_;
    for (const auto& [name, place] : places_) {
      for (auto& problem : problems_of(name)) all.push_back(std::move(problem));
    }
    std::ranges::sort(all);
    all.erase(std::ranges::unique(all).begin(), all.end());
    return all;
  }

 private:
  // --- places

  std::size_t place_for(const std::string& name) {
    const auto found = places_.find(name);
    if (found != places_.end()) return found->second;
    std::size_t place = planned_.size();
    if (!free_.empty()) {
      place = free_.back();
      free_.pop_back();
    } else {
      planned_.emplace_back();
      model_.backends.emplace_back();
      model_.apps.emplace_back();
    }
    places_.emplace(name, place);
    return place;
  }

  void free(const std::string& name, std::size_t place) {
    places_.erase(name);
    free_.push_back(place);
  }

  void touch(std::size_t place, Touched& touched) const {
    if (!touched.places.insert(place).second) return;
    if (!model_.backends[place].name.empty()) touched.backends.insert(model_.backends[place].name);
    for (const auto& host : model_.apps[place].hosts) touched.hosts.insert(host.name);
  }

  bool is_older(std::size_t a, std::size_t b) const {
    const auto &one = planned_[a], &other = planned_[b];
    return std::tie(one.created, one.ns, one.name) < std::tie(other.created, other.ns, other.name);
  }

  template <typename Value>
  void replace(std::map<std::string, Value>& all, const std::string& name, const std::optional<Value>& value,
               std::set<std::size_t>& again) {
    if (value)
      all.insert_or_assign(name, *value);
    else
      all.erase(name);
    if (const auto users = users_of_.find(name); users != users_of_.end())
      again.insert(users->second.begin(), users->second.end());
  }

  // --- what a service asks for

  // `again` gets whoever loses a name to it, now or as before.
  void plan(std::size_t place, const ObservedService& service, std::set<std::size_t>* again = nullptr) {
    auto& planned = planned_[place];
    planned = {.ns = service.ns, .name = service.name, .created = service.created, .version = service.version};
    const AnnotationReader reader(service.annotations, "", full_name(service), planned.problems);
    model_.backends[place] = backend_of(service, reader);
    model_.apps[place] = app_of(service, place, reader);
    want_hosts(planned, reader);
    want_plugs(planned, reader);
    read_access(planned, model_.apps[place], reader);
    for (const auto& wanted : planned.wanted) {
      auto& claimants = claims_[wanted.host];
      if (std::ranges::find(claimants, place) != claimants.end()) continue;
      const auto at = std::ranges::find_if(claimants, [&](std::size_t other) { return is_older(place, other); });
      if (again && at == claimants.begin()) again->insert(claimants.begin(), claimants.end());
      claimants.insert(at, place);
      if (const auto secret = secret_of(planned, wanted); !secret.name.empty())
        users_of_[secret.ns + "/" + secret.name].insert(place);
    }
    for (const auto& secret : planned.users.value_or(std::vector<std::string>()))
      users_of_[service.ns + "/" + secret].insert(place);
    if (!planned.pages.empty()) users_of_[service.ns + "/" + planned.pages].insert(place);
    if (!planned.plug_target.empty()) plugs_.insert(place);
    for (const auto& wanted : planned.wanted) {
      auto& with_entry = entries_[wanted.entry];
      if (std::ranges::find(with_entry, place) == with_entry.end()) with_entry.push_back(place);
    }
  }

  // `again` gets whoever may have a name of it now.
  void forget(std::size_t place, std::set<std::size_t>& again) {
    auto& planned = planned_[place];
    const auto leave = [&](auto& index, const std::string& key) {
      const auto found = index.find(key);
      if (found == index.end()) return;
      std::erase(found->second, place);
      if (found->second.empty()) index.erase(found);
    };
    const auto release = [&](const std::string& key) {
      const auto found = users_of_.find(key);
      if (found == users_of_.end()) return;
      found->second.erase(place);
      if (found->second.empty()) users_of_.erase(found);
    };
    for (const auto& wanted : planned.wanted) {
      const auto found = claims_.find(wanted.host);
      if (found != claims_.end()) again.insert(found->second.begin(), found->second.end());
      leave(claims_, wanted.host);
      leave(entries_, wanted.entry);
      if (const auto secret = secret_of(planned, wanted); !secret.name.empty()) release(secret.ns + "/" + secret.name);
    }
    forget_automatic(place);
    for (const auto& secret : planned.users.value_or(std::vector<std::string>())) release(planned.ns + "/" + secret);
    if (!planned.pages.empty()) release(planned.ns + "/" + planned.pages);
    plugs_.erase(place);
    for (const auto& host : model_.apps[place].hosts)
      certificates_dropped_ = certificates_dropped_ || !host.certificate.empty();
    planned = {};
    model_.backends[place] = {};
    model_.apps[place] = {};
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
    backend.enforce_tls = backend.enforce_tls || model_.settings.enforce_tls || model_.settings.hsts.enabled;
    return backend;
  }

  App app_of(const ObservedService& service, std::size_t place, const AnnotationReader& reader) {
    App app;
    app.label = service.app == service.ns ? service.app : service.ns + "/" + service.app;
    app.platform = service.ns == observed_.ns;
    app.backend = place;
    app.whitelist = whitelist_of(reader);
    app.referrer_policy = model_.settings.referrer_policy;
    read_referrer_policy(reader, app.referrer_policy);
    if (app.referrer_policy == "none") app.referrer_policy.clear();
    bool no_request_start = false;
    reader.read("disableRequestStartHeader", no_request_start);
    app.request_start = model_.settings.request_start && !no_request_start;
    reader.read("nginx.oddHeaderNames", app.odd_header_names);
    app.body_size = model_.settings.body_size;
    reader.read_size("nginx.bodySize", app.body_size, 0);
    auto hsts = model_.settings.hsts;
    read_hsts(reader, hsts);
    if (hsts.enabled) app.hsts = hsts_text(hsts);
    reader.read_count("nginx.rateLimit", app.rate, 1, 1'000'000);
    app.burst = app.rate;
    reader.read_count("nginx.rateBurst", app.burst, 1, 1'000'000);
    read_canary(service, reader, app.canary);
    return app;
  }

  static void read_canary(const ObservedService& service, const AnnotationReader& reader, App::Canary& canary) {
    const auto* text = reader.find("nginx.canary");
    if (!text || text->empty()) return;
    const auto name = parse_domain(*text);
    if (!name || !is_bare(*name) || *name == service.name)
      return reader.problem("nginx.canary", "must be the name of another service of the same namespace");
    canary.backend = service.ns + "." + *name;
    reader.read_count("nginx.canaryWeight", canary.percent, 0, 100);
    for (const auto& [key, into] :
         {std::pair("nginx.canaryHeader", &canary.header), std::pair("nginx.canaryCookie", &canary.cookie)}) {
      const auto* word = reader.find(key);
      if (!word || word->empty()) continue;
      if (is_token(*word))
        *into = lower(*word);
      else
        reader.problem(key, "must be a name of letters, digits and - _, of 64 characters at most");
    }
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

  void want_hosts(Planned& planned, const AnnotationReader& reader) {
    const auto* text = reader.find("domains");
    if (!text) return;
    const auto certificates = certificate_names(reader);
    bool automatic = false;
    reader.read("tls.auto", automatic);
    if (automatic && !observed_.has_authority) {
      automatic = false;
      reader.problem("tls.auto", "needs a certificate authority, which the operator names with ROUTER_ACME_DIRECTORY");
    }
    const auto items = parse_list(*text);
    for (const auto& item : items) {
      const auto domain = parse_domain(item);
      if (!domain) {
        reader.problem("domains", "has an item that is no domain name: " + item);
        continue;
      }
      Wanted wanted{.entry = *domain, .host = *domain, .bare = is_bare(*domain)};
      if (wanted.bare)
        wanted.host += model_.settings.platform_domain.empty() ? ".*" : "." + model_.settings.platform_domain;
      else if (const auto found = certificates.find(*domain); found != certificates.end())
        wanted.certificate = found->second + "-cert";
      // "foo.*" is no name that anybody certifies.
      wanted.automatic = automatic && wanted.certificate.empty() && !wanted.host.ends_with('*') &&
                         !(wanted.bare && !model_.platform_certificate.empty());
      planned.wanted.push_back(std::move(wanted));
    }
    want_regex(planned, items, reader);
    const auto* canonical = reader.find("nginx.canonicalHost");
    if (!canonical || canonical->empty()) return;
    const auto domain = parse_domain(*canonical);
    const auto found = std::ranges::find(planned.wanted, domain.value_or(""), &Wanted::entry);
    if (found == planned.wanted.end() || found->host.contains('*'))
      reader.problem("nginx.canonicalHost", "must be one of the domains, and no wildcard");
    else
      planned.canonical_host = found->host;
  }

  void want_regex(Planned& planned, const std::vector<std::string>& domains, const AnnotationReader& reader) {
    const auto* regex = reader.find("regexDomain");
    if (!regex || !model_.settings.regex_domains || planned.wanted.empty()) return;
    if (std::ranges::none_of(domains, [&](const auto& domain) { return regex->contains(domain); })) {
      reader.problem("regexDomain", "must contain one of the domains");
    } else if (!is_tame_regex(*regex) || regex->contains('^') || regex->contains('$') || regex->contains(' ')) {
      reader.problem("regexDomain", "is not among the regular expressions that are supported, see docs/router.md");
    } else {
      planned.has_regex = true;
      planned.wanted.push_back({.entry = *regex, .host = *regex, .regex = true});
    }
  }

  static void want_plugs(Planned& planned, const AnnotationReader& reader) {
    const auto* domain = reader.find("proxyDomain");
    if (!domain) return;
    planned.plug_target = parse_domain(trim(*domain)).value_or("?");
    const auto* paths = reader.find("proxyLocations");
    if (!paths) return;
    for (const auto& item : parse_list(*paths)) {
      if (const auto path = parse_location(item))
        planned.plug_paths.emplace_back(item, *path);
      else
        reader.problem("proxyLocations", "has an item that is no path and no supported regular expression: " + item);
    }
  }

  // Secrets and pages that belong to others are none of an app's business: their names have no namespace.
  static void read_access(Planned& planned, App& app, const AnnotationReader& reader) {
    const auto name_of = [&](std::string_view key, std::string_view text) -> std::string {
      const auto name = parse_domain(text);
      if (name) return *name;
      reader.problem(key, "has an item that is no name of an object: " + std::string(text));
      return "";
    };
    if (const auto* text = reader.find("nginx.basicAuth"); text && !text->empty()) {
      planned.users.emplace();
      app.users.emplace();
      for (const auto& item : parse_list(*text)) {
        if (auto name = name_of("nginx.basicAuth", item); !name.empty()) planned.users->push_back(std::move(name));
      }
    }
    if (const auto* text = reader.find("nginx.errorPages"); text && !text->empty())
      planned.pages = name_of("nginx.errorPages", *text);
  }

  // --- what it gets

  void resolve(std::size_t place) {
    auto& planned = planned_[place];
    auto& app = model_.apps[place];
    for (const auto& host : app.hosts) certificates_dropped_ = certificates_dropped_ || !host.certificate.empty();
    forget_automatic(place);
    app.hosts.clear();
    planned.refusals.clear();
    const AnnotationReader reader(no_annotations, "", full_name(planned), planned.refusals);
    for (const auto& wanted : planned.wanted) {
      const auto owner = claims_.at(wanted.host).front();
      const std::string_view key = wanted.regex ? "regexDomain" : "domains";
      if (owner != place) {
        reader.problem(key, wanted.host + " belongs to " + full_name(planned_[owner]) + ", which is older");
        continue;
      }
      if (std::ranges::find(app.hosts, wanted.host, &Host::name) != app.hosts.end()) continue;
      if (wanted.regex) {
        app.hosts.push_back({.name = "^(?:" + wanted.host + ")\\.(.+)$", .regex = true, .certificate = ""});
        continue;
      }
      app.hosts.push_back({.name = wanted.host, .certificate = certificate_of(planned, wanted)});
      if (wanted.automatic) model_.automatic.insert_or_assign(wanted.host, full_name(planned));
    }
    if (app.hosts.empty()) app.locations.clear();
    const bool has_canonical = std::ranges::find(app.hosts, planned.canonical_host, &Host::name) != app.hosts.end();
    app.canonical_host = has_canonical ? planned.canonical_host : "";
    grant_access(planned, app, reader);
  }

  void forget_automatic(std::size_t place) {
    for (const auto& host : model_.apps[place].hosts) {
      const auto found = model_.automatic.find(host.name);
      if (found != model_.automatic.end() && found->second == full_name(planned_[place])) model_.automatic.erase(found);
    }
  }

  // Where a name's certificate is. Those that we get ourselves are in our own namespace, where no tenant reads.
  struct SecretName {
    std::string ns, name;
  };
  SecretName secret_of(const Planned& planned, const Wanted& wanted) const {
    if (wanted.automatic) return {observed_.ns, acme::secret_name(wanted.host)};
    return {planned.ns, wanted.certificate};
  }

  std::string certificate_of(Planned& planned, const Wanted& wanted) {
    const auto secret = secret_of(planned, wanted);
    if (wanted.automatic && !observed_.certificates.contains(secret.ns + "/" + secret.name)) return "";
    if (wanted.bare && !wanted.automatic) return model_.platform_certificate;
    if (secret.name.empty()) return "";
    const auto key = wanted.automatic ? "router.deis.io/tls.auto" : "router.deis.io/certificates";
    return use_secret(secret, {full_name(planned), key, ""}, planned.refusals);
  }

  void challenge(std::vector<Challenge> challenges) {
    model_.challenges = std::move(challenges);
    for (const auto& one : model_.challenges) model_.certificates.emplace(one.certificate.id, one.certificate);
    certificates_dropped_ = true;
  }

  // A Secret that is not there lets nobody in.
  void grant_access(const Planned& planned, App& app, const AnnotationReader& reader) const {
    if (planned.users) {
      app.users.emplace();
      for (const auto& name : *planned.users) {
        const auto found = observed_.credentials.find(planned.ns + "/" + name);
        if (found == observed_.credentials.end())
          reader.problem("nginx.basicAuth", "there is no secret " + name + " of type kubernetes.io/basic-auth");
        else
          app.users->push_back(found->second);
      }
    }
    app.pages.clear();
    if (planned.pages.empty()) return;
    const auto found = observed_.pages.find(planned.ns + "/" + planned.pages);
    if (found == observed_.pages.end())
      reader.problem("nginx.errorPages",
                     "there is no config map " + planned.pages + " with the label router.deis.io/pages=true");
    else
      app.pages = found->second;
  }

  // The id of a certificate, or "" with a problem told.
  std::string use_secret(const SecretName& secret, Problem where, std::vector<Problem>& problems) {
    const auto tell = [&](std::string what) {
      where.what = std::move(what);
      problems.push_back(where);
    };
    const auto found = observed_.certificates.find(secret.ns + "/" + secret.name);
    if (found == observed_.certificates.end()) {
      if (secret.name != "deis-router-platform-cert")
        tell("there is no secret " + secret.name + " of type kubernetes.io/tls");
      return "";
    }
    if (!found->second.problem.empty()) tell("the secret " + secret.name + ": " + found->second.problem);
    if (!found->second.certificate) return "";
    const auto& certificate = *found->second.certificate;
    model_.certificates.emplace(certificate.id, certificate);
    return certificate.id;
  }

  void drop_unused_certificates() {
    std::set<std::string> used{model_.platform_certificate};
    for (const auto& app : model_.apps) {
      for (const auto& host : app.hosts) used.insert(host.certificate);
    }
    for (const auto& one : model_.challenges) used.insert(one.certificate.id);
    std::erase_if(model_.certificates, [&](const auto& entry) { return !used.contains(entry.first); });
    certificates_dropped_ = false;
  }

  // --- services under paths of other ones' hosts

  // Returns apps whose paths are other ones than before.
  std::set<std::size_t> plug_all() {
    std::map<std::size_t, std::vector<Location>> before;
    for (const auto place : plugged_) before.emplace(place, std::exchange(model_.apps[place].locations, {}));
    plugged_.clear();
    std::vector<std::size_t> plugs(plugs_.begin(), plugs_.end());
    std::ranges::sort(plugs, [&](std::size_t a, std::size_t b) { return is_older(a, b); });
    for (const auto place : plugs) plug(place);
    std::set<std::size_t> changed;
    for (const auto& [place, locations] : before) {
      if (model_.apps[place].locations != locations) changed.insert(place);
    }
    for (const auto place : plugged_) {
      if (!before.contains(place)) changed.insert(place);
    }
    return changed;
  }

  void plug(std::size_t place) {
    auto& planned = planned_[place];
    planned.plug_problems.clear();
    const AnnotationReader reader(no_annotations, "", full_name(planned), planned.plug_problems);
    const auto target = target_of(planned);
    if (!target) return reader.problem("proxyDomain", "is no domain of any routed app");
    auto& app = model_.apps[*target];
    for (const auto& [text, path] : planned.plug_paths) {
      if (!is_free(app, path)) {
        reader.problem("proxyLocations", text + " is taken by an older service");
        continue;
      }
      app.locations.push_back({path, place});
      plugged_.insert(*target);
    }
  }

  // Several apps may have the same bare entry as text only while a platform domain tells them apart; ours come first.
  std::optional<std::size_t> target_of(const Planned& planned) const {
    const auto found = entries_.find(planned.plug_target);
    if (found == entries_.end()) return std::nullopt;
    std::optional<std::size_t> best;
    for (const auto place : found->second) {
      if (!has_entry(place, planned.plug_target)) continue;
      const auto rank = [&](std::size_t p) { return planned_[p].ns == planned.ns ? 0 : 1; };
      if (!best || rank(place) < rank(*best) || (rank(place) == rank(*best) && is_older(place, *best))) best = place;
    }
    return best;
  }

  // Whether the app has what it asked for by this text.
  bool has_entry(std::size_t place, const std::string& entry) const {
    return std::ranges::any_of(planned_[place].wanted, [&](const Wanted& wanted) {
      return wanted.entry == entry && !wanted.regex && claims_.at(wanted.host).front() == place;
    });
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
    const AnnotationReader reader(observed_.builder->annotations, "nginx.", observed_.ns + "/deis-builder", problems_);
    BuilderStream stream{.addresses = observed_.builder->addresses};
    reader.read("connectTimeout", stream.connect_timeout);
    reader.read("tcpTimeout", stream.io_timeout);
    model_.builder = std::move(stream);
  }

  Observed observed_;  // without its services, which are in `planned_`
  Model model_;
  std::vector<Planned> planned_;  // by place
  std::map<std::string, std::size_t> places_;
  std::vector<std::size_t> free_;
  std::unordered_map<std::string, std::vector<std::size_t>> claims_;   // who asks for a host, oldest first
  std::unordered_map<std::string, std::vector<std::size_t>> entries_;  // who has an entry in `domains`
  std::map<std::string, std::set<std::size_t>> users_of_;              // of a Secret or ConfigMap
  std::set<std::size_t> plugs_, plugged_;  // services with proxyDomain; apps that have their paths
  std::vector<Problem> problems_;          // of the router itself
  bool certificates_dropped_ = false;
};

Planner::Planner(Observed observed) : work_(std::make_unique<Work>(std::move(observed))) {}
Planner::~Planner() = default;
Planner::Planner(Planner&&) noexcept = default;
Planner& Planner::operator=(Planner&&) noexcept = default;

const Model& Planner::model() const { return work_->model(); }
std::optional<Touched> Planner::update(const Changes& changes) { return work_->update(changes); }
std::vector<Problem> Planner::problems() const { return work_->problems(); }
std::vector<Problem> Planner::problems_of(const std::string& service) const { return work_->problems_of(service); }
const std::map<std::string, std::size_t>& Planner::places() const { return work_->places(); }

std::int64_t Planner::version_of(const std::string& service) const {
  const auto* planned = work_->find(service);
  return planned ? planned->version : 0;
}

std::map<std::string, std::int64_t> Planner::certificate_versions(const std::string& ns) const {
  std::map<std::string, std::int64_t> versions;
  const auto prefix = ns + "/";
  const auto& all = work_->observed().certificates;
  for (auto at = all.lower_bound(prefix); at != all.end() && at->first.starts_with(prefix); ++at)
    versions.emplace(at->first.substr(prefix.size()), at->second.version);
  return versions;
}

}  // namespace workflow::router
