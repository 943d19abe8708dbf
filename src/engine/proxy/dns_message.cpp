#include "engine/proxy/dns_message.h"

#include "lib/base/text.h"

namespace workflow::engine::dns {
namespace {

std::uint16_t u16(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>(static_cast<unsigned char>(bytes[at]) << 8 |
                                    static_cast<unsigned char>(bytes[at + 1]));
}
void put16(std::string& out, std::uint16_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value & 255);
}
void put32(std::string& out, std::uint32_t value) {
  put16(out, static_cast<std::uint16_t>(value >> 16));
  put16(out, static_cast<std::uint16_t>(value & 0xffff));
}
std::string encode_name(std::string_view name) {
  std::string out;
  for (const auto& label : split(name, '.')) {
    out += static_cast<char>(label.size());
    out += label;
  }
  return out + '\0';
}

constexpr std::uint16_t flag_response = 0x8000, flag_authoritative = 0x0400, flag_truncated = 0x0200,
                        flag_recursion_desired = 0x0100, flag_recursion_available = 0x0080;

std::string header(std::uint16_t id, std::uint16_t flags, std::uint16_t questions, std::uint16_t answers) {
  std::string out;
  put16(out, id);
  put16(out, flags);
  put16(out, questions);
  put16(out, answers);
  put16(out, 0);
  put16(out, 0);
  return out;
}

}  // namespace

std::optional<Query> parse_query(std::string_view message) {
  if (message.size() < 12 + 5) return std::nullopt;
  Query query;
  query.id = u16(message, 0);
  const auto flags = u16(message, 2);
  // A standard query with one question and nothing answered yet.
  if (flags & flag_response || (flags & 0x7800) != 0 || u16(message, 4) != 1) return std::nullopt;
  query.recursion_desired = flags & flag_recursion_desired;
  std::size_t at = 12;
  for (;;) {
    if (at >= message.size()) return std::nullopt;
    const auto length = static_cast<unsigned char>(message[at++]);
    if (length == 0) break;
    // Questions are not compressed; a label is at most 63 bytes.
    if (length > 63 || at + length > message.size()) return std::nullopt;
    if (!query.name.empty()) query.name += '.';
    query.name += lower(message.substr(at, length));
    at += length;
    if (query.name.size() > 253) return std::nullopt;
  }
  if (at + 4 > message.size()) return std::nullopt;
  query.type = u16(message, at);
  query.class_ = u16(message, at + 2);
  query.question_end = at + 4;
  return query;
}

std::string reply(std::string_view message, const Query& query, const Answer& answer, std::size_t limit) {
  std::uint16_t flags = flag_response | flag_recursion_available | static_cast<std::uint16_t>(answer.code);
  if (answer.authoritative) flags |= flag_authoritative;
  if (query.recursion_desired) flags |= flag_recursion_desired;
  std::string records;
  std::uint16_t count = 0;
  std::string owner = "\xc0\x0c";  // a pointer to the question's name
  if (!answer.canonical_name.empty()) {
    const auto target = encode_name(answer.canonical_name);
    records += owner;
    put16(records, static_cast<std::uint16_t>(Type::cname));
    put16(records, 1);
    put32(records, answer.ttl);
    put16(records, static_cast<std::uint16_t>(target.size()));
    records += target;
    owner = target;
    ++count;
  }
  const auto add = [&](Type type, const std::string& data) {
    std::string record = owner;
    put16(record, static_cast<std::uint16_t>(type));
    put16(record, 1);
    put32(record, answer.ttl);
    put16(record, static_cast<std::uint16_t>(data.size()));
    record += data;
    if (flags & flag_truncated || query.question_end + records.size() + record.size() > limit) {
      flags |= flag_truncated;
      return;
    }
    records += record;
    ++count;
  };
  for (const auto& address : answer.addresses) {
    std::string data;
    put32(data, address.value);
    add(Type::a, data);
  }
  if (!answer.pointer.empty()) add(Type::ptr, encode_name(answer.pointer));
  for (const auto& service : answer.services) {
    std::string data;
    put16(data, 0);  // priority
    put16(data, static_cast<std::uint16_t>(100 / answer.services.size()));
    put16(data, service.port);
    add(Type::srv, data + encode_name(service.target));
  }
  return header(query.id, flags, 1, count) + std::string(message.substr(12, query.question_end - 12)) + records;
}

std::string refusal(std::string_view message, Answer::Code code) {
  if (message.size() < 12 || u16(message, 2) & flag_response) return "";
  return header(u16(message, 0), static_cast<std::uint16_t>(flag_response | static_cast<std::uint16_t>(code)), 0, 0);
}

}  // namespace workflow::engine::dns
