#include "router/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace workflow::router {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using Strings = std::vector<std::string>;

ObservedService service(std::string name, Annotations annotations, int age = 0) {
  Annotations full;
  for (auto& [key, value] : annotations) full.emplace("router.deis.io/" + key, value);
  return {.ns = name,
          .name = name,
          .app = name,
          .created = Time(std::chrono::seconds(1000 - age)),
          .annotations = std::move(full),
          .addresses = {"10.0.0.1:5000"}};
}

Observed cluster(std::vector<ObservedService> services, Annotations router = {}) {
  Observed observed{.ns = "deis", .platform_domain = "example.com", .services = std::move(services)};
  for (auto& [key, value] : router) observed.router.emplace("router.deis.io/nginx." + key, value);
  return observed;
}

// The model with what it did not honour.
struct Built : Model {
  std::vector<Problem> problems;
};
Built build_model(const Observed& observed) {
  const Planner planner(observed);
  return {planner.model(), planner.problems()};
}

const App* find_app(const Model& model, const std::string& label) {
  const auto found = std::ranges::find(model.apps, label, &App::label);
  return found == model.apps.end() ? nullptr : &*found;
}

Strings hosts_of(const Model& model, const std::string& label) {
  Strings names;
  if (const auto* app = find_app(model, label)) {
    for (const auto& host : app->hosts) names.push_back(host.name);
  }
  return names;
}

Strings texts_of(const std::vector<Problem>& problems) {
  Strings out;
  for (const auto& p : problems) out.push_back(p.service + " " + p.key + ": " + p.what);
  return out;
}
Strings problems_of(const Built& model) { return texts_of(model.problems); }

TEST(Model, bare_names_are_completed_by_the_platform_domain) {
  const auto seen = cluster({service("foo", {{"domains", "foo, www.foo.com,*.foo.org,"}})});
  EXPECT_THAT(hosts_of(build_model(seen), "foo"), ElementsAre("foo.example.com", "www.foo.com", "*.foo.org"));
  auto without = seen;
  without.platform_domain.clear();
  EXPECT_THAT(hosts_of(build_model(without), "foo"), ElementsAre("foo.*", "www.foo.com", "*.foo.org"));
  auto other = cluster(seen.services, {{"platformDomain", "other.org"}});
  EXPECT_THAT(hosts_of(build_model(other), "foo"), ElementsAre("foo.other.org", "www.foo.com", "*.foo.org"));
}

TEST(Model, one_bad_name_does_not_cost_the_others) {
  const auto model = build_model(cluster({service("foo", {{"domains", "foo,foo_bar.com,x;y"}})}));
  EXPECT_THAT(hosts_of(model, "foo"), ElementsAre("foo.example.com"));
  EXPECT_THAT(problems_of(model),
              ElementsAre("foo/foo router.deis.io/domains: has an item that is no domain name: foo_bar.com",
                          "foo/foo router.deis.io/domains: has an item that is no domain name: x;y"));
}

TEST(Model, a_name_belongs_to_its_oldest_service) {
  const auto model = build_model(cluster(
      {service("aaa", {{"domains", "aaa,victim.example.com"}}, 1), service("victim", {{"domains", "victim"}}, 9)}));
  EXPECT_THAT(hosts_of(model, "victim"), ElementsAre("victim.example.com"));
  EXPECT_THAT(hosts_of(model, "aaa"), ElementsAre("aaa.example.com"));
  EXPECT_THAT(
      problems_of(model),
      ElementsAre("aaa/aaa router.deis.io/domains: victim.example.com belongs to victim/victim, which is older"));
}

TEST(Model, services_of_the_same_age_are_ordered_by_name) {
  const auto model = build_model(cluster({service("b", {{"domains", "x.com"}}), service("a", {{"domains", "x.com"}})}));
  EXPECT_THAT(hosts_of(model, "a"), ElementsAre("x.com"));
  EXPECT_THAT(hosts_of(model, "b"), IsEmpty());
}

