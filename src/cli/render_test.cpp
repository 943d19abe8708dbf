#include "cli/render.h"

#include <gtest/gtest.h>

#include "cli/dispatch.h"
#include "cli/help.h"
#include "lib/base/golden.h"

namespace workflow::cli {
namespace {

json::value parsed(std::string_view text) { return *parse_json(text); }
Page page(std::string_view results, std::int64_t count) { return {parsed(results).get_array(), count}; }

TEST(Render, shows_an_app) {
  const auto app = parsed(R"({"uuid":"10467140-43db-4d9f-b2ae-6d0ba3d2d1b7","id":"paper-lantern","owner":"maya",
                              "created":"2021-01-01T00:00:00Z","updated":"2021-03-04T05:06:07Z","structure":{}})");
  EXPECT_EQ(render_app(app, app_url("paper-lantern", "http://deis.apps.example.net")),
            "=== paper-lantern Application\n"
            "updated:  2021-03-04T05:06:07Z\n"
            "uuid:     10467140-43db-4d9f-b2ae-6d0ba3d2d1b7\n"
            "created:  2021-01-01T00:00:00Z\n"
            "url:      paper-lantern.apps.example.net\n"
            "owner:    maya\n"
            "id:       paper-lantern\n");
  EXPECT_EQ(app_url("paper-lantern", "http://deis.apps.example.net:8080"), "paper-lantern.apps.example.net:8080");
  EXPECT_EQ(app_url("www.example.com", "http://deis.apps.example.net"), "www.example.com");
}

TEST(Render, notes_how_many_of_all_are_shown) {
  EXPECT_EQ(render_apps(page(R"([{"id":"a"},{"id":"b"}])", 3)), "=== Apps (2 of 3)\na\nb\n");
  EXPECT_EQ(render_apps(page("[]", 0)), "=== Apps\n");
  EXPECT_EQ(render_domains("shop", page(R"([{"domain":"shop"},{"domain":"www.example.com"}])", 2)),
            "=== shop Domains\nshop\nwww.example.com\n");
}

TEST(Render, sorts_processes_by_type_and_name) {
  const auto pods = parsed(R"([{"name":"s-worker-84b5c9f66-h2v9s","type":"worker","state":"up","release":"v2"},
                               {"name":"s-web-6c9f7d5b8-x4k2p","type":"web","state":"up","release":"v2"},
                               {"name":"s-web-6c9f7d5b8-m7c1d","type":"web","state":"starting","release":"v2"}])");
  EXPECT_EQ(render_processes("s", pods.get_array()),
            "=== s Processes\n--- web:\ns-web-6c9f7d5b8-m7c1d starting (v2)\ns-web-6c9f7d5b8-x4k2p up (v2)\n"
            "--- worker:\ns-worker-84b5c9f66-h2v9s up (v2)\n");
}

TEST(Render, aligns_config) {
  const auto config = parsed(R"({"values":{"LONG_SETTING_NAME":"two words","GREETING":"hello"}})");
  EXPECT_EQ(render_config("paper-lantern", config),
            "=== paper-lantern Config\nGREETING               hello\nLONG_SETTING_NAME      two words\n");
  EXPECT_EQ(render_config("x", parsed("{}")), "=== x Config\n");
}

TEST(Render, shows_limits) {
  EXPECT_EQ(render_limits("paper-lantern", parsed(R"({"memory":{"worker":"1G","web":"512M"},"cpu":{}})")),
            "=== paper-lantern Limits\n\n--- Memory\nweb        512M\nworker     1G\n\n--- CPU\nUnlimited\n");
}

TEST(Render, masks_the_registrys_password) {
  const auto config = parsed(R"({"registry":{"username":"bob","password":"s3cret"}})");
  EXPECT_EQ(render_registry("x", config, Password::hidden),
            "=== x Registry\npassword     ********\nusername     bob\n");
  EXPECT_EQ(render_registry("x", config, Password::shown), "=== x Registry\npassword     s3cret\nusername     bob\n");
}

