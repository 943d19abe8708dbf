// Whatever arrives on port 53: parsing and answering neither crash nor write beyond the limit.
#include <cstdint>

#include "engine/proxy/dns_message.h"
#include "lib/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow::engine;
  const std::string_view message(reinterpret_cast<const char*>(data), size);
  const auto query = dns::parse_query(message);
  if (!query) {
    WF_CHECK(dns::refusal(message, dns::Answer::Code::format_error).size() <= 12);
    return 0;
  }
  dns::Answer answer;
  for (std::uint32_t i = 0; i < 64; ++i) answer.addresses.push_back({0x0a000000u + i});
  WF_CHECK(dns::reply(message, *query, answer, 512).size() <= 512 || query->question_end > 500);
  return 0;
}