TEST(Model, whitelists_combine_as_their_mode_says_and_never_open_by_mistake) {
  struct Case {
    std::string what, own;
    Annotations router;
    std::optional<Strings> allowed;
  };
  const Case cases[] = {
      {"none", "", {}, {}},
      {"own", "1.2.3.4,::1", {}, Strings{"1.2.3.4/32", "::1/128"}},
      {"default", "", {{"defaultWhitelist", "9.9.9.9"}}, Strings{"9.9.9.9/32"}},
      {"extend", "1.2.3.4", {{"defaultWhitelist", "9.9.9.9"}}, Strings{"1.2.3.4/32", "9.9.9.9/32"}},
      {"override", "1.2.3.4", {{"defaultWhitelist", "9.9.9.9"}, {"whitelistMode", "override"}}, Strings{"1.2.3.4/32"}},
      {"override without own",
       "",
       {{"defaultWhitelist", "9.9.9.9"}, {"whitelistMode", "override"}},
       Strings{"9.9.9.9/32"}},
      {"enforced", "", {{"enforceWhitelists", "True"}}, Strings{}},
      {"junk", "junk", {}, Strings{}},
      {"junk beside good", "junk,1.2.3.4", {}, Strings{"1.2.3.4/32"}},
      {"junk default", "", {{"defaultWhitelist", "junk"}}, Strings{}},
  };
  for (const auto& c : cases) {
    const auto model = build_model(cluster({service("foo", {{"domains", "foo"}, {"whitelist", c.own}})}, c.router));
    EXPECT_EQ(find_app(model, "foo")->whitelist, c.allowed) << c.what;
  }
}

TEST(Model, a_domain_has_the_certificate_that_is_mapped_to_it) {
  auto seen = cluster({service("foo", {{"domains", "foo,www.foo.com,x.foo.com,y.foo.com"},
                                       {"certificates", "www.foo.com:mine,x.foo.com:broken,y.foo.com:absent,"}})});
  seen.certificates["foo/mine-cert"].certificate = Certificate{"1", "c", "k"};
  seen.certificates["foo/broken-cert"].problem = "tls.key does not belong to tls.crt";
  seen.certificates["deis/deis-router-platform-cert"].certificate = Certificate{"2", "c", "k"};
  const auto model = build_model(seen);
  Strings ids;
  for (const auto& host : find_app(model, "foo")->hosts) ids.push_back(host.certificate);
  EXPECT_THAT(ids, ElementsAre("2", "1", "", ""));
  EXPECT_EQ(model.platform_certificate, "2");
  EXPECT_THAT(
      problems_of(model),
      ElementsAre("foo/foo router.deis.io/certificates: the secret broken-cert: tls.key does not belong to tls.crt",
                  "foo/foo router.deis.io/certificates: there is no secret absent-cert of type kubernetes.io/tls"));
}

TEST(Model, a_service_is_plugged_into_the_paths_of_another) {
  const auto model = build_model(
      cluster({service("foo", {{"domains", "foo"}}, 9),
               service("foo-hook",
                       {{"domains", "foo-hook"}, {"proxyDomain", "foo"}, {"proxyLocations", "/hook,~ ^/re/\\d+$"}}, 5),
               service("late", {{"domains", "late"}, {"proxyDomain", "foo"}, {"proxyLocations", "^~ /hook,/,/x\"{"}}),
               service("lost", {{"domains", "lost"}, {"proxyDomain", "nobody"}, {"proxyLocations", "/a"}})}));
  const auto& locations = find_app(model, "foo")->locations;
  ASSERT_EQ(locations.size(), 2u);
  EXPECT_EQ(locations[0].path, (LocationPath{"", "/hook"}));
  EXPECT_EQ(model.backends[locations[0].backend].name, "foo-hook.foo-hook");
  EXPECT_EQ(model.problems.size(), 4u) << testing::PrintToString(problems_of(model));
  EXPECT_THAT(hosts_of(model, "lost"), ElementsAre("lost.example.com"));
}

