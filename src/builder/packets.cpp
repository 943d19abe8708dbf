#include "builder/packets.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "lib/base/text.h"

namespace workflow::builder {
namespace {

constexpr std::size_t head_size = 4, longest_packet = 65520, sideband_header = 5;

std::optional<std::size_t> hex_number(std::string_view digits) {
  std::size_t value = 0;
  for (const char c : digits) {
    const auto at = std::string_view("0123456789abcdef").find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
    if (at == std::string_view::npos) return std::nullopt;
    value = value << 4 | at;
  }
  return value;
}

std::string packet(std::string_view payload) {
  char head[head_size + 1];
  std::snprintf(head, sizeof head, "%04zx", payload.size() + head_size);
  return head + std::string(payload);
}

std::string in_band(char band, std::string_view bytes) {
  constexpr std::size_t most = longest_packet - sideband_header;
  std::string packets;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(most, bytes.size()))) {
    packets += packet(band + std::string(bytes.substr(0, most)));
  }
  return packets;
}

}  // namespace

bool PacketReader::take(std::string_view& bytes) {
  if (broken_) bytes = {};
  if (bytes.empty()) return false;
  if (std::exchange(fresh_, false)) payload_.clear();
  if (left_ == 0) {
    const auto digits = std::min(head_size - head_.size(), bytes.size());
    head_ += bytes.substr(0, digits);
    bytes.remove_prefix(digits);
    if (head_.size() < head_size) return false;
    const auto length = hex_number(head_);
    head_.clear();
    broken_ = !length || *length > longest_packet;
    if (broken_) bytes = {};
    if (broken_) return false;
    special_ = *length < head_size;  // 0000 and its like
    left_ = special_ ? 0 : *length - head_size;
  }
  const auto piece = bytes.substr(0, std::min(left_, bytes.size()));
  payload_ += piece;
  left_ -= piece.size();
  bytes.remove_prefix(piece.size());
  fresh_ = left_ == 0;
  return fresh_;
}

void PacketReader::skip(std::string_view bytes) {
  while (!bytes.empty()) take(bytes);
}

void PushRequest::feed(std::string_view bytes) {
  while (!done_ && !bytes.empty()) {
    if (!packets_.take(bytes)) {
      done_ = packets_.broken();
      continue;
    }
    const auto nul = packets_.payload().find('\0');
    // The commands end with a flush packet; what follows is no packet.
    done_ = packets_.is_special() || nul != std::string::npos;
    if (nul == std::string::npos) continue;
    for (auto& word : split(trim(std::string_view(packets_.payload()).substr(nul + 1)), ' ')) {
      capabilities_.insert(std::move(word));
    }
  }
}

std::string report_packets(const std::vector<RefResult>& results, Sideband sideband) {
  auto report = packet("unpack ok\n");
  for (const auto& [ref, refusal] : results) {
    report += packet(refusal.empty() ? "ok " + ref + "\n" : "ng " + ref + " " + refusal + "\n");
  }
  report += "0000";
  return sideband == Sideband::no ? report : in_band('\1', report) + "0000";
}

std::string sideband_packets(std::string_view text) { return in_band('\2', text); }

}  // namespace workflow::builder
