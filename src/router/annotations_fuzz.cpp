// Whatever stands in annotations, a model is made, and its text stays within quotes and braces.
#include <cstddef>
#include <cstdint>

#include "lib/base/error.h"
#include "lib/base/text.h"
#include "router/render.h"

using namespace workflow;
using namespace workflow::router;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Lines of "key=value": those with "nginx." are the router's, all are a service's.
  Observed observed{.ns = "deis", .platform_domain = "example.com"};
  ObservedService service{.ns = "a", .name = "a", .app = "a", .addresses = {"10.0.0.1:5000"}};
  for (const auto& line : split(std::string_view(reinterpret_cast<const char*>(data), size), '\n')) {
    const auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    const auto key = "router.deis.io/" + line.substr(0, equals);
    service.annotations[key] = line.substr(equals + 1);
    if (line.starts_with("nginx.")) observed.router[key] = line.substr(equals + 1);
  }
  observed.services = {service};
  const auto text = render(Planner(observed).model(), {.folder = "/tmp/router"});
  int depth = 0;
  bool quote = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (quote && c == '\\')
      ++at;
    else if (c == '"')
      quote = !quote;
    else if (c == '\n')
      WF_CHECK(!quote);
    else if (!quote && c == '{')
      ++depth;
    else if (!quote && c == '}')
      --depth;
    WF_CHECK(depth >= 0);
  }
  WF_CHECK(depth == 0 && !quote);
  return 0;
}
