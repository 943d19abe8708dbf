// src/router/acme/acme.h: certificates on demand for the names of apps, from an authority that speaks ACME (RFC 8555).
//   Owns    in the router's own namespace, where no tenant reads: the Secrets "deis-router-acme" (the account's key),
//           "acme-<digest>" (a name's certificate) and "acme-<digest>-order" (what was tried), the ConfigMap
//           "deis-router-acme" (answers to challenges, which are no secret), the Lease "deis-router-acme".
//   Needs   the authority; routers that serve the ConfigMap's answers, each of which tells at
//           /v1/challenges/<token> that it does.
//   Each step is written down before it is done: whoever comes after a crash goes on with the same order.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/base/settings.h"
#include "lib/kube/client.h"
#include "router/acme/authority.h"
#include "router/acme/plan.h"
#include "router/lease/lease.h"

namespace workflow::router::acme {

struct Config {
  std::string directory;     // ROUTER_ACME_DIRECTORY: URL of the authority's directory; "" (default): no certificates
  std::string contact;       // ROUTER_ACME_CONTACT: mail address for the authority; default none
  std::string ca_file;       // ROUTER_ACME_CA_FILE: whom we believe to be the authority; default: the system's roots
  std::string bound_key_id;  // ROUTER_ACME_EAB_KEY_ID: of an account at the authority that ours is bound to
  Secret bound_key;          // ROUTER_ACME_EAB_KEY, ROUTER_ACME_EAB_KEY_FILE: its key, in base64url
  std::vector<std::string> challenges;  // ROUTER_ACME_CHALLENGES: in order; default http-01,tls-alpn-01; dns-01
  std::string dns_hook;                 // ROUTER_ACME_DNS_HOOK: program for dns-01: <present|remove> <name> <value>
  static Config from(Env& env);
  bool enabled() const { return !directory.empty(); }
};

class Acme {
 public:
  struct Parts {
    kube::Client& client;
    std::string ns;
    std::uint16_t router_port;  // where routers tell what they serve
    // Tells the owner of a name what is wrong with it.
    std::function<void(const std::string& service, const std::string& problem)> report;
  };
  Acme(Parts parts, Config config);
  ~Acme();
  // Domain → "namespace/service". What is missing here is renewed no more.
  using Domains = std::map<std::string, std::string>;
  void want(Domains domains);
  Task<> watch();  // both until cancelled
  Task<> run();
  std::size_t waiting() const;  // names without a certificate that is valid

 private:
  struct Known {
    Attempts attempts;
    std::optional<Validity> certificate;
  };
  struct Job;
  Known known(const std::string& domain) const;
  std::optional<Validity> certificate_of(const std::string& domain) const;
  Time next(const std::string& domain, Time now) const;
  std::vector<std::string> due(Time now) const;
  Task<> work();
  Task<> obtain(std::string domain, std::string service);
  Task<> advance(Job& job);
  Task<> prove(Job& job, const std::string& url);
  Task<> validate(Job& job, const std::string& url, const Challenge& challenge);
  Task<> present(Job& job, const Challenge& challenge);
  Task<> settle(Job& job, std::string pem);
  Task<> open_authority();
  Task<> clear_challenges();
  Task<> withdraw(const Job& job, const Challenge& challenge);
  Task<> wait_served(std::string token);
  Task<> dns(std::string verb, std::string domain, std::string answer);
  Task<Attempts> load(std::string domain);
  Task<> store(std::string domain, const Attempts& attempts);
  Task<> write_secret(std::string name, std::string domain, std::map<std::string, std::string> values,
                      std::string type);
  Task<> forget();

  Parts parts_;
  Config config_;
  Domains wanted_;
  Notifier changed_;
  kube::Informer secrets_;
  Lease lease_;
  http::Client routers_;
  std::shared_ptr<Authority> authority_;  // of orders under way, too
  std::set<std::string> busy_;            // services that have an order under way
  struct Read {
    kube::Informer::Object secret;
    std::optional<Validity> validity;
  };
  mutable std::map<std::string, Read> read_;  // by domain: reading a certificate takes a while
};

}  // namespace workflow::router::acme
