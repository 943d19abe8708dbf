#include "lib/procfile/procfile.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"

namespace workflow::procfile {
namespace {

std::string refusal(auto parse) {
  try {
    parse();
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

TEST(Procfile, gives_the_rest_of_a_line_to_the_shell_byte_for_byte) {
  struct Case {
    std::string text;
    Types types;
  };
  const Case cases[] = {
      {"web:python3 server.py\n", {{"web", "python3 server.py"}}},
      {R"(web: MSG="a: b" OPT="x # y" python3 server.py --opt a: b)",
       {{"web", R"(MSG="a: b" OPT="x # y" python3 server.py --opt a: b)"}}},
      {"web: a\nworker: b\nclock: 5\n", {{"web", "a"}, {"worker", "b"}, {"clock", "5"}}},
      {"web:\t a  b \n", {{"web", "a  b "}}},
      {"web: cmd # as the shell reads it\n", {{"web", "cmd # as the shell reads it"}}},
      {"web: [ -f x ] && { a; } || ! b\n", {{"web", "[ -f x ] && { a; } || ! b"}}},
      {"web: - x\nb: *.sh\nc: &\nd: %x @y `z`\n", {{"web", "- x"}, {"b", "*.sh"}, {"c", "&"}, {"d", "%x @y `z`"}}},
      {"web: \"my prog\" --name 'a b'\n", {{"web", "\"my prog\" --name 'a b'"}}},
      {"web: 'a'\\''b'\n", {{"web", "'a'\\''b'"}}},
      {"web: a\\\\b\\n\n", {{"web", "a\\\\b\\n"}}},
      {"web: \xc3\xa9\n", {{"web", "\xc3\xa9"}}},
      {"Web_1-x: y\n", {{"Web_1-x", "y"}}},
      {"web: > out echo\n", {{"web", "> out echo"}}},
      {"web: null\nb: true\nc: 010\n", {{"web", "null"}, {"b", "true"}, {"c", "010"}}},
      {"web:\n", {{"web", ""}}},
      {"web: a\nweb: b\n", {{"web", "a"}, {"web", "b"}}},
      {"", {}},
  };
  for (const auto& [text, types] : cases) EXPECT_EQ(parse(text), types) << text;
}

TEST(Procfile, may_have_blank_lines_comments_and_the_line_ends_of_windows) {
  EXPECT_EQ(parse("\xef\xbb\xbf# starts: it\r\n\r\nweb: a\r\n  # more: here\r\n---\r\nb: c"),
            (Types{{"web", "a"}, {"b", "c"}}));
}

TEST(Procfile, of_the_original_means_what_it_meant) {
  struct Case {
    std::string text;
    Types types;
  };
  const Case cases[] = {
      {"web: \"python app.py --opt 'a: b'\"\n", {{"web", "python app.py --opt 'a: b'"}}},
      {"web: 'it''s here'  \n", {{"web", "it's here"}}},
      {R"(web: "say \"hi\" \u00e9")", {{"web", "say \"hi\" \xc3\xa9"}}},
      {R"(web: "$HOME/\$x y")", {{"web", R"("$HOME/\$x y")"}}},  // no text of YAML's
      {"web: >-\n  python app.py\n  --port 5\nb: x\n", {{"web", "python app.py --port 5"}, {"b", "x"}}},
      {"web: |  # two\n  a\n  b\n", {{"web", "a\nb\n"}}},
      {"---\nweb: python app.py\n  --port 5\n", {{"web", "python app.py --port 5"}}},
      {"  web: a\n  b: c\n", {{"web", "a"}, {"b", "c"}}},
      {"\"web\": a\n", {{"web", "a"}}},
      {"web : a\n", {{"web", "a"}}},
      {"{web: a, b: c}\n", {{"web", "a"}, {"b", "c"}}},
      {"{}\n", {}},
  };
  for (const auto& [text, types] : cases) EXPECT_EQ(parse(text), types) << text;
}

TEST(Procfile, that_cannot_be_read_is_named_with_its_line) {
  const std::pair<std::string, std::string> cases[] = {
      {"web= x\n", "Procfile line 1 must be of the form \"web: command\""},
      {"web: x\n\nstart it\n", "Procfile line 3 must be of the form \"web: command\""},
      {"- x\n", "Procfile line 1 must be of the form \"web: command\""},
      {"web: |\n  a\n b: [\n", "Procfile line 1 must be of the form \"web: command\""},
      {"a b: {c: d}\n", "Procfile: the process type \"a b\" needs a command"},
      {std::string("web: a\0b\n", 9), "Procfile must be text: it holds a NUL"},
      {"web: \xff\n", "Procfile must be text in UTF-8"},
      {std::string(longest + 1, '#'), "Procfile is larger than 1 MiB"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(refusal([&] { parse(text); }), message);
}

TEST(Procfile, comes_back_as_it_was_printed) {
  const Types types{{"web", "echo \"hi: there\" # $PORT \\ 'x'"},
                    {"b", "- x"},
                    {"c", "\"all quoted\""},
                    {"d", "two\nlines\t\x01"},
                    {"e", " padded "},
                    {"f", "\xf0\x9f\x9a\x80"},
                    {"web", "again"},
                    {"g", ""},
                    {"h", "'it''s'"}};
  EXPECT_EQ(parse(print(types)), types);
  EXPECT_EQ(print({}), "{}\n");
  EXPECT_EQ(print({{"web", "./start"}}), "web: \"./start\"\n");
}

TEST(Find, takes_the_last_of_a_name_and_no_empty_command) {
  const Types types{{"web", "a"}, {"web", "b"}, {"idle", " "}};
  EXPECT_EQ(find(types, "web"), "b");
  EXPECT_EQ(find(types, "idle"), std::nullopt);
  EXPECT_EQ(find(types, "nosuch"), std::nullopt);
}

TEST(Release, has_default_process_types_and_variables) {
  const auto release =
      parse_release("---\ndefault_process_types:\n  web: npm start\n  n: 5\nconfig_vars:\n  A: pack\n");
  EXPECT_EQ(release.default_process_types, (Types{{"web", "npm start"}, {"n", "5"}}));
  EXPECT_EQ(release.config_vars, (std::map<std::string, std::string>{{"A", "pack"}}));
  for (const std::string nothing : {"", "--- {}", "default_process_types:\nconfig_vars:\n"})
    EXPECT_TRUE(parse_release(nothing).default_process_types.empty()) << nothing;
}

TEST(Release, that_cannot_be_says_why) {
  const std::pair<std::string, std::string> cases[] = {
      {"- x\n", "The output of bin/release must be a mapping"},
      {"default_process_types: [a]\n", "default_process_types must have lines of the form \"web: command\""},
      {"default_process_types: {web: {a: b}}\n", "default_process_types: the process type \"web\" needs a command"},
      {"config_vars: {A: [1]}\n", "config_vars: \"A\" must be text"},
      {"a: \xff\n", "The output of bin/release must be text in UTF-8"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(refusal([&] { parse_release(text); }), message);
  EXPECT_TRUE(refusal([] { parse_release("{"); }).starts_with("The output of bin/release is not valid YAML: "));
}

}  // namespace
}  // namespace workflow::procfile
