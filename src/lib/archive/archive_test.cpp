#include "lib/archive/archive.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace workflow::archive {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

void extract(const fs::path& file, const fs::path& folder, const ExtractOptions& options = {}) {
  Fd fd(::open(file.c_str(), O_RDONLY));
  extract_tar(fd.get(), folder, options);
}

// One member of a ustar archive, as a hostile program might write it.
std::string ustar(const std::string& name, char type, const std::string& link, const std::string& data) {
  std::string header(512, '\0');
  auto put = [&](std::size_t at, const std::string& text) { header.replace(at, text.size(), text); };
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  char size[12];
  std::snprintf(size, sizeof size, "%011zo", data.size());
  put(124, size);
  put(136, "00000000000");
  put(148, "        ");
  header[156] = type;
  put(157, link);
  put(257, std::string("ustar\0"
                       "00",
                       8));
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  char text[8];
  std::snprintf(text, sizeof text, "%06o", sum);
  put(148, std::string(text, 7));
  std::string body = data;
  body.resize((data.size() + 511) / 512 * 512, '\0');
  return header + body;
}

TEST(Archive, gives_back_what_it_was_given) {
  TemporaryFolder folder;
  const auto source = folder.path() / "source", target = folder.path() / "target";
  write(source / "a" / "file", "hello");
  write(source / "run.sh", "#!/bin/sh");
  fs::permissions(source / "run.sh", fs::perms::owner_all);
  fs::create_directory(source / "empty");
  fs::create_symlink("/usr/bin/python3", source / "python");
  fs::create_directory(target);
  EXPECT_GT(create_tar(source, folder.path() / "x.tgz"), 0u);
  extract(folder.path() / "x.tgz", target);
  EXPECT_EQ(read_file(target / "a" / "file"), "hello");
  EXPECT_EQ(fs::status(target / "run.sh").permissions(), fs::perms::owner_all);
  EXPECT_TRUE(fs::is_directory(target / "empty"));
  EXPECT_EQ(fs::read_symlink(target / "python"), "/usr/bin/python3");
}

// As slugs of before were, and those of the original.
TEST(Archive, in_gzip_is_unpacked_too) {
  TemporaryFolder folder;
  write(folder.path() / "s" / "file", "hello");
  fs::create_directory(folder.path() / "target");
  const auto packed = folder.path() / "x.tgz";
  const auto command = "tar -czf " + packed.string() + " -C " + (folder.path() / "s").string() + " .";
  ASSERT_EQ(std::system(command.c_str()), 0);
  extract(packed, folder.path() / "target");
  EXPECT_EQ(read_file(folder.path() / "target" / "file"), "hello");
}

TEST(Archive, of_equal_folders_is_equal) {
  TemporaryFolder folder;
  write(folder.path() / "s" / "b", "2");
  write(folder.path() / "s" / "a", "1");
  create_tar(folder.path() / "s", folder.path() / "1.tgz");
  create_tar(folder.path() / "s", folder.path() / "2.tgz");
  EXPECT_EQ(read_file(folder.path() / "1.tgz"), read_file(folder.path() / "2.tgz"));
}

TEST(Archive, leaves_out_what_it_is_told_to) {
  TemporaryFolder folder;
  const auto source = folder.path() / "source", target = folder.path() / "target";
  write(source / ".git" / "config", "x");
  write(source / ".gitignore", "x");
  fs::create_directory(target);
  create_tar(source, folder.path() / "x.tgz", {.leave_out = [](const std::string& path) { return path == ".git"; }});
  extract(folder.path() / "x.tgz", target);
  EXPECT_FALSE(fs::exists(target / ".git"));
  EXPECT_TRUE(fs::exists(target / ".gitignore"));
}

TEST(Archive, never_leaves_its_folder) {
  struct Case {
    std::string what;
    std::string bytes;
    bool refused = true;
  };
  const Case cases[] = {
      {"dot dot", ustar("../outside", '0', "", "x")},
      {"dot dot inside", ustar("a/../../outside", '0', "", "x")},
      {"through a link", ustar("link", '2', "..", "") + ustar("link/outside", '0', "", "x"),
       false},  // the link gives way to a folder
      {"hard link out", ustar("hard", '1', "../secret", "")},
      {"device", ustar("null", '3', "", "")},
  };
  for (const auto& [what, bytes, refused] : cases) {
    TemporaryFolder folder;
    fs::create_directory(folder.path() / "in");
    write(folder.path() / "secret", "s");
    write(folder.path() / "x.tar", bytes + std::string(1024, '\0'));
    if (refused)
      EXPECT_THROW(extract(folder.path() / "x.tar", folder.path() / "in"), Error) << what;
    else
      EXPECT_NO_THROW(extract(folder.path() / "x.tar", folder.path() / "in")) << what;
    EXPECT_FALSE(fs::exists(folder.path() / "outside")) << what;
  }
}

TEST(Archive, keeps_an_absolute_path_inside) {
  TemporaryFolder folder;
  fs::create_directory(folder.path() / "in");
  write(folder.path() / "x.tar", ustar("/etc/motd", '0', "", "x") + std::string(1024, '\0'));
  extract(folder.path() / "x.tar", folder.path() / "in");
  EXPECT_EQ(read_file(folder.path() / "in/etc/motd"), "x");
}

TEST(Archive, stops_at_its_limits) {
  TemporaryFolder folder;
  fs::create_directory(folder.path() / "in");
  write(folder.path() / "x.tar", ustar("a", '0', "", "123456") + ustar("b", '0', "", "1") + std::string(1024, '\0'));
  EXPECT_THROW(extract(folder.path() / "x.tar", folder.path() / "in", {.max_bytes = 5}), Error);
  EXPECT_THROW(extract(folder.path() / "x.tar", folder.path() / "in", {.max_entries = 1}), Error);
}

TEST(Archive, that_is_cut_or_no_archive_is_refused) {
  TemporaryFolder folder;
  fs::create_directory(folder.path() / "in");
  write(folder.path() / "s" / "file", std::string(100'000, 'x'));
  create_tar(folder.path() / "s", folder.path() / "x.tgz");
  const auto whole = read_file(folder.path() / "x.tgz");
  write(folder.path() / "cut.tgz", whole.substr(0, whole.size() / 2));
  write(folder.path() / "text", "this is no archive at all, but it is long enough to look at");
  EXPECT_THROW(extract(folder.path() / "cut.tgz", folder.path() / "in"), Error);
  EXPECT_THROW(extract(folder.path() / "text", folder.path() / "in"), Error);
}

}  // namespace
}  // namespace workflow::archive
