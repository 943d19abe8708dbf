#include "controller/deploy_hooks.h"

#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::controller {

using namespace std::chrono_literals;

// An empty POST to each URL, in the original's form: parameters in alphabetical order, signed over the whole URL.
Task<> tell_deploy_hooks(const Parts& parts, App app, Release release) {
  http::Client client(parts.kube.executor());
  auto form = [](const std::string& text) { return replace_all(percent_encode(text, " "), " ", "+"); };
  const auto query = "app=" + form(app.id) + "&release=v" + std::to_string(release.version) +
                     "&release_summary=" + form(release.summary) +
                     "&sha=" + form(release.build ? release.build->sha : "") + "&user=" + form(release.owner);
  for (const auto& base : parts.settings.hook_urls) {
    const auto text = base + "?" + query;
    const auto url = http::Url::parse(text);
    // Only the host: paths of hooks are secrets.
    const auto host = url ? url->host : std::string();
    std::string trouble;
    try {
      if (!url) throw Error(ErrorKind::invalid, "not a URL");
      http::ClientRequest request{.method = "POST", .url = *url, .timeout = 10s};
      if (parts.settings.hook_key) {
        request.headers.set("Authorization", to_hex(hmac_sha1(parts.settings.hook_key->reveal(), text)));
      }
      auto response = co_await client.send(std::move(request));
      co_await response.text(1u << 20, 10s);
    } catch (const Error& error) {
      trouble = error.message();
    }
    if (trouble.empty())
      log::info("deploy hook sent", kv("app", app.id), kv("host", host));
    else
      log::warn("deploy hook failed", kv("app", app.id), kv("host", host), kv("error", trouble));
  }
}

}  // namespace workflow::controller