TEST(Model, regex_domains_need_the_router_to_allow_them) {
  const auto foo = service("foo", {{"domains", "store"}, {"regexDomain", "store-number-\\d*"}});
  EXPECT_THAT(hosts_of(build_model(cluster({foo})), "foo"), ElementsAre("store.example.com"));
  EXPECT_THAT(hosts_of(build_model(cluster({foo}, {{"enableRegexDomains", "true"}})), "foo"),
              ElementsAre("store.example.com", "^(?:store-number-\\d*)\\.(.+)$"));
  const auto evil = service("foo", {{"domains", "store"}, {"regexDomain", "store(a+)+"}});
  const auto model = build_model(cluster({evil}, {{"enableRegexDomains", "true"}}));
  EXPECT_THAT(hosts_of(model, "foo"), ElementsAre("store.example.com"));
  EXPECT_EQ(model.problems.size(), 1u);
}

TEST(Model, bad_values_keep_their_defaults_and_are_told) {
  const Annotations bad{
      {"workerProcesses", "0"},         {"maxWorkerConnections", "x"},   {"defaultTimeout", "10x"},
      {"gzip.enabled", "yes"},          {"gzip.compLevel", "10"},        {"gzip.disable", "("},
      {"gzip.httpVersion", "2"},        {"gzip.minLength", "-1"},        {"gzip.proxied", "some"},
      {"gzip.types", "text"},           {"gzip.vary", "true"},           {"bodySize", "1g"},
      {"largeHeaderBuffersCount", "0"}, {"largeHeaderBuffersSize", "0"}, {"proxyRealIpCidrs", "10/8"},
      {"errorLogLevel", "loud"},        {"platformDomain", "a b"},       {"useProxyProtocol", "on"},
      {"disableServerTokens", "1"},     {"enforceWhitelists", "1"},      {"whitelistMode", "x"},
      {"enableRegexDomains", "1"},      {"defaultServiceEnabled", "1"},  {"requestIDs", "1"},
      {"requestStartHeader", "1"},      {"http2Enabled", "1"},           {"logFormat", "$no_such"},
      {"proxyBuffers.number", "1"},     {"referrerPolicy", "x"},         {"ssl.enforce", "1"},
      {"ssl.protocols", "TLSv9"},       {"ssl.ciphers", "x y"},          {"ssl.sessionCache", "shared:x:16k"},
      {"ssl.sessionTimeout", "0"},      {"ssl.useSessionTickets", "1"},  {"ssl.bufferSize", "x"},
      {"ssl.hsts.enabled", "1"},        {"ssl.hsts.maxAge", "0"},        {"ssl.hsts.includeSubDomains", "1"},
      {"ssl.hsts.preload", "1"},        {"ssl.earlyDataMethods", "get"}};
  const auto plain = build_model(cluster({}));
  for (const auto& [key, value] : bad) {
    const auto model = build_model(cluster({}, {{key, value}}));
    EXPECT_EQ(model.problems.size(), 1u) << key << testing::PrintToString(problems_of(model));
    EXPECT_EQ(model.problems.empty() ? "" : model.problems[0].service, "deis/deis-router");
    EXPECT_EQ(model.settings.buffers, plain.settings.buffers) << key;
    EXPECT_EQ(model.settings.default_timeout, plain.settings.default_timeout) << key;
    EXPECT_EQ(model.settings.platform_domain, "example.com") << key;
  }
}

TEST(Model, hsts_implies_enforcement_and_annotations_of_an_app_are_its_own) {
  const auto model =
      build_model(cluster({service("a", {{"domains", "a"}, {"tcpTimeout", "1200"}, {"maintenance", "True"}}, 2),
                           service("b", {{"domains", "b"}, {"ssl.enforce", "True"}}, 1)}));
  EXPECT_EQ(model.backends[0].io_timeout, std::chrono::seconds(1200));
  EXPECT_TRUE(model.backends[0].maintenance);
  EXPECT_FALSE(model.backends[0].enforce_tls);
  EXPECT_FALSE(model.backends[1].maintenance);
  EXPECT_TRUE(model.backends[1].enforce_tls);
  EXPECT_EQ(model.backends[1].io_timeout, std::chrono::seconds(1300));
  EXPECT_TRUE(build_model(cluster({service("a", {})}, {{"ssl.hsts.enabled", "true"}})).backends[0].enforce_tls);
}

