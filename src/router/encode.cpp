#include "router/encode.h"

#include <arpa/inet.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"
#include "router/table/table.h"

namespace workflow::router {
namespace {

std::uint8_t parse_address(const std::string& text, std::uint8_t* into) {
  const bool six = text.contains(':');
  const int read = ::inet_pton(six ? AF_INET6 : AF_INET, text.c_str(), into);
  WF_CHECK(read == 1);  // the model has only addresses that were read before
  return six ? 6 : 4;
}

table::Range range_of(const std::string& text) {
  table::Range range;
  const auto slash = text.find('/');
  range.family = parse_address(text.substr(0, slash), range.address);
  range.prefix = static_cast<std::uint8_t>(parse_integer(text.substr(slash + 1)).value_or(0));
  return range;
}

// "10.0.0.1:80" or "[::1]:80".
table::Endpoint endpoint_of(const std::string& text) {
  table::Endpoint endpoint;
  const auto colon = text.rfind(':');
  auto address = text.substr(0, colon);
  if (address.starts_with('[')) address = address.substr(1, address.size() - 2);
  endpoint.family = parse_address(address, endpoint.address);
  endpoint.port = static_cast<std::uint16_t>(parse_integer(text.substr(colon + 1)).value_or(0));
  return endpoint;
}

table::PathKind kind_of(const std::string& modifier) {
  if (modifier == "=") return table::PathKind::exact;
  if (modifier == "^~") return table::PathKind::prefix_before_regex;
  if (modifier == "~") return table::PathKind::regex;
  if (modifier == "~*") return table::PathKind::regex_any_case;
  return table::PathKind::prefix;
}

std::uint32_t milliseconds(std::chrono::milliseconds time) {
  return static_cast<std::uint32_t>(std::min<std::int64_t>(time.count(), 0x7fffffff));
}

table::Digest digest_of(const std::string& credential, std::uint64_t seed) {
  std::string salted(sizeof seed, '\0');
  std::memcpy(salted.data(), &seed, sizeof seed);
  const auto sum = sha256(salted + credential);
  table::Digest digest;
  WF_CHECK(sum.size() == sizeof digest.bytes);
  std::memcpy(digest.bytes, sum.data(), sizeof digest.bytes);
  return digest;
}

class Encoder {
 public:
  Encoder(const Model& model, TableVersion version, std::uint64_t base = 0)
      : model_(model), mark_(base == 0 ? 0 : table::amending) {
    header_.generation = version.generation;
    header_.seed = version.seed;
    header_.base = base;
    bytes_.resize(sizeof header_);
  }

  std::string all() {
    bytes_.reserve(sizeof header_ + model_.apps.size() * 640);
    std::vector<std::size_t> places;
    for (std::size_t place = 0; place < model_.backends.size(); ++place) {
      if (!model_.backends[place].name.empty()) places.push_back(place);
    }
    add(places);
    settings();
    return finish();
  }

  std::string amendment(const Touched& touched) {
    std::vector<std::size_t> places;
    for (const auto place : touched.places) {
      if (!model_.backends[place].name.empty()) places.push_back(place);
    }
    add(places);
    std::unordered_set<std::string_view> there;
    for (const auto place : places) {
      there.insert(model_.backends[place].name);
      for (const auto& host : model_.apps[place].hosts) there.insert(host.name);
    }
    for (const auto& name : touched.hosts) {
      if (!there.contains(name)) hosts_.push_back({.name = text(name)});
    }
    for (const auto& name : touched.backends) {
      if (!there.contains(name)) backends_.push_back({.name = text(name), .flags = table::backend_flags::gone});
    }
    return finish();
  }

