// src/slugbuilder/tree.h: what a build does with the pushed tree before and after the buildpacks. Whatever is there,
// links and pipes too, came from outside: everything goes through a Folder.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/folder.h"

namespace workflow::slugbuilder {

// A text that steers the build. A link is followed when it stays in the tree; throws invalid that names the file when
// it leads elsewhere, or is no file, or is longer than 1 MiB.
std::optional<std::string> find_text(const Folder& tree, std::string_view path);

// Removes what .slugignore names.
void apply_slugignore(const Folder& tree);

// Files that git-lfs replaced by pointers to their content (https://github.com/git-lfs/git-lfs, docs/spec.md), at most
// `most` of them. Looked for only where a .gitattributes speaks of lfs.
struct LfsPointers {
  std::size_t count = 0;
  std::vector<std::string> some;
};
LfsPointers find_lfs_pointers(const Folder& tree, std::size_t most);

}  // namespace workflow::slugbuilder
