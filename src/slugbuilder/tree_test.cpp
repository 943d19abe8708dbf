#include "slugbuilder/tree.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "lib/base/error.h"

namespace workflow::slugbuilder {
namespace {

namespace fs = std::filesystem;

struct Tree {
  TemporaryFolder outside;
  fs::path path = outside.path() / "tree";
  Tree() { fs::create_directory(path); }
  Folder folder() const { return Folder(path); }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((path / name).parent_path());
    folder().write_file(name, text);
  }
};

std::string refusal(const Tree& tree, const std::string& name) {
  try {
    const auto text = find_text(tree.folder(), name);
    return text ? "read: " + *text : "absent";
  } catch (const Error& error) {
    return error.message();
  }
}

TEST(FindText, reads_files_and_links_that_stay_in_the_tree) {
  const Tree tree;
  tree.write("deploy/Procfile", "web: x\n");
  fs::create_symlink("deploy/Procfile", tree.path / "Procfile");
  EXPECT_EQ(find_text(tree.folder(), "Procfile"), "web: x\n");
  EXPECT_EQ(find_text(tree.folder(), "deploy/Procfile"), "web: x\n");
  EXPECT_EQ(find_text(tree.folder(), ".buildpacks"), std::nullopt);
}

TEST(FindText, never_shows_what_lies_outside) {
  const Tree tree;
  write_file_atomically(tree.outside.path() / "secret", "s3cret");
  fs::create_symlink(tree.outside.path() / "secret", tree.path / "absolute");
  fs::create_symlink("../secret", tree.path / "relative");
  fs::create_symlink("..", tree.path / "up");
  fs::create_symlink("up/secret", tree.path / "through");
  fs::create_symlink("/proc/self/environ", tree.path / "environ");
  fs::create_symlink("nowhere", tree.path / "dangling");
  for (const std::string name : {"absolute", "relative", "through", "environ", "dangling"}) {
    EXPECT_EQ(refusal(tree, name), name + " must be a file of the repository, not a link that leads elsewhere");
  }
  fs::create_directory(tree.path / "folder");
  ASSERT_EQ(::mkfifo((tree.path / "pipe").c_str(), 0600), 0);
  for (const std::string name : {"folder", "pipe"}) EXPECT_EQ(refusal(tree, name), name + " must be a file");
  tree.write("long", std::string((1 << 20) + 1, 'x'));
  EXPECT_EQ(refusal(tree, "long"), "long is larger than 1 MiB");
}

TEST(Slugignore, removes_only_what_is_in_the_tree) {
  const Tree tree;
  write_file_atomically(tree.outside.path() / "a.psd", "kept");
  tree.write("a.psd", "x");
  tree.write("deep/b.psd", "x");
  tree.write("docs/x/y", "x");
  tree.write("kept", "x");
  fs::create_directory_symlink("..", tree.path / "up");
  tree.write(".slugignore", "*.psd\n/docs\n");
  apply_slugignore(tree.folder());
  for (const auto* gone : {"a.psd", "deep/b.psd", "docs"}) EXPECT_FALSE(fs::exists(tree.path / gone)) << gone;
  EXPECT_TRUE(fs::exists(tree.path / "kept"));
  EXPECT_TRUE(fs::exists(tree.outside.path() / "a.psd"));
}

TEST(LfsPointers, are_found_where_attributes_speak_of_lfs) {
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, 'a') + "\nsize 12345\n";
  const Tree tree;
  tree.write("one.png", pointer);
  tree.write("deep/two.png", pointer);
  tree.write("text", "version 1\n");
  tree.write("large", pointer + std::string(2000, 'x'));
  EXPECT_EQ(find_lfs_pointers(tree.folder(), 5).count, 0u);
  tree.write("deep/.gitattributes", "*.png filter=lfs diff=lfs merge=lfs -text\n");
  const auto found = find_lfs_pointers(tree.folder(), 1);
  EXPECT_EQ(found.count, 2u);
  EXPECT_EQ(found.some, std::vector<std::string>{"deep/two.png"});
}

}  // namespace
}  // namespace workflow::slugbuilder
