#include "slugbuilder/slug.h"

#include <gtest/gtest.h>

#include <fstream>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace workflow::slugbuilder {
namespace {

TEST(ProcessTypes, that_cannot_be_are_named) {
  const std::pair<procfile::Types, std::string> cases[] = {
      {{{"Web", "x"}}, "Procfile: the process type \"Web\" must be lower-case"},
      {{{"a_b", "x"}}, "\"a_b\" must be"},
      {{{"web", " "}}, "Procfile: the process type \"web\" needs a command"},
      {{{"web", "a"}, {"b", "c"}, {"web", "a"}}, "Procfile: the process type \"web\" is there twice"}};
  for (const auto& [types, named] : cases) {
    try {
      check_process_types(types, "Procfile");
      ADD_FAILURE() << named;
    } catch (const Error& error) {
      EXPECT_NE(error.message().find(named), std::string::npos) << error.message();
    }
  }
  EXPECT_NO_THROW(check_process_types({{"web", "a"}, {"b", "c"}}, "Procfile"));
}

TEST(ProcessTypes, of_the_procfile_win_one_by_one) {
  EXPECT_EQ(merge({{"web", "mine"}}, {{"web", "default"}, {"rake", "rake"}}),
            (procfile::Types{{"web", "mine"}, {"rake", "rake"}}));
}

TEST(Slugignore, means_what_people_write) {
  struct Case {
    std::string pattern, path;
    bool out;
  };
  const Case cases[] = {
      {"*.psd", "a.psd", true},     {"*.psd", "deep/down/a.psd", true}, {"test", "test", true},
      {"test", "lib/test", true},   {"test", "testing", false},         {"/test", "test", true},
      {"/test", "lib/test", false}, {"./test", "test", true},           {"docs/", "docs", true},
      {"# test", "# test", false},  {"lib/*.o", "lib/a.o", true},       {"", "a", false},
  };
  for (const auto& [pattern, path, out] : cases) {
    EXPECT_EQ(slugignore(pattern + "\n")(path), out) << pattern << " " << path;
  }
}

TEST(FolderFingerprint, changes_with_a_file) {
  TemporaryFolder folder;
  EXPECT_EQ(folder_fingerprint(folder.path()), "");
  std::ofstream(folder.path() / "a") << "1";
  const auto first = folder_fingerprint(folder.path());
  EXPECT_EQ(folder_fingerprint(folder.path()), first);
  std::ofstream(folder.path() / "a") << "22";
  EXPECT_NE(folder_fingerprint(folder.path()), first);
}

TEST(BuildpackUrl, is_a_place_and_never_an_option) {
  const std::pair<std::string, std::optional<BuildpackSource>> cases[] = {
      {"https://example.com/pack.git", BuildpackSource{"https://example.com/pack.git", "", false}},
      {"https://example.com/pack.git#v1", BuildpackSource{"https://example.com/pack.git", "v1", false}},
      {"https://example.com/pack.tgz?x=1", BuildpackSource{"https://example.com/pack.tgz?x=1", "", true}},
      {"git@example.com:a/b.git#main", BuildpackSource{"git@example.com:a/b.git", "main", false}},
      {"--upload-pack=evil", std::nullopt},
      {"ext::sh -c evil", std::nullopt},
      {"ext::sh@evil:x", std::nullopt},
      {"https://example.com/pack.git#--evil", std::nullopt},
      {"", std::nullopt},
  };
  for (const auto& [text, source] : cases) EXPECT_EQ(parse_buildpack_url(text), source) << text;
}

}  // namespace
}  // namespace workflow::slugbuilder
