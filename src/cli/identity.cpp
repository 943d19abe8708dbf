#include "cli/identity.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "lib/base/text.h"

namespace workflow::cli {
namespace {

template <typename Allowed>
std::string replace_others(std::string text, char by, Allowed allowed) {
  for (char& c : text) {
    if (!allowed(static_cast<unsigned char>(c))) c = by;
  }
  return text;
}

}  // namespace

Identity identity_of(std::string_view argv0) {
  Identity out;
  const auto slash = argv0.rfind('/');
  out.program = std::string(slash == std::string_view::npos ? argv0 : argv0.substr(slash + 1));
  if (out.program.empty()) out.program = "deis";

  constexpr std::array<std::string_view, 5> suffixes = {"app", "bat", "com", "exe", "sh"};
  std::vector<std::string> kept;
  for (auto& part : split(lower(out.program), '.')) {
    if (std::ranges::find(suffixes, part) == suffixes.end()) kept.push_back(std::move(part));
  }
  const std::string stripped = join(kept, ".");

  std::string upper = stripped;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  out.profile_variable =
      replace_others(upper, '_', [](unsigned char c) { return std::isupper(c) || std::isdigit(c) || c == '_'; }) +
      "_PROFILE";
  out.remote = replace_others(stripped, '-', [](unsigned char c) { return std::islower(c) || std::isdigit(c); });
  out.profile_folder = "." + out.remote;
  return out;
}

}  // namespace workflow::cli