 private:
  // What stands at the places, and the services that their paths lead to.
  void add(const std::vector<std::size_t>& places) {
    for (const auto place : places) {
      add_backend(place);
      for (const auto& location : model_.apps[place].locations) add_backend(location.backend);
    }
    for (const auto place : places) {
      const auto& app = model_.apps[place];
      const auto index = static_cast<std::uint32_t>(apps_.size()) | mark_;
      apps_.push_back(app_of(app));
      for (const auto& host : app.hosts) {
        (host.regex ? regexes_ : hosts_).push_back({text(host.name), text(host.certificate), index});
      }
    }
  }

  void add_backend(std::size_t place) {
    const auto index = static_cast<std::uint32_t>(backends_.size()) | mark_;
    if (backend_at_.emplace(place, index).second) backends_.push_back(backend_of(model_.backends[place]));
  }

  std::string finish() {
    std::vector<table::Challenge> challenges;
    for (const auto& challenge : model_.challenges) {
      challenges.push_back(
          {text(challenge.domain), text(challenge.token), text(challenge.answer), text(challenge.certificate.id)});
    }
    header_.challenges = list(challenges);
    header_.host_slots = slots(hosts_);
    header_.backend_slots = slots(backends_);
    header_.regexes = static_cast<std::uint32_t>(regexes_.size());
    hosts_.insert(hosts_.end(), regexes_.begin(), regexes_.end());
    header_.hosts = list(hosts_);
    header_.backends = list(backends_);
    header_.apps = list(apps_);
    std::memcpy(header_.magic, table::magic, sizeof header_.magic);
    header_.version = table::layout_version;
    header_.header_size = sizeof header_;
    header_.size = bytes_.size();
    WF_CHECK(bytes_.size() < table::amending);
    std::memcpy(bytes_.data(), &header_, sizeof header_);
    header_.checksum = table::checksum_of(std::as_bytes(std::span(bytes_)));
    std::memcpy(bytes_.data(), &header_, sizeof header_);
    return std::move(bytes_);
  }

  table::Text text(std::string_view text) {
    if (text.empty()) return {};
    const auto offset = static_cast<std::uint32_t>(bytes_.size());
    bytes_ += text;
    return {offset | mark_, static_cast<std::uint32_t>(text.size())};
  }

  template <typename T>
  table::List<T> list(const std::vector<T>& items) {
    if (items.empty()) return {};
    bytes_.resize((bytes_.size() + alignof(T) - 1) / alignof(T) * alignof(T));
    const auto offset = static_cast<std::uint32_t>(bytes_.size());
    bytes_.append(reinterpret_cast<const char*>(items.data()), items.size() * sizeof(T));
    return {offset | mark_, static_cast<std::uint32_t>(items.size())};
  }

  template <typename T>
  table::List<std::uint32_t> slots(const std::vector<T>& items) {
    if (items.empty()) return {};
    std::vector<std::uint32_t> slots(std::bit_ceil(items.size() * 2));
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::string_view name(bytes_.data() + (items[i].name.offset & ~table::amending), items[i].name.size);
      auto at = table::hash_of(name, header_.seed) & (slots.size() - 1);
      while (slots[at] != 0) at = (at + 1) & (slots.size() - 1);
      slots[at] = static_cast<std::uint32_t>(i + 1);
    }
    return list(slots);
  }

  table::List<table::Range> ranges(const std::vector<std::string>& texts) {
    std::vector<table::Range> ranges;
    for (const auto& text : texts) ranges.push_back(range_of(text));
    return list(ranges);
  }

  table::Backend backend_of(const Backend& backend) {
    namespace flags = table::backend_flags;
    table::Backend out;
    out.name = text(backend.name);
    std::vector<table::Endpoint> endpoints;
    for (const auto& address : backend.addresses) endpoints.push_back(endpoint_of(address));
    out.endpoints = list(endpoints);
    out.flags = (backend.maintenance ? flags::maintenance : 0) | (backend.enforce_tls ? flags::enforce_tls : 0) |
                (backend.buffers.enabled ? flags::buffering : 0) | (backend.affinity ? flags::affinity : 0) |
                (backend.grpc ? flags::grpc : 0);
    out.connect_timeout = milliseconds(backend.connect_timeout);
    out.io_timeout = milliseconds(backend.io_timeout);
    out.slow_start = milliseconds(backend.slow_start);
    out.buffers = static_cast<std::uint32_t>(backend.buffers.number);
    out.buffer_size = static_cast<std::uint32_t>(backend.buffers.size);
    out.busy_size = static_cast<std::uint32_t>(backend.buffers.busy_size);
    return out;
  }

