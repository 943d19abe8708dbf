// The small languages of the command line: remotes, settings, limits, probes, keys, targets, server errors.
#include <gtest/gtest.h>

#include <random>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/controller.h"
#include "cli/dotenv.h"
#include "cli/git.h"
#include "cli/healthcheck.h"
#include "cli/limit_value.h"
#include "cli/proxy.h"
#include "cli/ps_target.h"
#include "cli/server_error.h"
#include "cli/ssh_key.h"

namespace workflow::cli {
namespace {

template <typename Work>
std::string error_of(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

TEST(Remotes, name_the_app) {
  const auto remotes = parse_remotes(
      "origin\thttps://git.example.com/x.git (fetch)\n"
      "origin\thttps://git.example.com/x.git (push)\n"
      "prod\tssh://git@deis-builder.apps.example.net:2222/paper-lantern.git (fetch)\n"
      "prod\tssh://git@deis-builder.apps.example.net:2222/paper-lantern.git (push)\n"
      "garbage\n");
  ASSERT_EQ(remotes.size(), 2u);
  EXPECT_EQ(remotes[1].name, "prod");
  EXPECT_EQ(app_of_remotes(remotes, "http://deis.apps.example.net:8080"), "paper-lantern");
  EXPECT_EQ(app_of_remotes(remotes, "http://deis.other.example.net"), std::nullopt);
}

TEST(Remotes, point_at_the_builder) {
  EXPECT_EQ(remote_url("http://deis.apps.example.net:8080", "shop"),
            "ssh://git@deis-builder.apps.example.net:2222/shop.git");
  EXPECT_EQ(builder_host("http://localhost"), "localhost-builder");
  EXPECT_EQ(builder_host("http://10.0.0.5:8000"), "10.0.0.5");
  EXPECT_EQ(builder_host("http://[::1]:8000/"), "[::1]");
}

TEST(Settings, are_key_equals_value) {
  EXPECT_EQ(parse_setting("A=b=c"), (std::pair<std::string, std::string>("A", "b=c")));
  EXPECT_EQ(parse_setting("_a1="), (std::pair<std::string, std::string>("_a1", "")));
  EXPECT_EQ(parse_setting("A=two\nlines"), (std::pair<std::string, std::string>("A", "two\nlines")));
  for (const auto* bad : {"A", "=b", "1A=b", "A B=c", "A-B=c", "A^=b", ""}) EXPECT_FALSE(parse_setting(bad)) << bad;
}

TEST(EnvFile, is_read_as_people_write_it) {
  struct Case {
    std::string_view text;
    Settings settings;
  };
  const Case cases[] = {
      {"", {}},
      {"# comment\n\n  # another\n", {}},
      {"\xef\xbb\xbf# made by an editor\nA=1\n", {{"A", "1"}}},
      {"A=1\nB=two words", {{"A", "1"}, {"B", "two words"}}},
      {"A=1\r\n\r\nB=2\r\n", {{"A", "1"}, {"B", "2"}}},
      {"export A=1\n  B = 2 \nexported=3", {{"A", "1"}, {"B", "2"}, {"exported", "3"}}},
      {"A=\nB=''\nC=\"\"\nD= # empty", {{"A", ""}, {"B", ""}, {"C", ""}, {"D", ""}}},
      {"A=1 # one\nB=x#y\nC=#fff\nD='a # b' # c", {{"A", "1"}, {"B", "x#y"}, {"C", "#fff"}, {"D", "a # b"}}},
      {"A=\" two \"\nB=' two '", {{"A", " two "}, {"B", " two "}}},
      {R"(A="a\nb\t\"c\"\\ \$d \e")", {{"A", "a\nb\t\"c\"\\ $d \\e"}}},
      {R"(A='a\nb "c"')", {{"A", R"(a\nb "c")"}}},
      {"A='-----BEGIN-----\nabc=\n-----END-----\n'\nB=2",
       {{"A", "-----BEGIN-----\nabc=\n-----END-----\n"}, {"B", "2"}}},
      {"A=\"x\r\ny\"\r\nB=2\r\n", {{"A", "x\ny"}, {"B", "2"}}},
      {R"(A={"a": "b # no"})", {{"A", R"({"a": "b)"}}},
      {R"(A={"a": 1}#2)", {{"A", R"({"a": 1}#2)"}}},
      {"A=postgres://u:p@h/d?x=1&y=$Z `w`", {{"A", "postgres://u:p@h/d?x=1&y=$Z `w`"}}},
      {"A=1\nA=2", {{"A", "2"}}},
  };
  for (const auto& [text, settings] : cases) EXPECT_EQ(parse_dotenv(text), settings) << text;
}

TEST(EnvFile, is_refused_with_the_line_and_the_remedy) {
  EXPECT_EQ(error_of([] { parse_dotenv("A=1\n\nno\n"); }),
            "'no' does not match the pattern 'key=var', ex: MODE=test\n"
            "It is line 3; a value of several lines stands between quotes.\n");
  EXPECT_TRUE(error_of([] { parse_dotenv("A=1\nB-C=2\n"); }).starts_with("'B-C=2' does not match the pattern"));
  EXPECT_TRUE(error_of([] { parse_dotenv("A=1\nB=\"x\ny\n"); }).starts_with("line 2: the quote \" is not closed"));
  EXPECT_TRUE(error_of([] { parse_dotenv("A='x'y\n"); }).starts_with("line 1: text follows the closing '"));
}

TEST(EnvFile, leaves_plain_values_as_they_are) {
  EXPECT_EQ(print_dotenv({{"A", "1"}, {"B", "two words"}, {"C", ""}, {"D", "a\"b"}, {"E", "it's $x"}}),
            "A=1\nB=two words\nC=\nD=a\"b\nE=it's $x\n");
  EXPECT_EQ(print_dotenv({{"A", " 1"}, {"B", "a\nb"}, {"C", "it's\n$x"}, {"D", "\"q\""}, {"E", "x #y"}, {"F", "a\rb"}}),
            "A=' 1'\nB='a\nb'\nC=\"it's\n\\$x\"\nD='\"q\"'\nE='x #y'\nF=\"a\\rb\"\n");
}

TEST(EnvFile, gives_back_every_value_byte_for_byte) {
  std::mt19937 random(20);
  const std::vector<std::string> pieces = {"\n", "\r",           "\r\n", "\"",   "'", "\\",  "\\n",     "$", "`",
                                           "#",  " #",           " ",    "\t",   "=", "A=b", "export ", "é", "\v",
                                           "x",  "\xef\xbb\xbf", "%",    "\\\"", "!"};
  for (int round = 0; round < 20000; ++round) {
    Settings settings;
    for (const auto* key : {"A", "B_1", "_c"}) {
      std::string value;
      for (auto left = random() % 8; left > 0; --left) value += pieces[random() % pieces.size()];
      settings[key] = value;
    }
    const auto file = print_dotenv(settings);
    ASSERT_EQ(parse_dotenv(file), settings) << file;
  }
}

TEST(SshKeyValue, is_base64_of_the_key) {
  const std::string pem = "-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----\n";
  const std::string encoded = ssh_key_value(pem);
  EXPECT_EQ(encoded.substr(0, 8), "LS0tLS1C");
  EXPECT_EQ(ssh_key_value(encoded), encoded);
  const auto refused = error_of([] { ssh_key_value("my secret"); });
  EXPECT_TRUE(refused.starts_with("Could not parse SSH private key:\n"));
  EXPECT_EQ(refused.find("my secret"), std::string::npos);
}

TEST(Limits, are_quantities) {
  for (const auto* good : {"512M", "1G", "64mb", "250m", "1", "1.5", "512", "0/100M", "50M/100MB", "256M/512M"}) {
    EXPECT_TRUE(is_limit(good)) << good;
  }
  for (const auto* bad : {"", "512Mi", "M", "-1", "1/", "/1", "1/2/3", "123456", "two"})
    EXPECT_FALSE(is_limit(bad)) << bad;
}

TEST(ScaleTarget, is_a_type_and_a_number) {
  EXPECT_EQ(parse_scale_target("my-web=12")->type, "my-web");
  EXPECT_EQ(parse_scale_target("my-web=12")->count, 12);
  for (const auto* bad : {"web", "web=", "web=-1", "web=+1", "=1", "-web=1", "web-=1", "a--b=1", "Web=1", "web=1x",
                          "web=99999999999999999999"}) {
    EXPECT_FALSE(parse_scale_target(bad)) << bad;
  }
}

TEST(RestartTarget, is_what_runs_under_that_name) {
  const json::array pods = {{{"name", "shop-my-proc-6c9f7d5b8-x4k2p"}, {"type", "my-proc"}},
                            {{"name", "shop-web-6c9f7d5b8-abcde"}, {"type", "web"}}};
  const std::pair<std::string, RestartTarget> cases[] = {
      {"web", {"web", ""}},
      {"my-proc", {"my-proc", ""}},
      {"shop-web-6c9f7d5b8-abcde", {"web", "shop-web-6c9f7d5b8-abcde"}},
      {"web-6c9f7d5b8-abcde", {"web", "web-6c9f7d5b8-abcde"}},
      {"my-proc-6c9f7d5b8-x4k2p", {"my-proc", "my-proc-6c9f7d5b8-x4k2p"}},
      {"gone-6c9f7d5b81-zzzzz", {"gone", "gone-6c9f7d5b81-zzzzz"}},
      {"no-such", {"no-such", ""}},
  };
  for (const auto& [name, target] : cases) EXPECT_EQ(restart_target("shop", name, pods), target) << name;
}

TEST(Probes, become_the_controllers_json) {
  EXPECT_EQ(
      json::serialize(probe_from("httpGet", {"80"}, {.headers = "X-A: 1,X-B:2"})),
      R"({"initialDelaySeconds":50,"timeoutSeconds":50,"periodSeconds":10,"successThreshold":1,"failureThreshold":3,)"
      R"("httpGet":{"path":"/","port":80,"httpHeaders":[{"name":"X-A","value":"1"},{"name":"X-B","value":"2"}]}})");
  EXPECT_EQ(json::serialize(probe_from("exec", {"./healthy", "--quick"}, {}).at("exec")),
            R"({"command":["./healthy","--quick"]})");
  EXPECT_EQ(json::serialize(probe_from("tcpSocket", {"5000"}, {}).at("tcpSocket")), R"({"port":5000})");
  EXPECT_TRUE(error_of([] { probe_from("httpGet", {"x"}, {}); }).starts_with("could not parse port: "));
  EXPECT_EQ(error_of([] { probe_from("httpGet", {"1"}, {.headers = "bad"}); }),
            "could not parse headers: could not find separator in header (bad)");
  EXPECT_NE(error_of([] { probe_from("udp", {"1"}, {}); }), "");
}

TEST(PublicKeys, are_recognised) {
  EXPECT_EQ(parse_public_key("ssh-ed25519 AAAA maya@laptop\n", "id_ed25519.pub")->id, "maya@laptop");
  EXPECT_EQ(parse_public_key("ssh-ed25519 AAAA maya@laptop\n", "id_ed25519.pub")->text,
            "ssh-ed25519 AAAA maya@laptop\n");
  EXPECT_EQ(parse_public_key("ssh-rsa AAAA", "id_rsa.pub")->id, "id_rsa");
  EXPECT_TRUE(parse_public_key("sk-ssh-ed25519@openssh.com AAAA x", "k.pub"));
  for (const auto* bad : {"", "ssh-rsa", "ssh-foo AAAA", "ssh-rsa !!!! x", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n"}) {
    EXPECT_FALSE(parse_public_key(bad, "k.pub")) << bad;
  }
}

TEST(ServerErrors, are_told_in_the_originals_words) {
  struct Case {
    int status;
    std::string body, message;
  };
  const Case cases[] = {
      {400, R"({"username":["A user with that username already exists."]})",
       "A user with that username already exists."},
      {400, R"({"username":["This field may not be blank."]})",
       "Enter a valid username. This value may contain only letters, numbers and @/./+/-/_ characters."},
      {400, R"({"id":["Application with this id already exists."]})", "Application with this id already exists."},
      {400, R"({"id":["App name must start with an alphabetic character"]})",
       R"(Unknown Error (400): {"id":["App name must start with an alphabetic character"]})"},
      {400, R"({"name":["Can only contain a-z (lowercase), 0-9 and hyphens"]})",
       "Name can only contain a-z (lowercase), 0-9 and hyphens"},
      {400, R"({"certificate":["Could not load certificate: bad"]})", "Could not load certificate"},
      {400, R"({"detail":"Container type x does not exist in application"})", "Pod not found in application"},
      {400, R"({"detail":"No nodes matched the provided labels: a"})", "No nodes matched the provided labels"},
      {400, R"({"public":["Public Key is already in use"]})", "Public Key is already in use"},
      {400, R"({"id":["SSH Key with this id already exists."]})",
       "There is a key of this name already. Give this one a name of its own: keys:add <name> <file>"},
      {400, R"({"detail":"a\nb"})", "Unknown Error (400): {\"detail\":\"a\nb\"}"},
      {400, "nonsense", "Unknown Error (400): error decoding json response (it is not JSON): nonsense"},
      {401, "", "Unauthorized: Missing or Invalid Token"},
      {403, "", "You do not have permission to perform this action."},
      {404, R"("No App matches the given query.")", R"("No App matches the given query.")"},
      {404, "", "Not Found"},
      {405, "", "Method Not Allowed"},
      {409, R"({"detail":"maya changed nothing - release stopped"})",
       R"(Unknown Error (409): {"detail":"maya changed nothing - release stopped"})"},
      {409, R"({"detail":"bob still has applications assigned. Delete or transfer ownership"})",
       "Failed to delete user because the user still has applications assigned. Delete or transfer ownership."},
      {422, R"({"detail":"X does not exist under values"})",
       "Unable to process your request: X does not exist under values"},
      {500, "x", "Internal Server Error"},
      {503, "x", "Unknown Error (503): x"},
      {503, R"({"detail":"too many logins at once"})", "too many logins at once"},
      {413, R"({"detail":"the request body is larger than 5 bytes"})",
       "This is more than the platform takes in one request: the request body is larger than 5 bytes"},
  };
  for (const auto& [status, body, message] : cases) EXPECT_EQ(message_of(status, body), message) << body;
}

TEST(Answers, of_strangers_are_told_apart) {
  const std::string page = "<html><center><h1>413 Request Entity Too Large</h1></center><hr>nginx</html>";
  const Reply nginx{.status = 413, .content_type = "text/html", .body = page};
  const Reply ours{
      .status = 413, .api_version = "2.3", .content_type = "application/json", .body = R"({"detail":"5 MiB"})"};
  const Reply old{.status = 400, .content_type = "application/json; charset=utf-8", .body = "{}"};
  EXPECT_FALSE(is_of_controller(nginx));
  EXPECT_TRUE(is_of_controller(ours));
  EXPECT_TRUE(is_of_controller(old));
  EXPECT_TRUE(is_of_controller({.status = 204}));
  EXPECT_FALSE(is_of_controller({.status = 502}));
  EXPECT_FALSE(is_of_controller({.status = 200, .content_type = "text/html", .body = "<html>"}));
  EXPECT_EQ(problem_of(ours, "http://deis.x"), "This is more than the platform takes in one request: 5 MiB");
  for (const int status : {400, 401, 403, 404, 405, 413, 414, 429, 500, 502, 503, 504}) {
    const auto problem = problem_of({.status = status, .content_type = "text/html", .body = page}, "http://deis.x");
    EXPECT_EQ(problem.find('<'), std::string::npos) << problem;
    EXPECT_EQ(problem.find('\n'), std::string::npos) << problem;
    EXPECT_NE(problem.find("(" + std::to_string(status) + ")"), std::string::npos) << problem;
  }
}

TEST(Redirects, take_the_token_only_to_the_same_host_and_never_to_plain_http) {
  auto judged = [](std::string_view from, std::string_view to) {
    return judge_redirect(*http::Url::parse(from), *http::Url::parse(to));
  };
  EXPECT_EQ(judged("http://deis.x/v2/a", "http://deis.x/v2/b"), Redirect::same_host);
  EXPECT_EQ(judged("http://deis.x/", "https://deis.x/"), Redirect::same_host);
  EXPECT_EQ(judged("http://deis.x:8080/", "https://deis.x:8443/"), Redirect::same_host);
  EXPECT_EQ(judged("https://deis.x/", "http://deis.x/"), Redirect::refused);
  EXPECT_EQ(judged("https://deis.x/", "http://other.x/"), Redirect::refused);
  EXPECT_EQ(judged("http://deis.x/", "http://other.x/"), Redirect::other_host);
  EXPECT_EQ(judged("http://deis.x/", "http://deis.x:81/"), Redirect::other_host);
  EXPECT_EQ(judged("https://deis.x/", "https://deis.x:444/"), Redirect::other_host);
}

TEST(CommandLine, gives_words_after_two_dashes_to_the_program_as_they_are) {
  auto line = [](std::vector<std::string> words) {
    const auto parsed = parse("deis", *find_command("apps:run"), words).arguments;
    return command_line(parsed.operands(), parsed.loose_operands());
  };
  struct Case {
    std::vector<std::string> words;
    std::string text;
  };
  const Case cases[] = {
      {{"ls", "*.py", "|", "wc"}, "ls *.py | wc"},  // a line for the shell, as ever
      {{"sh -c 'echo hi'"}, "sh -c 'echo hi'"},
      {{"--", "ls", "-l"}, "ls -l"},
      {{"--", "sh", "-c", "echo hi"}, "sh -c 'echo hi'"},
      {{"sh", "-c", "echo hi"}, "sh -c 'echo hi'"},
      {{"-a", "shop", "--", "echo", "it's", "$HOME", "*", "", "a  b"}, R"(echo 'it'\''s' '$HOME' '*' '' 'a  b')"},
      {{"--", "ls | wc"}, "ls | wc"},
      {{"env", "--", "A=b", "x y"}, "env A=b 'x y'"},
      {{"--", "echo", "Hello,", "世界"}, "echo Hello, 世界"},
      {{"--", "printf", "a\nb"}, "printf 'a\nb'"},
  };
  for (const auto& [words, text] : cases) EXPECT_EQ(line(words), text);
}

TEST(Proxies, are_taken_by_scheme_and_not_for_exceptions) {
  auto way = [](const Proxies& proxies, std::string_view url) {
    return proxy_for(proxies, *http::Url::parse(url)).value_or("directly");
  };
  const Proxies both{"plain:3128", "secure:3128", ""};
  EXPECT_EQ(way(both, "http://deis.example.com/"), "plain:3128");
  EXPECT_EQ(way(both, "https://deis.example.com/"), "secure:3128");
  EXPECT_EQ(way({}, "https://deis.example.com/"), "directly");
  for (const auto* here : {"http://localhost/", "http://deis.localhost:8080/", "http://127.0.0.1/", "http://127.3.2.1/",
                           "http://[::1]/"}) {
    EXPECT_EQ(way(both, here), "directly") << here;
  }
  struct Case {
    std::string exceptions;
    std::string_view url;
    bool directly;
  };
  const Case cases[] = {
      {"*", "http://deis.example.com/", true},
      {"example.com", "http://deis.example.com/", true},
      {"example.com", "http://example.com/", true},
      {"example.com", "http://deis-example.com/", false},
      {".example.com", "http://deis.example.com/", true},
      {".example.com", "http://example.com/", false},
      {"*.example.com", "http://deis.example.com/", true},
      {"other.com, Example.COM", "http://deis.example.com/", true},
      {"example.com:8080", "http://deis.example.com:8080/", true},
      {"example.com:8080", "http://deis.example.com/", false},
      {"10.0.0.0/8", "http://10.1.2.3/", true},
      {"10.0.0.0/8", "http://11.1.2.3/", false},
      {"10.1.2.3", "http://10.1.2.3/", true},
      {"10.1.2.3:81", "http://10.1.2.3/", false},
      {"fd00::/8", "http://[fd12::1]/", true},
      {"[fd12::1]:8080", "http://[fd12::1]:8080/", true},
      {"nonsense/99,,:", "http://10.1.2.3/", false},
  };
  for (const auto& [exceptions, url, directly] : cases) {
    EXPECT_EQ(way({"p", "p", exceptions}, url), directly ? "directly" : "p") << exceptions << " " << url;
  }
  EXPECT_EQ(
      Proxies::from(
          Env({{"http_proxy", "a"}, {"HTTPS_PROXY", "b"}, {"https_proxy", "c"}, {"NO_PROXY", ""}, {"no_proxy", "d"}})),
      (Proxies{"a", "b", "d"}));
}

TEST(Proxies, have_an_address_and_perhaps_credentials) {
  auto proxy = [](std::string_view text) {
    const auto parsed = parse_proxy(text);
    return parsed.url.text() + " " + parsed.authorization;
  };
  EXPECT_EQ(proxy("http://proxy.example.com:3128"), "http://proxy.example.com:3128/ ");
  EXPECT_EQ(proxy("proxy:3128/"), "http://proxy:3128/ ");
  EXPECT_EQ(proxy("http://maya:p%40ss@proxy"), "http://proxy/ Basic bWF5YTpwQHNz");
  const auto refused = error_of([] { parse_proxy("socks5://maya:secret@proxy:1080"); });
  EXPECT_NE(refused.find("socks5://proxy:1080"), std::string::npos);
  EXPECT_EQ(refused.find("secret"), std::string::npos);
  EXPECT_NE(error_of([] { parse_proxy("http://pro xy"); }), "");
}

TEST(ApiVersion, must_be_ours_or_a_newer_minor) {
  for (const auto* good : {"2.3", "2.4", "2.10"}) EXPECT_FALSE(version_warning(good)) << good;
  for (const auto* bad : {"", "2", "2.1", "3.3", "two.three"}) EXPECT_TRUE(version_warning(bad)) << bad;
  EXPECT_EQ(*version_warning("2.1"),
            "!    WARNING: Client and server API versions do not match. Please consider upgrading.\n"
            "!    Client version: 2.3\n!    Server version: 2.1\n");
}

}  // namespace
}  // namespace workflow::cli
