#include "controller/registry.h"

#include <algorithm>

#include "lib/base/encoding.h"
#include "lib/base/image_name.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

using namespace std::chrono_literals;

constexpr auto time_for_all = 15s;
constexpr std::size_t answer_limit = 8u << 20;
constexpr int most_redirects = 5;
constexpr const char* manifest_types =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";

bool is_part(std::string_view text, std::string_view extra) {
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || extra.find(c) != std::string_view::npos;
  });
}

// OCI distribution: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}
bool is_tag(std::string_view text) {
  auto is_word = [](char c) { return (c >= 'A' && c <= 'Z') || c == '_' || is_part({&c, 1}, ""); };
  if (text.empty() || text.size() > 128 || !is_word(text.front())) return false;
  return std::ranges::all_of(text, [&](char c) { return is_word(c) || c == '.' || c == '-'; });
}

// sha256:0123…; whoever sends one, it becomes part of a path.
bool is_digest(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || text.size() > 200) return false;
  return is_part(text.substr(0, colon), "+._-") && is_part(text.substr(colon + 1), "") && text.front() != '.';
}

bool is_local(const http::Url& url) {
  return url.host == "localhost" || url.host == "::1" || url.host.starts_with("127.");
}

Error access_refused() {
  return Error(ErrorKind::unauthenticated, "the registry refuses access: is the image private?");
}

// One look at an image: all requests share its token and its deadline.
class Look {
 public:
  Look(http::Client& client, http::Url registry, ImageName image)
      : client_(client), registry_(std::move(registry)), image_(std::move(image)) {}

  Task<json::object> config() {
    auto manifest = co_await read("manifests/" + image_.reference, manifest_types);
    if (const auto* list = find_path(manifest, {"manifests"}); list && list->is_array()) {
      const auto digest = digest_for_us(list->get_array());
      if (!digest) throw Error(ErrorKind::invalid, "the image is not there for linux/amd64");
      manifest = co_await read("manifests/" + *digest, manifest_types);
    }
    const auto digest = find_string(manifest, {"config", "digest"});
    if (!digest || !is_digest(*digest)) throw Error(ErrorKind::invalid, "the image's manifest names no config");
    co_return co_await read("blobs/" + *digest, "*/*");
  }

 private:
  static std::optional<std::string> digest_for_us(const json::array& manifests) {
    for (const auto& entry : manifests) {
      if (find_string(entry, {"platform", "os"}) != "linux" ||
          find_string(entry, {"platform", "architecture"}) != "amd64")
        continue;
      const auto digest = find_string(entry, {"digest"});
      return digest && is_digest(*digest) ? digest : std::nullopt;
    }
    return std::nullopt;
  }

  Task<json::object> read(std::string what, std::string accept) {
    auto url = registry_;
    url.path = "/v2/" + image_.repository + "/" + what;
    auto response = co_await send(url, accept, authorization_);
    if (response.status == 401 && authorization_.empty()) {
      authorization_ = co_await authorize(response.headers.get("WWW-Authenticate"));
      response = co_await send(url, accept, authorization_);
    }
    // A blob may lie elsewhere; whoever keeps it gets no token of ours.
    for (int i = 0; i < most_redirects && response.status >= 300 && response.status < 400; ++i) {
      const auto next = http::Url::parse(response.headers.get("Location"));
      const bool stays = next && next->authority() == url.authority() && next->scheme == url.scheme;
      if (!next || (next->scheme != "https" && !stays)) break;
      url = *next;
      response = co_await send(url, accept, stays ? authorization_ : "");
    }
    if (response.status == 401 || response.status == 403) throw access_refused();
    if (response.status == 404) throw Error(ErrorKind::not_found, "not found");
    if (response.status != 200)
      throw Error(ErrorKind::unavailable, "the registry answers " + std::to_string(response.status));
    co_return co_await object_of(std::move(response));
  }

  Task<http::ClientResponse> send(http::Url url, std::string accept, std::string authorization) {
    http::ClientRequest request{.url = std::move(url), .timeout = time_for_all};
    request.headers.set("Accept", std::move(accept));
    if (!authorization.empty()) request.headers.set("Authorization", std::move(authorization));
    co_return co_await client_.send(std::move(request));
  }

  static Task<json::object> object_of(http::ClientResponse response) {
    auto value = parse_json(co_await response.text(answer_limit, time_for_all));
    if (!value || !value->is_object()) throw Error(ErrorKind::unavailable, "the registry answers with something else");
    co_return std::move(value->get_object());
  }

  Task<std::string> authorize(std::string header) {
    const auto challenge = Challenge::parse(header);
    const auto url = challenge ? token_url(*challenge, registry_, image_.repository) : std::nullopt;
    if (!url) throw access_refused();
    auto response = co_await send(*url, "application/json", "");
    if (response.status != 200) throw access_refused();
    const auto answer = co_await object_of(std::move(response));
    const auto token = find_string(answer, {"token"});
    co_return "Bearer " + (token ? *token : find_string(answer, {"access_token"}).value_or(""));
  }

