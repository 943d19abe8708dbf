// src/router/model.h: what the router should do, decided from what the cluster says. Plain functions, no I/O.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "router/values.h"

namespace workflow::router {

using Annotations = std::map<std::string, std::string>;

// A certificate and its key that OpenSSL accepted as a pair.
struct Certificate {
  std::string id;  // digest of both texts: a new text is a new file
  std::string certificate_pem, key_pem;
  bool operator==(const Certificate&) const = default;
};

// --- what we see

struct ObservedService {
  std::string ns, name, app;  // app: the label, or the name
  Time created;
  std::int64_t version = 0;  // resourceVersion, which grows
  Annotations annotations;
  std::vector<std::string> addresses;  // of ready pods, with port, in order
};
struct ObservedSecret {
  std::optional<Certificate> certificate;
  std::string problem;       // why it cannot be used as it is; an older certificate may still be there
  std::int64_t version = 0;  // resourceVersion
};
using Pages = std::map<std::string, std::string>;  // HTML by "403", "413", "429", "502", "503", "504", "maintenance"
// A certificate authority asks for this answer, by HTTP at a path that has the token, or by TLS with the certificate.
struct Challenge {
  std::string domain, token, answer;
  Certificate certificate;
};
struct ObservedBuilder {
  Annotations annotations;
  std::vector<std::string> addresses;
};
struct Observed {
  Annotations router;           // of Deployment deis-router
  std::string ns;               // our own
  std::string platform_domain;  // PLATFORM_DOMAIN; the annotation wins
  std::vector<ObservedService> services;
  std::map<std::string, ObservedSecret> certificates;  // by "namespace/name of the secret"
  std::map<std::string, std::string> credentials;      // "user:password", the same
  std::map<std::string, Pages> pages;                  // by "namespace/name of the config map"
  std::string dhparam_pem;
  std::optional<ObservedBuilder> builder;
  bool has_authority = false;  // that certificates can be had from
  std::vector<Challenge> challenges;
};

// --- what we make of it

struct Buffers {
  bool enabled = false;
  std::int64_t number = 8, size = 4096, busy_size = 8192;
  bool operator==(const Buffers&) const = default;
};

struct Gzip {
  bool enabled = true;
  std::int64_t level = 5, min_length = 256;
  std::string disable = "msie6", http_version = "1.1", proxied = "any", types, vary = "on";
};

struct Hsts {
  bool enabled = false, subdomains = false, preload = false;
  std::int64_t max_age = 15'552'000;
};

struct RouterSettings {
  std::optional<std::int64_t> worker_processes, worker_connections;
  std::chrono::milliseconds default_timeout{1'300'000};
  Gzip gzip;
  std::int64_t body_size = 1 << 20;
  std::int64_t header_buffers = 4, header_buffer_size = 32 << 10;
  std::vector<std::string> trusted_peers;  // who may state a client's address: nobody unless the operator says so
  std::string error_log_level = "error";
  std::string platform_domain;
  bool proxy_protocol = false, hide_version = false, request_ids = true, request_start = false, http2 = true;
  bool enforce_whitelists = false, extend_whitelists = true, regex_domains = false;
  std::vector<std::string> default_whitelist;
  std::string default_service_address, default_app_name;  // address: "" none
  std::string log_format;                                 // "": the default
  Buffers buffers;
  std::string referrer_policy;
  bool enforce_tls = false;
  std::string protocols = "TLSv1.2 TLSv1.3", ciphers;  // ciphers: "": ours
  std::string session_cache;
  std::chrono::milliseconds session_timeout{600'000};
  bool session_tickets = true;
  std::int64_t tls_buffer_size = 4096;
  Hsts hsts;
  std::vector<std::string> early_data_methods{"GET", "HEAD", "OPTIONS"};
};

// Where requests go, with the rules that belong to the service itself.
struct Backend {
  std::string name;  // of the upstream: "namespace.service"
  std::vector<std::string> addresses;
  std::chrono::milliseconds connect_timeout{30'000}, io_timeout{};
  Buffers buffers;
  bool maintenance = false, enforce_tls = false;
  bool affinity = false;  // a client stays with its pod, by a cookie
  bool grpc = false;      // its pods speak HTTP/2 without TLS
  std::chrono::milliseconds slow_start{0};
};

struct Host {
  std::string name;  // "foo.example.com", "*.foo.com", "foo.*", or a regular expression
  bool regex = false;
  std::string certificate;  // its id; "": no HTTPS
};

struct Location {
  LocationPath path;
  std::size_t backend;  // in Model::backends
  bool operator==(const Location&) const = default;
};

struct App {
  std::string label;  // in logs: "foo", "deis/deis-controller"
  std::size_t backend;
  std::vector<Host> hosts;
  std::vector<Location> locations;
  std::optional<std::vector<std::string>> whitelist;  // set: nobody else may
  std::string referrer_policy;                        // "": none
  bool request_start = true;
  bool odd_header_names = false;                  // names with "_" and "." are passed on
  bool platform = false;                          // of our own namespace: errors are for programs
  std::int64_t body_size = 1 << 20;               // 0: any
  std::string hsts;                               // the header; "": none
  std::string canonical_host;                     // other hosts are redirected to it; "": none are
  std::optional<std::vector<std::string>> users;  // "user:password"; set: nobody else may
  Pages pages;
  struct Canary {
    std::string backend;  // its name; "": none. While it is not there, nobody is sent to it
    std::int64_t percent = 0;
    std::string header, cookie;  // "always" and "never" in them win over the share
  } canary;
  std::int64_t rate = 0, burst = 0;  // requests a second of a client's address; 0: any
};

struct BuilderStream {
  std::vector<std::string> addresses;
  std::chrono::milliseconds connect_timeout{10'000}, io_timeout{1'200'000};
};

// Something that an annotation asked for and did not get.
struct Problem {
  std::string service;  // "namespace/name"
  std::string key, what;
  auto operator<=>(const Problem&) const = default;
};

// A service has one place in `backends` and the same one in `apps`. Places begin with the oldest service; that of a
// service that is gone is empty (its backend has no name) until another one takes it.
struct Model {
  RouterSettings settings;
  std::vector<Backend> backends;
  std::vector<App> apps;
  std::map<std::string, Certificate> certificates;  // those in use, by id
  std::string platform_certificate;                 // id; "": a self-signed one
  std::string dhparam_pem;
  std::optional<BuilderStream> builder;
  std::map<std::string, std::string> automatic;  // hosts that are to have certificates of their own → "namespace/name"
  std::vector<Challenge> challenges;
};

// What came, changed or went of an Observed.
struct Changes {
  std::map<std::string, std::optional<ObservedService>> services;     // by "namespace/name"; nullopt: gone
  std::map<std::string, std::optional<ObservedSecret>> certificates;  // the same, as are these
  std::map<std::string, std::optional<std::string>> credentials;
  std::map<std::string, std::optional<Pages>> pages;
  std::optional<std::vector<Challenge>> challenges;  // all of them, if any of them changed
};

// What an update of the model touched: these places, and names that led somewhere before it.
struct Touched {
  std::set<std::size_t> places;
  std::set<std::string> hosts, backends;
  bool challenges = false;
};

// Makes the model and keeps it current: the cost of a change depends on what it concerns, not on how many services
// there are. A model that was kept current is the one that would be made anew, but for the order of places.
class Planner {
 public:
  explicit Planner(Observed observed);
  ~Planner();
  Planner(Planner&&) noexcept;
  Planner& operator=(Planner&&) noexcept;

  const Model& model() const;
  // nullopt: this concerns more than some services, and the model has to be made anew from another Observed.
  std::optional<Touched> update(const Changes& changes);
  std::vector<Problem> problems() const;                               // all, sorted
  std::vector<Problem> problems_of(const std::string& service) const;  // sorted
  const std::map<std::string, std::size_t>& places() const;            // by "namespace/name"
  // resourceVersions of what a service was planned from: its own, and those of the certificates in its namespace.
  std::int64_t version_of(const std::string& service) const;
  std::map<std::string, std::int64_t> certificate_versions(const std::string& ns) const;

 private:
  class Work;
  std::unique_ptr<Work> work_;
};

}  // namespace workflow::router
