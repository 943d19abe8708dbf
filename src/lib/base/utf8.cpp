#include "lib/base/utf8.h"

namespace workflow {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

unsigned char byte(char c) { return static_cast<unsigned char>(c); }

// The bytes at the start of `text` that belong together: a whole character, or the longest part that could still have
// become one (Unicode 15, section 3.9, table 3-7).
struct Sequence {
  std::size_t length = 1;
  enum class State { whole, broken, cut } state = State::whole;
};

Sequence first_sequence(std::string_view text) {
  const auto lead = byte(text[0]);
  if (lead < 0x80) return {};
  if (lead < 0xC2 || lead > 0xF4) return {1, Sequence::State::broken};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // Only the second byte has a range of its own: it keeps out overlong forms, surrogates and what is above U+10FFFF.
  unsigned char low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (std::size_t i = 1; i < length; ++i, low = 0x80, high = 0xBF) {
    if (i == text.size()) return {i, Sequence::State::cut};
    if (byte(text[i]) < low || byte(text[i]) > high) return {i, Sequence::State::broken};
  }
  return {length, Sequence::State::whole};
}

// Where the first part that is not a whole character begins; the text's size when there is none.
std::size_t valid_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (byte(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const auto next = first_sequence(text.substr(at));
    if (next.state != Sequence::State::whole) break;
    at += next.length;
  }
  return at;
}

// Appends `text` made valid to `out`; returns the beginning of a character that the end cuts.
std::string_view append_valid(std::string& out, std::string_view text) {
  for (;;) {
    const auto good = valid_prefix(text);
    out += text.substr(0, good);
    text.remove_prefix(good);
    if (text.empty()) return {};
    const auto bad = first_sequence(text);
    if (bad.state == Sequence::State::cut) return text;
    out += replacement;
    text.remove_prefix(bad.length);
  }
}

}  // namespace

bool is_valid_utf8(std::string_view text) { return valid_prefix(text) == text.size(); }

std::string valid_utf8(std::string text) {
  if (is_valid_utf8(text)) return text;
  std::string out;
  out.reserve(text.size() + 16);
  if (!append_valid(out, text).empty()) out += replacement;
  return out;
}

std::string Utf8Stream::add(std::string_view piece) {
  std::string out;
  out.reserve(piece.size() + waiting_.size());
  // At most three more bytes finish what waits, whole or broken.
  while (!waiting_.empty() && !piece.empty()) {
    waiting_ += piece.front();
    piece.remove_prefix(1);
    std::string decided;
    waiting_ = std::string(append_valid(decided, waiting_));
    out += decided;
  }
  if (!piece.empty()) waiting_ = std::string(append_valid(out, piece));
  return out;
}

std::string Utf8Stream::end() {
  if (waiting_.empty()) return "";
  waiting_.clear();
  return std::string(replacement);
}

std::string printable(std::string_view text) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const char c : valid_utf8(std::string(text))) {
    if (c == '\n') {
      out += "\\n";
    } else if (byte(c) < 0x20 || byte(c) == 0x7F) {
      out += "\\x";
      out += digits[byte(c) >> 4];
      out += digits[byte(c) & 15];
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace workflow
