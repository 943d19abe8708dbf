// Bytes that we do not control: .env files, git's output, key files, and the controller's answers.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cli/dotenv.h"
#include "cli/git.h"
#include "cli/profile.h"
#include "cli/render.h"
#include "cli/server_error.h"
#include "cli/ssh_key.h"
#include "lib/base/error.h"

using namespace workflow;
using namespace workflow::cli;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto settings = parse_dotenv(text);
    WF_CHECK(parse_dotenv(print_dotenv(settings)) == settings);
  } catch (const Error&) {
    // refused
  }
  app_of_remotes(parse_remotes(text), "http://deis.example.com");
  parse_public_key(text, "key.pub");
  parse_profile(text);
  for (const int status : {400, 404, 409, 422, 503}) message_of(status, text);
  if (const auto value = parse_json(text)) {
    render_config("app", *value);
    render_healthchecks("app", *value, std::nullopt);
    render_autoscale("app", *value);
    render_services("app", *value);
    render_certificate(*value);
    render_certificates({*value}, Time{});
    render_keys("user", {{*value}, 1});
  }
  render_coloured_log(text);
  return 0;
}
