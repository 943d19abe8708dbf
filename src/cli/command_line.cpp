#include "cli/command_line.h"

#include <algorithm>
#include <cctype>

#include "lib/base/text.h"

namespace workflow::cli {

std::string shell_word(std::string_view word) {
  constexpr std::string_view harmless = "@%+=:,./-_";
  const bool plain = !word.empty() && std::ranges::all_of(word, [&](unsigned char c) {
    return c >= 0x80 || std::isalnum(c) || harmless.find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return std::string(word);
  return "'" + replace_all(std::string(word), "'", R"('\'')") + "'";
}

std::string command_line(std::span<const std::string> words, std::size_t loose) {
  if (words.size() == 1) loose = 1;
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    out += (i == 0 ? "" : " ") + (i < loose ? words[i] : shell_word(words[i]));
  }
  return out;
}

}  // namespace workflow::cli