TEST(Render, shows_what_belongs_to_an_app) {
  EXPECT_EQ(render_labels("p", parsed(R"({"label":{"team":"blue","git_repo":"https://git.example.com/paper"}})")),
            "=== p Label\ngit_repo:      https://git.example.com/paper\nteam:          blue\n");
  EXPECT_EQ(render_labels("p", parsed(R"({"label":{}})")), "=== p Label\nNo labels found.\n");
  EXPECT_EQ(render_autoscale("p", parsed(R"({"autoscale":{"web":{"min":2,"max":5,"cpu_percent":70}}})")),
            "=== p Autoscale\n\n--- web:\nMin Replicas: 2\nMax Replicas: 5\nCPU: 70%\n");
  EXPECT_EQ(render_autoscale("p", parsed(R"({"autoscale":{}})")), "=== p Autoscale\n\nNo autoscale rules found.\n");
  EXPECT_EQ(render_tags("p", parsed(R"({"tags":{"rack":"1"}})")), "=== p Tags\nrack     1\n");
  EXPECT_EQ(render_timeouts("p", parsed(R"({"termination_grace_period":{"web":"30"}})")),
            "=== p Timeouts (sec)\nweb     30\n");
  EXPECT_EQ(
      render_timeouts("p", parsed("{}")),
      "=== p Timeouts (sec)\ndefault (30 sec) or controlled by env KUBERNETES_POD_TERMINATION_GRACE_PERIOD_SECONDS\n");
  EXPECT_EQ(render_services("p", parsed(R"({"services":[{"procfile_type":"hooks","path_pattern":"/hooks"}]})")),
            "=== p Services\nhooks     /hooks\n");
  EXPECT_EQ(render_whitelist("p", parsed(R"({"addresses":["1.2.3.4","10.0.0.0/8"]})")),
            "=== p Whitelisted Addresses\n1.2.3.4\n10.0.0.0/8\n");
  EXPECT_EQ(render_tls("p", parsed(R"({"https_enforced":true})")), "=== p TLS\nHTTPS Enforced: true\n");
  EXPECT_EQ(render_tls("p", parsed(R"({"https_enforced":null})")), "=== p TLS\nHTTPS Enforced: not set\n");
  EXPECT_EQ(render_tls("p", parsed(R"({"https_enforced":false,"certs_auto_enabled":true})")),
            "=== p TLS\nHTTPS Enforced: false\nCertificates Auto: true\n");
}

TEST(Render, shows_releases) {
  EXPECT_EQ(
      render_releases("p", page(R"([{"version":2,"created":"2021-03-04T04:58:31Z","summary":"maya deployed d3ccc05"},
                                          {"version":1,"created":"2021-03-04T04:50:00Z","summary":"maya created initial release"}])",
                                2)),
      "=== p Releases\nv2\t2021-03-04T04:58:31Z\tmaya deployed d3ccc05\nv1\t2021-03-04T04:50:00Z\tmaya created initial "
      "release\n");
  EXPECT_EQ(
      render_release("p",
                     parsed(R"({"version":2,"build":null,"config":"c039","owner":"maya","created":"C","summary":"S",
                                           "updated":"U","uuid":"de1b"})")),
      "=== p Release v2\nconfig:   c039\nowner:    maya\ncreated:  C\nsummary:  S\nupdated:  U\nuuid:     de1b\n");
  EXPECT_EQ(render_builds("p", page(R"([{"uuid":"u","created":"c"}])", 9)), "=== p Builds (1 of 9)\nu c\n");
}

TEST(Render, shows_keys_and_users) {
  EXPECT_EQ(
      render_keys("maya", page(R"([{"id":"maya@laptop","public":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI maya@laptop\n"},
                                         {"id":"ci","public":"ssh-rsa short"}])",
                               2)),
      "=== maya Keys\nmaya@laptop ssh-ed25519 AAAA...aya@laptop\nci          ssh-rsa short\n");
  EXPECT_EQ(
      render_users(page(R"([{"username":"maya","is_superuser":true},{"username":"sam","is_superuser":false}])", 2)),
      "=== Users (*=admin)\n*maya\nsam\n");
  EXPECT_EQ(render_app_users("p", parsed(R"({"users":["sam"]})")), "=== p's Users\nsam\n");
  EXPECT_EQ(render_administrators(page(R"([{"username":"maya","is_superuser":true}])", 1)),
            "=== Administrators\nmaya\n");
  const auto account = render_account(parsed(
      R"({"email":"bob@example.com","username":"bob","first_name":"","last_name":"","is_superuser":false,"is_staff":false,
          "last_login":"2026-01-02T03:04:05Z","date_joined":"2026-01-02T03:04:05Z","is_active":true})"));
  EXPECT_EQ(
      account,
      "ID: 0\nUsername: bob\nEmail: bob@example.com\nFirst Name: \nLast Name: \nLast Login: 2026-01-02T03:04:05Z\n"
      "Is Superuser: false\nIs Staff: false\nIs Active: true\nDate Joined: 2026-01-02T03:04:05Z\n");
}

