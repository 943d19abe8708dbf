// src/controller/registry.h: asks registries what images say of themselves. Nothing is pulled, pushed or copied.
//   Speaks  OCI distribution over HTTP(S): a manifest and its config, as anybody who has no account there.
//   Throws  Error invalid (no name of an image), not_found (no such image or reference), unauthenticated, unavailable,
//   timeout; each names the image.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/http/http.h"
#include "lib/json/json.h"

namespace workflow::controller {

// An image as people write it: `nginx`, `quay.io/acme/shop:v1`, `localhost:5555/shop@sha256:…`.
struct ImageName {
  std::string host;        // "" = Docker Hub
  std::string repository;  // library/nginx
  std::string reference;   // a tag or a digest; latest when none is written
  static std::optional<ImageName> parse(std::string_view text);
  bool operator==(const ImageName&) const = default;
};

// Where the registry of `host` answers. Those of this machine speak plain HTTP; so does the platform's own.
struct RegistryPlaces {
  std::string own_host;          // in names of images: localhost:5555
  std::optional<http::Url> own;  // where the controller reaches it
  std::optional<http::Url> place_of(const std::string& host) const;
};

// What `WWW-Authenticate: Bearer realm="…",service="…",scope="…"` asks for (RFC 6750, section 3).
struct Challenge {
  std::string realm, service, scope;
  static std::optional<Challenge> parse(std::string_view header);
};
// Tokens are fetched over HTTPS, or from the very registry when that speaks plain HTTP: a registry that somebody names
// must not make us ask other servers of our network.
std::optional<http::Url> token_url(const Challenge& challenge, const http::Url& registry,
                                   const std::string& repository);

// The ports of a config's ExposedPorts that TCP is spoken on, in their order there.
std::vector<int> exposed_ports(const json::object& config);

// Reads the config of an image for linux/amd64.
Task<json::object> image_config(http::Client& client, RegistryPlaces places, std::string image);

}  // namespace workflow::controller
