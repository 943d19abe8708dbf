#include <cstdint>

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/context.h"
#include "lib/base/error.h"

// "METHOD TARGET\nACCEPT": whatever a client says is read as something or refused.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto line = text.substr(0, text.find('\n'));
  const auto method = line.substr(0, line.find(' '));
  const auto target = method.size() < line.size() ? line.substr(method.size() + 1) : std::string_view();
  const auto mark = target.find('?');
  const auto query = http::Query::parse(mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1));
  if (!query) return 0;
  if (const auto info = engine::request_info(method, target.substr(0, mark), *query); info && info->is_resource) {
    WF_CHECK(!info->plural.empty() && !info->version.empty() && !info->verb.empty());
    engine::find_resource_type(info->group, info->version, info->plural);
  }
  try {
    engine::negotiate(line.size() < text.size() ? text.substr(line.size() + 1) : std::string_view());
  } catch (const engine::ApiError& error) {
    WF_CHECK(error.code() == 406);
  }
  return 0;
}
