// src/router/model.h: what the router should do, decided from what the cluster says. Plain functions, no I/O.
#pragma once
#include <chrono>
#include <map>
#include <optional>
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
  Annotations annotations;
  std::vector<std::string> addresses;  // of ready pods, with port, in order
};
struct ObservedSecret {
  std::optional<Certificate> certificate;
  std::string problem;  // why it cannot be used as it is; an older certificate may still be there
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
  std::string dhparam_pem;
  std::optional<ObservedBuilder> builder;
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
  bool hsts = false, hsts_subdomains = false, hsts_preload = false;
  std::int64_t hsts_max_age = 15'552'000;
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
};

struct App {
  std::string label;  // in logs: "foo", "deis/deis-controller"
  std::size_t backend;
  std::vector<Host> hosts;
  std::vector<Location> locations;
  std::optional<std::vector<std::string>> whitelist;  // set: nobody else may
  std::string referrer_policy;                        // "": none
  bool request_start = true;
  bool odd_header_names = false;  // names with "_" and "." are passed on
  bool platform = false;          // of our own namespace: errors are for programs
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

struct Model {
  RouterSettings settings;
  std::vector<Backend> backends;
  std::vector<App> apps;                            // oldest first
  std::map<std::string, Certificate> certificates;  // those in use, by id
  std::string platform_certificate;                 // id; "": a self-signed one
  std::string dhparam_pem;
  std::optional<BuilderStream> builder;
  std::vector<Problem> problems;  // sorted
};

Model build_model(const Observed& observed);

}  // namespace workflow::router
