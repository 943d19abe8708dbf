#include "router/render.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "lib/base/file.h"
#include "lib/base/golden.h"
#include "lib/base/process.h"
#include "router/certificate.h"
#include "router/nginx.h"

namespace workflow::router {
namespace {

namespace fs = std::filesystem;

Annotations under(std::string prefix, Annotations annotations) {
  Annotations full;
  for (auto& [key, value] : annotations) full.emplace("router.deis.io/" + prefix + key, value);
  return full;
}

Model build_model(const Observed& observed) { return Planner(observed).model(); }

// An app for each rule, and every annotation of the router that shows in the text.
Observed everything() {
  Observed seen{.ns = "deis", .platform_domain = "example.com"};
  seen.router = under("nginx.", {{"requestStartHeader", "true"},
                                 {"ssl.hsts.enabled", "true"},
                                 {"ssl.hsts.preload", "true"},
                                 {"referrerPolicy", "origin"},
                                 {"useProxyProtocol", "true"},
                                 {"defaultWhitelist", "10.0.0.0/8,fd00::/8"},
                                 {"logFormat", "$status \"$request\" \\n ${request_time}"},
                                 {"ssl.protocols", "TLSv1 TLSv1.2 TLSv1.3"},
                                 {"ssl.sessionCache", "shared:all:1m"},
                                 {"enableRegexDomains", "true"},
                                 {"gzip.disable", "msie6"},
                                 {"bodySize", "0"},
                                 {"proxyBuffers.enabled", "true"},
                                 {"disableServerTokens", "true"}});
  seen.services = {
      {"foo",
       "foo",
       "foo",
       Time(std::chrono::seconds(1)),
       1,
       under("", {{"domains", "foo,www.foo.com,*.foo.org"},
                  {"certificates", "*.foo.org:wild"},
                  {"regexDomain", "foo-\\d{1,3}"}}),
       {"10.0.0.1:5000", "[fd00::1]:5000"}},
      {"foo",
       "foo-hook",
       "foo",
       Time(std::chrono::seconds(2)),
       2,
       under("", {{"domains", "foo-hook"}, {"proxyDomain", "foo"}, {"proxyLocations", "/hook,~ ^/re/\\d{2}\"$,= /x;"}}),
       {"10.0.0.2:8000"}},
      {"deis",
       "deis-controller",
       "deis-controller",
       Time(std::chrono::seconds(3)),
       3,
       under("", {{"domains", "deis,a.foo.org"},
                  {"connectTimeout", "10"},
                  {"tcpTimeout", "1200"},
                  {"nginx.proxyBuffers.size", "8k"},
                  {"nginx.proxyBuffers.busySize", "32k"},
                  {"referrerPolicy", "none"}}),
       {"10.0.0.3:8000"}},
      {"gone",
       "gone",
       "gone",
       Time(std::chrono::seconds(4)),
       4,
       under("", {{"domains", "gone"}, {"whitelist", "junk"}}),
       {}},
      {"away",
       "away",
       "away",
       Time(std::chrono::seconds(5)),
       5,
       under("", {{"domains", "away"}, {"maintenance", "true"}, {"disableRequestStartHeader", "true"}}),
       {"10.0.0.4:80"}}};
  seen.certificates["foo/wild-cert"].certificate = Certificate{"wild", "", ""};
  seen.certificates["deis/deis-router-platform-cert"].certificate = Certificate{"platform", "", ""};
  seen.builder = ObservedBuilder{{}, {"10.0.0.5:2223"}};
  return seen;
}

Runtime runtime_in(const std::string& folder) {
  return {.folder = folder,
          .http_port = 21510,
          .https_port = 21511,
          .builder_port = 21512,
          .status_port = 21513,
          .workers = 2,
          .access_log = "off",
          .fallback_certificate = "fallback"};
}

// What nginx says to a text; "" when it accepts it.
std::string nginx_says(const Model& model, const Runtime& runtime) {
  const auto pair = make_self_signed_certificate();
  fs::create_directories(runtime.folder + "/table");
  fs::create_directories(runtime.folder + "/certificates");
  fs::create_directories(runtime.folder + "/temporary");
  write_file_atomically(certificate_file(runtime, "fallback"), pair.certificate_pem + pair.key_pem, 0600);
  const auto file = runtime.folder + "/nginx.conf";
  write_file_atomically(file, render(model, runtime));
  const auto tested = run_process({.argv = {"/usr/sbin/nginx", "-p", runtime.folder, "-e", "stderr", "-t", "-c", file},
                                   .out = ProcessSpec::Stream::pipe,
                                   .err = ProcessSpec::Stream::pipe},
                                  std::chrono::seconds(30));
  return tested.status == 0 && !tested.err.contains("[warn]") ? "" : tested.err;
}

TEST(Render, golden_texts) {
  const auto runtime = runtime_in("/state");
  expect_golden("everything", render(build_model(everything()), runtime));
}

TEST(Render, nginx_accepts_every_text) {
  if (!fs::exists("/usr/sbin/nginx")) GTEST_SKIP() << "nginx is not installed";
  const TemporaryFolder folder;
  auto runtime = runtime_in(folder.path().string());
  runtime.router_module = WF_ROUTER_MODULE;
  EXPECT_EQ(nginx_says(build_model({}), runtime), "");
  EXPECT_EQ(nginx_says(build_model(everything()), runtime), "");
  auto seen = everything();
  seen.builder->addresses.clear();
  seen.platform_domain.clear();
  seen.router = under("nginx.", {{"ssl.earlyDataMethods", ""},
                                 {"gzip.enabled", "false"},
                                 {"requestIDs", "false"},
                                 {"http2Enabled", "false"},
                                 {"defaultServiceEnabled", "true"},
                                 {"defaultServiceIP", "10.9.9.9"},
                                 {"proxyBuffers.number", "2"},
                                 {"proxyBuffers.busySize", "4k"},
                                 {"ssl.ciphers", "[AES128-SHA|AES256-SHA]:HIGH"}});
  const auto model = build_model(seen);
  EXPECT_EQ(nginx_says(model, runtime), "");
}

TEST(Render, apps_are_not_in_the_text) {
  const auto runtime = runtime_in("/state");
  auto seen = everything();
  const auto text = render(build_model(seen), runtime);
  seen.services.clear();
  EXPECT_EQ(render(build_model(seen), runtime), text) << "a change of an app may not reload nginx";
}

TEST(Render, a_text_names_its_version) {
  const auto runtime = runtime_in("/state");
  const auto a = render(build_model(everything()), runtime), b = render(build_model({}), runtime);
  EXPECT_EQ(a, render(build_model(everything()), runtime));
  EXPECT_EQ(version_of(a).size(), 16u);
  EXPECT_NE(version_of(a), version_of(b));
  EXPECT_TRUE(a.contains("return 200 " + version_of(a) + ";"));
  EXPECT_EQ(version_of("worker_processes 1;"), "");
}

}  // namespace
}  // namespace workflow::router
