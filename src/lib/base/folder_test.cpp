#include "lib/base/folder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "lib/base/error.h"

namespace workflow {
namespace {

namespace fs = std::filesystem;

struct stat lstat_of(const fs::path& path) {
  struct stat info{};
  EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
  return info;
}

template <typename F>
std::optional<ErrorKind> kind_thrown(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.kind();
  }
  return std::nullopt;
}

// A tree as a tenant could have made it, and what lies beside it and is none of the tenant's business.
struct HostileTree : testing::Test {
  TemporaryFolder temporary;
  fs::path outside = temporary.path() / "outside", tree = temporary.path() / "tree";

  HostileTree() {
    fs::create_directories(outside / "folder");
    write_file_atomically(outside / "secret", "the key", 0600);
    write_file_atomically(outside / "folder" / "inner", "inner");
    fs::create_directories(tree / "real" / "deep");
    write_file_atomically(tree / "file", "text", 0644);
    write_file_atomically(tree / "real" / "deep" / "file", "deep text");
    fs::create_symlink(outside / "secret", tree / "link");
    fs::create_symlink("../outside/secret", tree / "relative-link");
    fs::create_symlink("/proc/self/environ", tree / "magic");
    fs::create_symlink("file", tree / "inner-link");
    fs::create_symlink("real", tree / "inner-folder-link");
    fs::create_symlink(outside, tree / "folder-link");
    fs::create_symlink("loop", tree / "loop");
    fs::create_symlink("nothing", tree / "dangling");
    EXPECT_EQ(::mkfifo((tree / "pipe").c_str(), 0666), 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    const auto socket_path = (tree / "socket").string();
    socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
    const Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
};

TEST_F(HostileTree, a_file_is_read_up_to_its_limit) {
  const Folder folder(tree);
  EXPECT_EQ(folder.read_file("file", 4), "text");
  EXPECT_EQ(folder.read_file("./real//deep/file", 100), "deep text");
  EXPECT_EQ(folder.find_file("absent", 100), std::nullopt);
  EXPECT_EQ(folder.find_file("absent/file", 100), std::nullopt);
  EXPECT_EQ(kind_thrown([&] { folder.read_file("absent", 100); }), ErrorKind::not_found);
  EXPECT_EQ(kind_thrown([&] { folder.read_file("file", 3); }), ErrorKind::too_large);
  write_file_atomically(tree / "empty", "");
  EXPECT_EQ(folder.read_file("empty", 0), "");
  EXPECT_EQ(kind_thrown([&] { folder.read_file("file", 0); }), ErrorKind::too_large);
}

TEST_F(HostileTree, nothing_but_a_regular_file_within_is_read) {
  const Folder folder(tree);
  for (const char* path : {"link", "relative-link", "magic", "inner-link", "loop", "dangling", "folder-link/secret",
                           "inner-folder-link/deep/file", "../outside/secret", "real/../../outside/secret", "..", "",
                           "real", "pipe", "socket", "/etc/hostname", "file/below"}) {
    EXPECT_EQ(kind_thrown([&] { folder.read_file(path, 100); }), ErrorKind::invalid) << path;
    EXPECT_EQ(kind_thrown([&] { folder.find_file(path, 100); }), ErrorKind::invalid) << path;
    EXPECT_EQ(kind_thrown([&] { folder.open_file(path); }), ErrorKind::invalid) << path;
  }
  EXPECT_EQ(kind_thrown([&] { folder.read_file(outside.string() + "/secret", 100); }), ErrorKind::invalid);
  EXPECT_EQ(kind_thrown([&] { folder.read_file(std::string("file\0x", 6), 100); }), ErrorKind::invalid);
  EXPECT_EQ(kind_thrown([&] { folder.read_file(std::string(300, 'x'), 100); }), ErrorKind::invalid);
}

TEST_F(HostileTree, a_device_is_refused_unopened) {
  if (::geteuid() != 0) GTEST_SKIP() << "making a device needs root";
  ASSERT_EQ(::mknod((tree / "device").c_str(), S_IFCHR | 0666, makedev(1, 5)), 0);  // /dev/zero has no end
  const Folder folder(tree);
  EXPECT_EQ(kind_thrown([&] { folder.read_file("device", 100); }), ErrorKind::invalid);
  EXPECT_EQ(folder.find("device")->kind, Folder::Kind::other);
}

TEST_F(HostileTree, a_message_about_a_hostile_name_is_one_line_of_text) {
  const Folder folder(tree);
  try {
    folder.read_file("no\n\x1b[31m\xff", 100);
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("no\\n\\x1b[31m\xEF\xBF\xBD"), std::string::npos) << error.message();
  }
}

TEST_F(HostileTree, links_are_told_as_links) {
  const Folder folder(tree);
  EXPECT_EQ(folder.find("link")->kind, Folder::Kind::link);
  EXPECT_EQ(folder.find("folder-link")->kind, Folder::Kind::link);
  EXPECT_EQ(folder.find("pipe")->kind, Folder::Kind::other);
  EXPECT_EQ(folder.find("real/deep/file")->kind, Folder::Kind::file);
  EXPECT_EQ(folder.find("real/deep/file")->name, "file");
  EXPECT_EQ(folder.find("real/deep/file")->size, 9u);
  EXPECT_EQ(folder.find("")->kind, Folder::Kind::folder);
  EXPECT_FALSE(folder.find("absent").has_value());
  EXPECT_FALSE(folder.find("file/below").has_value());
  EXPECT_FALSE(folder.has("link", Folder::Kind::file));
  EXPECT_EQ(kind_thrown([&] { folder.find("folder-link/secret"); }), ErrorKind::invalid);
  EXPECT_EQ(folder.read_link("inner-link"), "file");
  EXPECT_EQ(kind_thrown([&] { folder.read_link("file"); }), ErrorKind::invalid);
}

TEST_F(HostileTree, folders_are_opened_listed_and_walked_within) {
  const Folder folder(tree);
  EXPECT_EQ(folder.open_folder("real").read_file("deep/file", 100), "deep text");
  for (const char* path : {"folder-link", "inner-folder-link", "..", "real/../..", "file", "pipe"}) {
    EXPECT_EQ(kind_thrown([&] { folder.open_folder(path); }), ErrorKind::invalid) << path;
    EXPECT_EQ(kind_thrown([&] { folder.list(path); }), ErrorKind::invalid) << path;
  }
  EXPECT_FALSE(folder.find_folder("absent").has_value());
  std::vector<std::string> names;
  for (const auto& entry : folder.list()) names.push_back(entry.name);
  EXPECT_EQ(names, (std::vector<std::string>{"dangling", "file", "folder-link", "inner-folder-link", "inner-link",
                                             "link", "loop", "magic", "pipe", "real", "relative-link", "socket"}));
  EXPECT_EQ(kind_thrown([&] { folder.list("", 3); }), ErrorKind::too_large);

  std::vector<std::string> walked;
  folder.walk([&](const std::string& path, const Folder::Entry& entry) {
    if (entry.kind == Folder::Kind::folder || entry.kind == Folder::Kind::file) walked.push_back(path);
    return Folder::Next::enter;
  });
  EXPECT_EQ(walked, (std::vector<std::string>{"file", "real", "real/deep", "real/deep/file"}));
  walked.clear();
  folder.walk([&](const std::string& path, const Folder::Entry&) {
    walked.push_back(path);
    return Folder::Next::skip;
  });
  EXPECT_EQ(walked, names);
  EXPECT_EQ(kind_thrown([&] { folder.walk([](const auto&, const auto&) { return Folder::Next::enter; }, 13); }),
            ErrorKind::too_large);
}

TEST_F(HostileTree, what_is_written_stays_within_and_replaces_links) {
  const Folder folder(tree);
  folder.write_file("link", "new", {.mode = 0640});
  EXPECT_EQ(read_file(outside / "secret"), "the key");
  EXPECT_EQ(folder.read_file("link", 100), "new");
  EXPECT_EQ(lstat_of(tree / "link").st_mode, S_IFREG | 0640u);
  folder.write_file("pipe", "was a pipe");
  EXPECT_EQ(folder.read_file("pipe", 100), "was a pipe");
  for (const char* path : {"folder-link/new", "../new", "inner-folder-link/new", "file/new", "", "."}) {
    EXPECT_EQ(kind_thrown([&] { folder.write_file(path, "x"); }), ErrorKind::invalid) << path;
  }
  EXPECT_EQ(kind_thrown([&] { folder.write_file("real", "x"); }), ErrorKind::invalid);
  EXPECT_EQ(kind_thrown([&] { folder.write_file("absent/new", "x"); }), ErrorKind::not_found);
  EXPECT_FALSE(fs::exists(outside / "new"));
  for (const auto& entry : folder.list()) EXPECT_FALSE(entry.name.starts_with(".new-")) << "a temporary file is left";
  const auto before = ::umask(077);
  folder.make_folder("open/to/all", 0777).write_file("x", "x", {.mode = 0666});
  ::umask(before);
  EXPECT_EQ(lstat_of(tree / "open").st_mode, S_IFDIR | 0777u);
  EXPECT_EQ(lstat_of(tree / "open/to/all/x").st_mode, S_IFREG | 0666u);
}

TEST_F(HostileTree, folders_are_made_within) {
  const Folder folder(tree);
  const auto made = folder.make_folder("real/new/er", 0700);
  made.write_file("file", "x");
  EXPECT_EQ(read_file(tree / "real/new/er/file"), "x");
  EXPECT_EQ(folder.make_folder("real/new/er").read_file("file", 1), "x");  // what is there stays
  EXPECT_EQ(lstat_of(tree / "real/new").st_mode, S_IFDIR | 0700u);
  for (const char* path : {"folder-link/new", "inner-folder-link/new", "../new", "file/new", "dangling", "link"}) {
    EXPECT_EQ(kind_thrown([&] { folder.make_folder(path); }), ErrorKind::invalid) << path;
  }
  EXPECT_FALSE(fs::exists(outside / "new"));
}

TEST_F(HostileTree, removing_takes_links_and_not_what_they_point_at) {
  const Folder folder(tree);
  folder.remove_all("folder-link");
  folder.remove_all("link");
  folder.remove_all("real");
  folder.remove_all("absent");
  folder.remove_all("absent/too");
  EXPECT_EQ(kind_thrown([&] { folder.remove_all("../outside"); }), ErrorKind::invalid);
  EXPECT_EQ(kind_thrown([&] { folder.remove_all("inner-folder-link/deep"); }), ErrorKind::invalid);
  EXPECT_EQ(kind_thrown([&] { folder.remove_all("."); }), ErrorKind::invalid);
  EXPECT_FALSE(fs::exists(tree / "real"));
  folder.clear();
  EXPECT_TRUE(fs::is_empty(tree));
  EXPECT_EQ(read_file(outside / "secret"), "the key");
  EXPECT_EQ(read_file(outside / "folder" / "inner"), "inner");
}

TEST_F(HostileTree, a_tree_deeper_than_any_path_is_removed) {
  {
    Fd at(::open(tree.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const std::string name(100, 'd');
    for (int depth = 0; depth < 600; ++depth) {
      ASSERT_EQ(::mkdirat(at.get(), name.c_str(), 0755), 0);
      at = Fd(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      ASSERT_TRUE(at);
    }
  }
  const Folder folder(tree);
  EXPECT_EQ(kind_thrown([&] { folder.walk([](const auto&, const auto&) { return Folder::Next::enter; }); }),
            ErrorKind::invalid);
  EXPECT_EQ(kind_thrown([&] { folder.change_owner({}); }), ErrorKind::invalid);
  folder.clear();
  EXPECT_TRUE(fs::is_empty(tree));
}

TEST_F(HostileTree, a_mount_within_is_neither_emptied_nor_given_away) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  fs::create_directory(tree / "real" / "mount");
  if (::mount(outside.c_str(), (tree / "real" / "mount").c_str(), nullptr, MS_BIND, nullptr) != 0)
    GTEST_SKIP() << "this machine does not let us mount";
  const Folder folder(tree);
  EXPECT_EQ(kind_thrown([&] { folder.remove_all("real"); }), ErrorKind::unavailable);
  EXPECT_EQ(kind_thrown([&] { folder.change_owner({.uid = 12345}); }), ErrorKind::unavailable);
  EXPECT_EQ(read_file(outside / "secret"), "the key");
  EXPECT_EQ(lstat_of(outside).st_uid, 0u);
  ASSERT_EQ(::umount((tree / "real" / "mount").c_str()), 0);
  folder.remove_all("real");
  EXPECT_TRUE(fs::exists(outside / "secret"));
}

TEST_F(HostileTree, the_owner_changes_within_only) {
  if (::geteuid() != 0) GTEST_SKIP() << "giving files away needs root";
  ASSERT_EQ(::chmod((tree / "file").c_str(), 06755), 0);
  fs::create_hard_link(tree / "file", tree / "real" / "same-file");
  const Folder folder(tree);
  folder.change_owner({.uid = 2000, .gid = 3000, .add_to_files = 060, .add_to_folders = S_ISGID | 070});
  for (const char* path : {"", "file", "real", "real/deep/file", "link", "folder-link", "pipe", "socket"}) {
    EXPECT_EQ(lstat_of(tree / path).st_uid, 2000u) << path;
    EXPECT_EQ(lstat_of(tree / path).st_gid, 3000u) << path;
  }
  EXPECT_EQ(lstat_of(tree / "file").st_mode, S_IFREG | 0775u) << "another user's set-uid program now";
  EXPECT_EQ(lstat_of(tree / "real").st_mode, S_IFDIR | 02775u);
  for (const char* path : {"", "secret", "folder/inner"}) EXPECT_EQ(lstat_of(outside / path).st_uid, 0u) << path;
  folder.change_owner({.gid = 4000});
  EXPECT_EQ(lstat_of(tree / "file").st_uid, 2000u);
  EXPECT_EQ(lstat_of(tree / "file").st_gid, 4000u);
}

TEST_F(HostileTree, a_hard_link_to_a_file_outside_keeps_its_owner) {
  if (::geteuid() != 0) GTEST_SKIP() << "giving files away needs root";
  fs::create_hard_link(outside / "secret", tree / "hard-link");
  EXPECT_EQ(kind_thrown([&] { Folder(tree).change_owner({.uid = 2000}); }), ErrorKind::invalid);
  EXPECT_EQ(lstat_of(outside / "secret").st_uid, 0u);
}

TEST_F(HostileTree, a_handle_follows_links_only_beneath_and_only_when_asked) {
  const Folder folder(tree);
  fs::create_directory(tree / "..2020");
  write_file_atomically(tree / "..2020" / "key", "of a secret");
  fs::create_symlink("..2020", tree / "..data");
  const auto key = folder.handle("..data/key", Folder::Links::beneath);
  EXPECT_EQ(read_file(path_of(key)), "of a secret");
  fs::remove_all(tree / "..data");
  fs::create_symlink(outside, tree / "..data");
  EXPECT_EQ(read_file(path_of(key)), "of a secret") << "a handle stays what it was";
  EXPECT_EQ(kind_thrown([&] { folder.handle("..data/secret", Folder::Links::beneath); }), ErrorKind::invalid);
  for (const char* path : {"folder-link", "link", "relative-link", "magic", "loop"}) {
    EXPECT_EQ(kind_thrown([&] { folder.handle(path, Folder::Links::beneath); }), ErrorKind::invalid) << path;
  }
  for (const char* path : {"inner-link", "inner-folder-link/deep", "link"}) {
    EXPECT_EQ(kind_thrown([&] { folder.handle(path, Folder::Links::refuse); }), ErrorKind::invalid) << path;
  }
  EXPECT_EQ(kind_thrown([&] { folder.handle("dangling", Folder::Links::beneath); }), ErrorKind::not_found);
  EXPECT_TRUE(fs::equivalent(path_of(folder.handle("", Folder::Links::refuse)), tree));
}

// Somebody swaps a folder for a link out of the tree, over and over: what is read and written is never outside.
TEST_F(HostileTree, a_race_leads_nowhere) {
  fs::create_directories(tree / "swapped");
  write_file_atomically(tree / "swapped" / "secret", "mine");
  fs::create_symlink(outside, tree / "trap");
  std::atomic<bool> stop = false;
  std::thread swapper([&] {
    const auto a = (tree / "swapped").string(), b = (tree / "trap").string();
    while (!stop) ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
  });
  const Folder folder(tree);
  int refused = 0, read = 0;
  for (int round = 0; round < 5000; ++round) {
    const auto refusal = kind_thrown([&] {
      EXPECT_EQ(folder.read_file("swapped/secret", 100), "mine");
      folder.write_file("swapped/new", "x");
      folder.make_folder("swapped/made");
      ++read;
    });
    refused += refusal.has_value();
    if (refusal) EXPECT_EQ(*refusal, ErrorKind::invalid);
  }
  stop = true;
  swapper.join();
  EXPECT_EQ(refused + read, 5000);
  EXPECT_FALSE(fs::exists(outside / "new"));
  EXPECT_FALSE(fs::exists(outside / "made"));
}

}  // namespace
}  // namespace workflow
