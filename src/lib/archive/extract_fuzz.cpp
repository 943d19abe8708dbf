// Whatever the bytes, nothing is written outside the folder and nothing but Error is thrown.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>

#include "lib/archive/archive.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow;
  TemporaryFolder folder;
  const auto inside = folder.path() / "in";
  std::filesystem::create_directory(inside);
  Fd fd(::memfd_create("archive", MFD_CLOEXEC));
  if (::write(fd.get(), data, size) != static_cast<ssize_t>(size)) return 0;
  ::lseek(fd.get(), 0, SEEK_SET);
  try {
    archive::extract_tar(fd.get(), inside, {.max_bytes = 1u << 20, .max_entries = 100});
  } catch (const Error&) {
  }
  int entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++entries;
  WF_CHECK(entries == 1);
  return 0;
}