TEST(Model, labels_in_logs_name_the_namespace_only_where_it_differs) {
  auto controller = service("deis-controller", {{"domains", "deis"}});
  controller.ns = "deis";
  controller.app = "deis-controller";
  EXPECT_NE(find_app(build_model(cluster({controller})), "deis/deis-controller"), nullptr);
}

// What requests meet, whatever places services have.
std::map<std::string, std::string> shown(const Model& model) {
  std::map<std::string, std::string> all;
  for (std::size_t place = 0; place < model.backends.size(); ++place) {
    const auto& backend = model.backends[place];
    if (backend.name.empty()) continue;
    const auto& app = model.apps[place];
    std::string text;
    for (const auto& address : backend.addresses) text += address + " ";
    text += std::to_string(backend.maintenance) + app.canonical_host + " " + std::to_string(app.body_size);
    for (const auto& host : app.hosts) text += "\nhost " + host.name + " " + host.certificate;
    for (const auto& l : app.locations)
      text += "\npath " + l.path.modifier + l.path.path + " " + model.backends[l.backend].name;
    for (const auto& user : app.users.value_or(Strings{"everybody"})) text += "\nuser " + user;
    for (const auto& [name, html] : app.pages) text += "\npage " + name + html;
    all.emplace(backend.name, text);
  }
  return all;
}

// Few names, so that services take them from each other all the time.
TEST(Model, a_model_that_is_kept_current_is_the_one_that_would_be_made_anew) {
  std::mt19937 random(7);
  const auto any = [&](std::size_t below) { return random() % below; };
  Observed now{.ns = "deis", .platform_domain = "example.com"};
  std::map<std::string, ObservedService> services;
  const auto all = [&] {
    auto observed = now;
    for (const auto& [name, service] : services) observed.services.push_back(service);
    return observed;
  };
  Planner planner(all());
  std::size_t updates = 0;
  for (int round = 0; round < 600; ++round) {
    Changes changes;
    for (auto count = 1 + any(3); count > 0; --count) {
      const auto name = "s" + std::to_string(any(12)), key = name + "/" + name;
      if (any(5) == 0) {
        services.erase(key);
        changes.services[key] = std::nullopt;
        continue;
      }
      Annotations annotations{{"domains", "d" + std::to_string(any(6)) + ",www.d" + std::to_string(any(6)) + ".com"}};
      if (any(2) == 0) annotations["certificates"] = "www.d" + std::to_string(any(6)) + ".com:c";
      if (any(4) == 0) annotations["proxyDomain"] = "d" + std::to_string(any(6));
      if (any(4) == 0) annotations["proxyLocations"] = "/p" + std::to_string(any(3)) + ",/q";
      if (any(4) == 0) annotations["maintenance"] = "true";
      if (any(4) == 0) annotations["nginx.canonicalHost"] = "www.d" + std::to_string(any(6)) + ".com";
      if (any(4) == 0) annotations["nginx.basicAuth"] = "users";
      if (any(4) == 0) annotations["nginx.errorPages"] = "pages";
      const auto known = services.find(key);
      auto next = service(name, annotations, static_cast<int>(any(4)));
      if (known != services.end() && any(2) == 0) next.created = known->second.created;
      services.insert_or_assign(key, next);
      changes.services[key] = next;
    }
    const auto other = "s" + std::to_string(any(12));
    if (any(3) == 0) {
      auto& certificate = changes.certificates[other + "/c-cert"];
      if (any(2) == 0) certificate = ObservedSecret{.certificate = Certificate{std::to_string(any(99)), "c", "k"}};
      if (certificate)
        now.certificates.insert_or_assign(other + "/c-cert", *certificate);
      else
        now.certificates.erase(other + "/c-cert");
    }
    if (any(3) == 0) {
      auto& credential = changes.credentials[other + "/users"];
      if (any(2) == 0) credential = "me:" + std::to_string(any(99));
      if (credential)
        now.credentials.insert_or_assign(other + "/users", *credential);
      else
        now.credentials.erase(other + "/users");
    }
    if (any(3) == 0) {
      auto& pages = changes.pages[other + "/pages"];
      if (any(2) == 0) pages = Pages{{"503", std::to_string(any(99))}};
      if (pages)
        now.pages.insert_or_assign(other + "/pages", *pages);
      else
        now.pages.erase(other + "/pages");
    }
    const auto before = shown(planner.model());
    const auto touched = planner.update(changes);
    ASSERT_TRUE(touched);
    ++updates;
    const Planner anew(all());
    const auto after = shown(planner.model());
    ASSERT_EQ(after, shown(anew.model())) << "round " << round;
    ASSERT_EQ(texts_of(planner.problems()), texts_of(anew.problems())) << "round " << round;
    // Whatever is other than before is told to be touched.
    for (std::size_t place = 0; place < planner.model().backends.size(); ++place) {
      const auto& name = planner.model().backends[place].name;
      if (name.empty() || touched->places.contains(place)) continue;
      ASSERT_TRUE(before.contains(name) && before.at(name) == after.at(name)) << name << " in round " << round;
    }
    std::set<std::string> used, kept;
    for (const auto& app : planner.model().apps) {
      for (const auto& host : app.hosts) used.insert(host.certificate);
    }
    for (const auto& [id, certificate] : planner.model().certificates) kept.insert(id);
    used.erase("");
    ASSERT_EQ(kept, used) << "round " << round;
  }
  EXPECT_EQ(updates, 600u);
}

