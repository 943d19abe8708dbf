#include "builder/command.h"

#include <gtest/gtest.h>

namespace workflow::builder {
namespace {

TEST(Command, of_git_names_an_app) {
  for (const std::string text :
       {"git-receive-pack '/peachy.git'", "git-receive-pack 'peachy.git'", "git-receive-pack '/peachy'",
        "git-receive-pack /peachy.git", "git-receive-pack 'peachy/'"}) {
    EXPECT_EQ(parse_command(text), Command(ReceivePack{*AppName::parse("peachy")})) << text;
  }
  EXPECT_EQ(parse_command("git-upload-pack '/peachy.git'"), Command(UploadPack{*AppName::parse("peachy")}));
  EXPECT_EQ(parse_command("ping"), Command(Ping{}));
}

TEST(Command, that_is_anything_else_is_refused) {
  struct Case {
    std::string text;
    bool is_git;
  };
  const Case cases[] = {
      {"", false},
      {"sh", false},
      {"ping ", false},
      {"git-shell", false},
      {"git receive-pack '/a.git'", false},
      {"git-upload-pack '/a.git' --x", true},
      {"git-upload-pack", true},
      {"git-upload-archive '/a.git'", true},
      {"git-receive-pack", true},
      {"git-receive-pack ", true},
      {"git-receive-pack ''", true},
      {"git-receive-pack '/'", true},
      {"git-receive-pack '.git'", true},
      {"git-receive-pack '../a.git'", true},
      {"git-receive-pack '/a/../b.git'", true},
      {"git-receive-pack '/a.git' '/b.git'", true},
      {"git-receive-pack '/a.git'; sh", true},
      {"git-receive-pack '/$(id).git'", true},
      {"git-receive-pack '/a'\\''b.git'", true},
      {"git-receive-pack '/A.git'", true},
      {std::string("git-receive-pack '/a\0.git'", 24), true},
      {"git-receive-pack  '/a.git'", true},
      {"git-receive-pack '/a.git'\n", true},
  };
  for (const auto& [text, is_git] : cases) {
    const auto command = parse_command(text);
    ASSERT_TRUE(std::holds_alternative<RefusedCommand>(command)) << text;
    EXPECT_EQ(std::get<RefusedCommand>(command).is_git, is_git) << text;
    EXPECT_FALSE(std::get<RefusedCommand>(command).message.empty());
  }
}

TEST(Shown, leaves_nothing_that_a_terminal_obeys) {
  EXPECT_EQ(shown("a\x1b[2Jb\n\xc3\xa4"), "a?[2Jb???");
  EXPECT_EQ(shown(std::string(100, 'x')).size(), 80u);
}

}  // namespace
}  // namespace workflow::builder
