#include "router/encode.h"

#include <arpa/inet.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

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

class Encoder {
 public:
  Encoder(const Model& model, TableVersion version) : model_(model) {
    header_.generation = version.generation;
    header_.seed = version.seed;
    bytes_.reserve(sizeof header_ + model.apps.size() * 512);
    bytes_.resize(sizeof header_);
  }

  std::string encode() {
    for (const auto& backend : model_.backends) backends_.push_back(backend_of(backend));
    settings();
    std::vector<table::Host> regexes;
    for (const auto& app : model_.apps) {
      const auto index = static_cast<std::uint32_t>(apps_.size());
      apps_.push_back(app_of(app));
      for (const auto& host : app.hosts) {
        (host.regex ? regexes : hosts_).push_back({text(host.name), text(host.certificate), index});
      }
    }
    header_.host_slots = slots(hosts_);
    header_.backend_slots = slots(backends_);
    header_.regexes = static_cast<std::uint32_t>(regexes.size());
    hosts_.insert(hosts_.end(), regexes.begin(), regexes.end());
    header_.hosts = list(hosts_);
    header_.backends = list(backends_);
    header_.apps = list(apps_);
    std::memcpy(header_.magic, table::magic, sizeof header_.magic);
    header_.version = table::layout_version;
    header_.header_size = sizeof header_;
    header_.size = bytes_.size();
    WF_CHECK(bytes_.size() < table::none);
    std::memcpy(bytes_.data(), &header_, sizeof header_);
    header_.checksum = table::checksum_of(std::as_bytes(std::span(bytes_)));
    std::memcpy(bytes_.data(), &header_, sizeof header_);
    return std::move(bytes_);
  }

 private:
  table::Text text(std::string_view text) {
    if (text.empty()) return {};
    const auto offset = static_cast<std::uint32_t>(bytes_.size());
    bytes_ += text;
    return {offset, static_cast<std::uint32_t>(text.size())};
  }

  template <typename T>
  table::List<T> list(const std::vector<T>& items) {
    if (items.empty()) return {};
    bytes_.resize((bytes_.size() + alignof(T) - 1) / alignof(T) * alignof(T));
    const auto offset = static_cast<std::uint32_t>(bytes_.size());
    bytes_.append(reinterpret_cast<const char*>(items.data()), items.size() * sizeof(T));
    return {offset, static_cast<std::uint32_t>(items.size())};
  }

  template <typename T>
  table::List<std::uint32_t> slots(const std::vector<T>& items) {
    if (items.empty()) return {};
    std::vector<std::uint32_t> slots(std::bit_ceil(items.size() * 2));
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::string_view name(bytes_.data() + items[i].name.offset, items[i].name.size);
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
    if (settings.hsts) {
      out.hsts =
          text("max-age=" + std::to_string(settings.hsts_max_age) +
               (settings.hsts_subdomains ? "; includeSubDomains" : "") + (settings.hsts_preload ? "; preload" : ""));
    }
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
    out.backend = static_cast<std::uint32_t>(app.backend);
    out.flags = (app.whitelist ? flags::whitelisted : 0) | (app.request_start ? flags::request_start : 0) |
                (app.platform ? flags::platform : 0) | (app.odd_header_names ? flags::odd_header_names : 0);
    if (app.whitelist) out.whitelist = ranges(*app.whitelist);
    std::vector<table::Location> locations;
    for (const auto& location : app.locations) {
      locations.push_back(
          {text(location.path.path), kind_of(location.path.modifier), static_cast<std::uint32_t>(location.backend)});
    }
    out.locations = list(locations);
    return out;
  }

  const Model& model_;
  std::string bytes_;
  table::Header header_{};
  std::vector<table::Host> hosts_;
  std::vector<table::Backend> backends_;
  std::vector<table::App> apps_;
};

}  // namespace

std::string encode_table(const Model& model, TableVersion version) { return Encoder(model, version).encode(); }

}  // namespace workflow::router