TEST(Model, what_concerns_all_is_made_anew) {
  auto seen =
      cluster({service("foo", {{"domains", "foo"}, {"regexDomain", "foo-\\d"}})}, {{"enableRegexDomains", "true"}});
  Planner planner(seen);
  Changes regex;
  regex.services["foo/foo"] = seen.services[0];
  EXPECT_FALSE(planner.update(regex)) << "expressions are tried in order of age";
  Planner other(seen);
  Changes platform;
  platform.certificates["deis/deis-router-platform-cert"] = ObservedSecret{};
  EXPECT_FALSE(other.update(platform));
}

TEST(Model, access_fails_closed) {
  auto seen = cluster({service("foo", {{"domains", "foo"}, {"nginx.basicAuth", "users,others"}})});
  EXPECT_EQ(find_app(build_model(seen), "foo")->users, Strings{});
  seen.credentials = {{"foo/users", "me:secret"}, {"bar/others", "x:y"}};
  const auto model = build_model(seen);
  EXPECT_EQ(find_app(model, "foo")->users, Strings{"me:secret"});
  EXPECT_THAT(problems_of(model),
              ElementsAre("foo/foo router.deis.io/nginx.basicAuth: there is no secret others of type "
                          "kubernetes.io/basic-auth"));
}

TEST(Model, bad_values_of_an_app_cost_nothing_but_themselves) {
  const Annotations bad{{"nginx.bodySize", "1g"},       {"nginx.rateLimit", "0"},     {"nginx.rateBurst", "x"},
                        {"nginx.canary", "a.b"},        {"nginx.canary", "foo"},      {"nginx.canonicalHost", "x.org"},
                        {"nginx.errorPages", "a/b"},    {"ssl.hsts.maxAge", "never"}, {"nginx.basicAuth", "a/b"},
                        {"nginx.sessionAffinity", "1"}, {"nginx.slowStart", "soon"}};
  for (const auto& [key, value] : bad) {
    const auto model = build_model(cluster({service("foo", {{"domains", "foo"}, {key, value}})}));
    EXPECT_EQ(model.problems.size(), 1u) << key << testing::PrintToString(problems_of(model));
    EXPECT_THAT(hosts_of(model, "foo"), ElementsAre("foo.example.com")) << key;
  }
}

}  // namespace
}  // namespace workflow::router
