// src/engine/proxy/dns_message.h: DNS messages (RFC 1035) as far as a resolver for Services needs them. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/proxy/network.h"

namespace workflow::engine::dns {

enum class Type : std::uint16_t { a = 1, cname = 5, ptr = 12, aaaa = 28, srv = 33, any = 255 };

struct Query {
  std::uint16_t id = 0;
  bool recursion_desired = false;
  std::string name;  // lower case, without the last dot
  std::uint16_t type = 0, class_ = 0;
  std::size_t question_end = 0;  // where the question ends in the message
};
// The question of a message with exactly one; nullopt for anything else.
std::optional<Query> parse_query(std::string_view message);

struct Answer {
  enum class Code : std::uint8_t { ok = 0, format_error = 1, server_failure = 2, no_such_name = 3 } code = Code::ok;
  std::vector<Ipv4> addresses;  // A records
  std::string canonical_name;   // a CNAME before them; "" none
  std::string pointer;          // a PTR record; "" none
  struct Service {              // an SRV record (RFC 2782)
    std::uint16_t port = 0;
    std::string target;
  };
  std::vector<Service> services{};
  std::uint32_t ttl = 5;
  bool authoritative = true;
};
// The whole reply to `message`. Cut to `limit` bytes with the truncation bit when it does not fit.
std::string reply(std::string_view message, const Query& query, const Answer& answer, std::size_t limit);
// A reply that only says what went wrong; "" when there is nothing to reply to.
std::string refusal(std::string_view message, Answer::Code code);

}  // namespace workflow::engine::dns
