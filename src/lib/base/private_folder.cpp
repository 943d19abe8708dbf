#include "lib/base/private_folder.h"

#include <sys/stat.h>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/folder.h"

namespace workflow {

void keep_private(const std::filesystem::path& folder) {
  ::umask(077);
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) throw Error(ErrorKind::unavailable, "cannot make " + folder.string() + ": " + failed.message());
  const Folder state(folder);
  if (::fchmod(state.fd(), 0700) != 0) {
    throw Error(ErrorKind::unavailable, folder.string() + " belongs to somebody else: its owner starts this, or root");
  }
  for (const auto& entry : state.list()) {
    const mode_t needed = entry.kind == Folder::Kind::folder ? 0700 : 0600;
    if (entry.kind == Folder::Kind::link || (entry.mode & 0077) == 0) continue;
    ::chmod(path_of(state.handle(entry.name, Folder::Links::refuse)).c_str(), needed);
  }
}

}  // namespace workflow
