#include "engine/node/mounts.h"

#include <sys/mount.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;

// The kernel writes a blank as \040, and a backslash as \134.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto digit = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<fs::path> all_mount_points() { return mount_points(find_file("/proc/self/mountinfo").value_or("")); }

void detach(const fs::path& point) {
  if (::umount2(point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT) return;
  throw Error(ErrorKind::unavailable,
              "cannot unmount " + point.string() + ": " + std::generic_category().message(errno));
}

}  // namespace

std::vector<fs::path> mount_points(std::string_view mountinfo) {
  constexpr std::size_t field_of_point = 4;
  std::vector<fs::path> points;
  for (const auto& line : split(mountinfo, '\n')) {
    const auto fields = split(line, ' ');
    if (fields.size() > field_of_point) points.emplace_back(unescaped(fields[field_of_point]));
  }
  return points;
}

bool is_mount_point(const fs::path& path) {
  const auto points = all_mount_points();
  return std::ranges::find(points, fs::weakly_canonical(path)) != points.end();
}

void unmount(const fs::path& path) {
  const auto point = fs::weakly_canonical(path);
  for (const auto& one : all_mount_points()) {
    if (one == point) detach(one);
  }
}

void unmount_below(const fs::path& path) {
  const auto folder = fs::weakly_canonical(path);
  const auto points = all_mount_points();
  for (auto point = points.rbegin(); point != points.rend(); ++point) {
    if (*point == folder || point->string().starts_with(folder.string() + "/")) detach(*point);
  }
}

}  // namespace workflow::engine