TEST(Render, shows_healthchecks) {
  const auto config =
      parsed(R"({"healthcheck":{"web/cmd":{"livenessProbe":{"initialDelaySeconds":50,"timeoutSeconds":50,
    "periodSeconds":10,"successThreshold":1,"failureThreshold":3,"httpGet":{"path":"/","port":80,
    "httpHeaders":[{"name":"X-A","value":"1"},{"name":"X-B","value":"2"}]}}}}})");
  const std::string text =
      "=== p Healthchecks\n\nweb/cmd:\n--- Liveness\nInitial Delay (seconds): 50\nTimeout (seconds): 50\nPeriod "
      "(seconds): 10\n"
      "Success Threshold: 1\nFailure Threshold: 3\nExec Probe: N/A\nHTTP GET Probe: Path=\"/\" Port=80 "
      "HTTPHeaders=[X-A=1 X-B=2]\n"
      "TCP Socket Probe: N/A\n\n--- Readiness\nNo readiness probe configured.\n";
  EXPECT_EQ(render_healthchecks("p", config, std::nullopt), text);
  EXPECT_EQ(render_healthchecks("p", config, "web/cmd"), text);
  EXPECT_EQ(render_healthchecks("p", config, "cmd"),
            "=== p Healthchecks\n\ncmd:\n--- Liveness\nNo liveness probe configured.\n\n--- Readiness\nNo readiness "
            "probe configured.\n");
  EXPECT_EQ(render_healthchecks("p", parsed("{}"), std::nullopt), "=== p Healthchecks\nNo health checks configured.\n");
  const auto bare = render_healthchecks(
      "p",
      parsed(
          R"({"healthcheck":{"web":{"livenessProbe":{"httpGet":{"path":"/"}},"readinessProbe":{"tcpSocket":{"port":0}}}}})"),
      std::nullopt);
  EXPECT_NE(bare.find("HTTP GET Probe: Path=\"/\" Port=0 HTTPHeaders=[]\n"), std::string::npos) << bare;
  EXPECT_NE(bare.find("TCP Socket Probe: Port=0\n"), std::string::npos) << bare;
  EXPECT_NE(bare.find("Initial Delay (seconds): 0\n"), std::string::npos) << bare;
}

TEST(Render, draws_the_table_of_certificates) {
  const auto certificates = parsed(R"([
    {"name":"example-com","common_name":"example.com","san":["blog.example.com"],"expires":"2031-01-14T23:57:57",
     "fingerprint":"7A:CA:B8:50:FF:8D:EB:03:3D:AC","domains":["example.com"],"updated":"2021-03-04T05:06:07Z",
     "created":"2016-06-09T00:00:00UTC"},
    {"name":"old","common_name":"*.old.example.org with a very long subject name here","san":[],
     "expires":"2015-01-01T00:00:00Z","fingerprint":"","domains":[],"updated":"2021-03-04T05:06:07Z",
     "created":"2021-03-04T05:06:07Z"}])");
  const auto now = *parse_rfc3339("2025-12-01T00:00:00Z");
  expect_golden("certificates", render_certificates(certificates.get_array(), now));
  EXPECT_EQ(render_certificates({}, now), "No certs\n");
}

TEST(Render, counts_down_to_a_certificates_end) {
  const std::pair<std::string, std::string> cases[] = {
      {"2026-01-01T00:00:00Z", "(in 1 day)"},  {"2026-03-02T00:00:00Z", "(in 2 months)"},
      {"2027-01-01T00:00:00Z", "(in 1 year)"}, {"2025-12-31T23:00:00Z", "(in)"},
      {"2025-12-31T10:00:00Z", "(expired)"},
  };
  for (const auto& [expires, note] : cases) {
    const json::array one = {{{"name", "x"}, {"expires", expires}}};
    EXPECT_NE(render_certificates(one, *parse_rfc3339("2025-12-31T12:00:00Z")).find(note), std::string::npos)
        << expires;
  }
}

TEST(Render, shows_a_certificate) {
  const auto certificate = parsed(R"({"name":"example-com","common_name":"example.com","san":["blog.example.com"],
    "expires":"2031-01-14T23:57:57","starts":"2016-01-15T23:55:59Z","fingerprint":"7A:CA:B8:50:FF:8D:EB:03:3D:AC",
    "issuer":"/C=US/CN=CA","subject":"/CN=example.com","domains":["example.com"],"owner":"maya",
    "created":"2016-06-09T00:00:00UTC","updated":"2021-03-04T05:06:07Z"})");
  EXPECT_EQ(render_certificate(certificate),
            "=== example-com Certificate\n"
            "Common Name(s):     example.com\n"
            "Expires At:         14 Jan 2031\n"
            "Starts At:          15 Jan 2016\n"
            "Fingerprint:        7A:CA:B8:50:FF:8D:EB:03:3D:AC\n"
            "Subject Alt Name:   blog.example.com\n"
            "Issuer:             /C=US/CN=CA\n"
            "Subject:            /CN=example.com\n"
            "\n"
            "Connected Domains:  example.com\n"
            "Owner:              maya\n"
            "Created:            9 Jun 2016\n"
            "Updated:            4 Mar 2021\n");
}

TEST(Render, colours_each_line_of_a_log_by_its_source) {
  const auto log = render_coloured_log("t shop[web.a]: one\nt shop[web.b]: two\nt shop[web.a]: three\n");
  EXPECT_EQ(std::ranges::count(log, '\n'), 3);
  EXPECT_EQ(log.substr(0, 5), log.substr(log.rfind("\x1b[3", log.size() - 6), 5));
}

}  // namespace
}  // namespace workflow::cli
