#include "slugbuilder/tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "lib/base/error.h"
#include "lib/procfile/procfile.h"
#include "slugbuilder/slug.h"

namespace workflow::slugbuilder {
namespace {

constexpr std::size_t longest_text = procfile::longest;
constexpr std::string_view lfs_version = "version https://git-lfs.github.com/spec/v1\n";
constexpr std::uint64_t longest_pointer = 1024;  // the specification: smaller than that

std::string read_text(const Fd& file, const std::string& name) {
  std::string text;
  char piece[16 << 10];
  for (;;) {
    const auto got = ::read(file.get(), piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorKind::internal, "cannot read " + name);
    if (got == 0) return text;
    text.append(piece, static_cast<std::size_t>(got));
    if (text.size() > longest_text) throw Error(ErrorKind::too_large, name + " is larger than 1 MiB");
  }
}

bool speaks_of_lfs(const Folder& tree, const std::string& path, const Folder::Entry& entry) {
  if (entry.name != ".gitattributes" || entry.kind != Folder::Kind::file || entry.size > longest_text) return false;
  return tree.read_file(path, longest_text).contains("filter=lfs");
}

}  // namespace

std::optional<std::string> find_text(const Folder& tree, std::string_view path) {
  const std::string name(path);
  if (!tree.find(path)) return std::nullopt;
  Fd found;
  try {
    found = tree.handle(path, Folder::Links::beneath);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid && error.kind() != ErrorKind::not_found) throw;
    throw Error(ErrorKind::invalid, name + " must be a file of the repository, not a link that leads elsewhere");
  }
  struct stat info{};
  if (::fstat(found.get(), &info) != 0 || !S_ISREG(info.st_mode))
    throw Error(ErrorKind::invalid, name + " must be a file");
  const Fd file(::open(path_of(found).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) throw Error(ErrorKind::invalid, name + " cannot be read");
  return read_text(file, name);
}

void apply_slugignore(const Folder& tree) {
  const auto text = find_text(tree, ".slugignore");
  if (!text) return;
  const auto left_out = slugignore(*text);
  std::vector<std::string> doomed;
  tree.walk([&](const std::string& path, const Folder::Entry&) {
    if (!left_out(path)) return Folder::Next::enter;
    doomed.push_back(path);
    return Folder::Next::skip;
  });
  for (const auto& path : doomed) tree.remove_all(path);
}

LfsPointers find_lfs_pointers(const Folder& tree, std::size_t most) {
  bool has_lfs = false;
  std::vector<std::string> small;
  tree.walk([&](const std::string& path, const Folder::Entry& entry) {
    has_lfs = has_lfs || speaks_of_lfs(tree, path, entry);
    if (entry.kind == Folder::Kind::file && entry.size <= longest_pointer) small.push_back(path);
    return Folder::Next::enter;
  });
  LfsPointers pointers;
  if (!has_lfs) return pointers;
  for (const auto& path : small) {
    if (!tree.read_file(path, longest_pointer).starts_with(lfs_version)) continue;
    ++pointers.count;
    if (pointers.some.size() < most) pointers.some.push_back(path);
  }
  return pointers;
}

}  // namespace workflow::slugbuilder