  http::Client& client_;
  http::Url registry_;
  ImageName image_;
  std::string authorization_;
};

}  // namespace

std::optional<ImageName> ImageName::parse(std::string_view text) {
  const auto parts = workflow::ImageName::split(text);
  ImageName image{.host = lower(parts.host), .repository = parts.repository, .reference = "latest"};
  if (text.ends_with('@') || text.ends_with(':') || text.find(":@") != std::string_view::npos) return std::nullopt;
  if (!parts.tag.empty() && !is_tag(parts.tag)) return std::nullopt;
  if (!parts.digest.empty() && !is_digest(parts.digest)) return std::nullopt;
  if (!parts.digest.empty() || !parts.tag.empty()) {
    image.reference = parts.digest.empty() ? parts.tag : parts.digest;  // a digest says more than the tag beside it
  }
  if (!http::Url::parse("https://" + (image.host.empty() ? "hub" : image.host))) return std::nullopt;
  if (image.repository.empty()) return std::nullopt;
  for (const auto& part : workflow::split(image.repository, '/')) {
    if (!is_part(part, "._-") || part.front() == '.') return std::nullopt;
  }
  if (image.host == "docker.io" || image.host == "index.docker.io") image.host.clear();
  if (image.host.empty() && image.repository.find('/') == std::string::npos) {
    image.repository = "library/" + image.repository;
  }
  return image;
}

std::optional<http::Url> RegistryPlaces::place_of(const std::string& host) const {
  if (host.empty()) return http::Url::parse("https://registry-1.docker.io");
  if (host == own_host && own) return own;
  const auto url = http::Url::parse("https://" + host);
  if (url && is_local(*url)) return http::Url::parse("http://" + host);
  return url;
}

std::optional<Challenge> Challenge::parse(std::string_view header) {
  constexpr std::string_view scheme = "bearer ";
  if (!lower(header).starts_with(scheme)) return std::nullopt;
  header.remove_prefix(scheme.size());
  Challenge challenge;
  while (!header.empty()) {
    const auto equals = header.find('=');
    if (equals == std::string_view::npos) break;
    const auto name = lower(trim(header.substr(0, equals)));
    header.remove_prefix(equals + 1);
    const bool quoted = header.starts_with('"');
    if (quoted) header.remove_prefix(1);
    const auto end = std::min(header.find(quoted ? '"' : ','), header.size());
    const std::string value(header.substr(0, end));
    header.remove_prefix(end);
    const auto comma = header.find(',');
    header.remove_prefix(comma == std::string_view::npos ? header.size() : comma + 1);
    if (name == "realm") challenge.realm = value;
    if (name == "service") challenge.service = value;
    if (name == "scope") challenge.scope = value;
  }
  if (challenge.realm.empty()) return std::nullopt;
  return challenge;
}

std::optional<http::Url> token_url(const Challenge& challenge, const http::Url& registry,
                                   const std::string& repository) {
  auto url = http::Url::parse(challenge.realm);
  if (!url) return std::nullopt;
  const bool is_registry_itself = url->scheme == registry.scheme && url->authority() == registry.authority();
  if (url->scheme != "https" && !is_registry_itself) return std::nullopt;
  const auto scope = challenge.scope.empty() ? "repository:" + repository + ":pull" : challenge.scope;
  url->query += url->query.empty() ? "" : "&";
  url->query += "scope=" + percent_encode(scope);
  if (!challenge.service.empty()) url->query += "&service=" + percent_encode(challenge.service);
  return url;
}

std::vector<int> exposed_ports(const json::object& config) {
  std::vector<int> ports;
  const auto* exposed = find_path(config, {"config", "ExposedPorts"});
  if (exposed == nullptr || !exposed->is_object()) return ports;
  for (const auto& [text, nothing] : exposed->get_object()) {  // "8080/tcp", "53/udp", "8080"
    const auto slash = std::min(text.find('/'), text.size());
    const auto port = parse_integer(std::string_view(text).substr(0, slash));
    const auto protocol = slash < text.size() ? std::string_view(text).substr(slash + 1) : "tcp";
    if (port && *port >= 1 && *port <= 65535 && protocol == "tcp") ports.push_back(static_cast<int>(*port));
  }
  return ports;
}

Task<json::object> image_config(http::Client& client, RegistryPlaces places, std::string image) {
  const auto name = ImageName::parse(image);
  const auto place = name ? places.place_of(name->host) : std::nullopt;
  if (!place) throw Error(ErrorKind::invalid, image + " is not the name of an image, such as quay.io/acme/shop:v1");
  Look look(client, *place, *name);
  std::optional<Error> failure;
  try {
    co_return co_await with_deadline(time_for_all, "the registry does not answer in time", look.config());
  } catch (const Error& error) {
    failure = error;
  }
  if (failure->kind() == ErrorKind::not_found) throw Error(ErrorKind::not_found, "image " + image + " not found");
  throw Error(failure->kind(), image + ": " + failure->message()).with_detail(failure->detail());
}

}  // namespace workflow::controller