  void settings() {
    const auto& settings = model_.settings;
    auto& out = header_.settings;
    out.flags = settings.request_ids ? table::settings_flags::request_ids : 0;
    out.platform_certificate = text(model_.platform_certificate);
    out.trusted = ranges(settings.trusted_peers);
    std::vector<table::Text> methods;
    for (const auto& method : settings.early_data_methods) methods.push_back(text(method));
    out.early_methods = list(methods);
    out.default_body_limit = static_cast<std::uint64_t>(settings.body_size);
    const auto& address = settings.default_service_address;
    if (address.empty()) return;
    out.default_label = text(settings.default_app_name.empty() ? "router-default-vhost" : settings.default_app_name);
    out.default_backend = static_cast<std::uint32_t>(backends_.size());
    backends_.push_back(backend_of({.name = ".default",
                                    .addresses = {(address.contains(':') ? "[" + address + "]" : address) + ":80"},
                                    .io_timeout = std::chrono::seconds(60),
                                    .buffers = settings.buffers}));
  }

  table::App app_of(const App& app) {
    namespace flags = table::app_flags;
    table::App out;
    out.label = text(app.label);
    out.referrer_policy = text(app.referrer_policy);
    out.hsts = text(app.hsts);
    out.backend = backend_at_.at(app.backend);
    out.flags = (app.whitelist ? flags::whitelisted : 0) | (app.request_start ? flags::request_start : 0) |
                (app.platform ? flags::platform : 0) | (app.odd_header_names ? flags::odd_header_names : 0) |
                (app.users ? flags::authenticated : 0);
    if (app.whitelist) out.whitelist = ranges(*app.whitelist);
    std::vector<table::Location> locations;
    for (const auto& location : app.locations) {
      locations.push_back(
          {text(location.path.path), kind_of(location.path.modifier), backend_at_.at(location.backend)});
    }
    out.locations = list(locations);
    rules(app, out);
    return out;
  }

  void rules(const App& app, table::App& out) {
    out.body_limit = static_cast<std::uint64_t>(app.body_size);
    out.canonical_host = text(app.canonical_host);
    std::vector<table::Digest> users;
    for (const auto& user : app.users.value_or(std::vector<std::string>()))
      users.push_back(digest_of(user, header_.seed));
    out.users = list(users);
    std::vector<table::Page> pages;
    for (const auto& [name, html] : app.pages)
      pages.push_back({static_cast<std::uint32_t>(parse_integer(name).value_or(0)), text(html)});
    out.pages = list(pages);
    out.canary = text(app.canary.backend);
    out.canary_percent = static_cast<std::uint32_t>(app.canary.percent);
    out.canary_header = text(app.canary.header);
    out.canary_cookie = text(app.canary.cookie);
    out.rate = static_cast<std::uint32_t>(app.rate);
    out.burst = static_cast<std::uint32_t>(app.burst);
  }

  const Model& model_;
  const std::uint32_t mark_;
  std::string bytes_;
  table::Header header_{};
  std::vector<table::Host> hosts_, regexes_;
  std::unordered_map<std::size_t, std::uint32_t> backend_at_;  // their indices, by place in the model
  std::vector<table::Backend> backends_;
  std::vector<table::App> apps_;
};

}  // namespace

std::string encode_table(const Model& model, TableVersion version) { return Encoder(model, version).all(); }

std::string encode_amendment(const Model& model, const Touched& touched, std::uint64_t base, TableVersion version) {
  return Encoder(model, version, base).amendment(touched);
}

}  // namespace workflow::router
