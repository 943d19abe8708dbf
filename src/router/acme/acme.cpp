#include "router/acme/acme.h"

#include <algorithm>
#include <random>

#include "lib/async/process.h"
#include "lib/base/certificate.h"
#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::router::acme {
namespace {

using namespace std::chrono_literals;
namespace resources = kube::resources;

constexpr auto account_secret = "deis-router-acme", challenge_map = "deis-router-acme", lease_name = "deis-router-acme";
constexpr auto acme_label = "router.deis.io/acme", domain_annotation = "router.deis.io/domain";
constexpr std::size_t orders_at_once = 4;
constexpr auto validation_limit = 5min, issue_limit = 5min, order_limit = 15min;
constexpr auto served_limit = 20s;
constexpr auto hook_limit = 5min;
constexpr std::size_t most_routers = 64;

Time now() { return std::chrono::system_clock::now(); }

double chance() {
  static std::minstd_rand engine{std::random_device{}()};
  return std::uniform_real_distribution<>(0, 1)(engine);
}

bool is_wildcard(const std::string& domain) { return domain.starts_with("*."); }

bool may_prove(const std::string& domain, const std::string& challenge) {
  return challenge == "dns-01" || !is_wildcard(domain);
}

std::string words_of(const std::optional<Problem>& problem, std::string otherwise) {
  return problem && !problem->detail.empty() ? "the certificate authority says: " + problem->detail
                                             : std::move(otherwise);
}

std::string value_in(const json::object& secret, const std::string& key) {
  auto values = kube::secret_values(secret);
  const auto found = values.find(key);
  return found == values.end() ? "" : std::move(found->second);
}

}  // namespace

Config Config::from(Env& env) {
  Config config;
  config.directory = env.text("ROUTER_ACME_DIRECTORY", "");
  const auto url = http::Url::parse(config.directory);
  if (config.enabled() && (!url || url->scheme != "https"))
    env.problem("ROUTER_ACME_DIRECTORY", "must be the https URL of an ACME directory");
  config.contact = env.text("ROUTER_ACME_CONTACT", "");
  if (!config.contact.empty() && !config.contact.contains('@'))
    env.problem("ROUTER_ACME_CONTACT", "must be a mail address");
  config.ca_file = env.text("ROUTER_ACME_CA_FILE", "");
  config.bound_key_id = env.text("ROUTER_ACME_EAB_KEY_ID", "");
  if (!config.bound_key_id.empty()) {
    config.bound_key = env.secret_or_file("ROUTER_ACME_EAB_KEY");
    if (!from_base64url(config.bound_key.reveal())) env.problem("ROUTER_ACME_EAB_KEY", "must be base64url");
  }
  config.dns_hook = env.text("ROUTER_ACME_DNS_HOOK", "");
  const auto challenges = env.text("ROUTER_ACME_CHALLENGES",
                                   config.dns_hook.empty() ? "http-01,tls-alpn-01" : "http-01,tls-alpn-01,dns-01");
  for (const auto& item : split(challenges, ',')) {
    const std::string name(trim(item));
    if (name != "http-01" && name != "tls-alpn-01" && name != "dns-01")
      env.problem("ROUTER_ACME_CHALLENGES", "must consist of http-01, tls-alpn-01 and dns-01, between commas");
    if (name == "dns-01" && config.dns_hook.empty())
      env.problem("ROUTER_ACME_CHALLENGES", "dns-01 needs ROUTER_ACME_DNS_HOOK");
    config.challenges.push_back(name);
  }
  return config;
}

// An order and what is known of it.
struct Acme::Job {
  std::string domain;
  std::shared_ptr<Authority> authority;
  Attempts attempts;
};

Acme::Acme(Parts parts, Config config)
    : parts_(std::move(parts)),
      config_(std::move(config)),
      changed_(parts_.client.executor()),
      secrets_(parts_.client, resources::secrets, parts_.ns, {.label_selector = acme_label},
               {.added = [this](const auto&) { changed_.notify_all(); },
                .modified = [this](const auto&, const auto&) { changed_.notify_all(); },
                .deleted = [this](const auto&) { changed_.notify_all(); }}),
      lease_(parts_.client, parts_.ns, lease_name),
      routers_(parts_.client.executor(), {.connect_timeout = 2s}) {}

Acme::~Acme() = default;

void Acme::want(Domains domains) {
  if (domains == wanted_) return;
  wanted_ = std::move(domains);
  changed_.notify_all();
}

Task<> Acme::watch() { return secrets_.run(); }

Acme::Known Acme::known(const std::string& domain) const {
  Known known;
  if (const auto order = secrets_.find(parts_.ns, secret_name(domain) + "-order")) {
    if (const auto value = parse_json(value_in(*order, "attempts"))) known.attempts = attempts_from_json(*value);
  }
  known.certificate = certificate_of(domain);
  return known;
}

std::optional<Validity> Acme::certificate_of(const std::string& domain) const {
  auto secret = secrets_.find(parts_.ns, secret_name(domain));
  if (!secret) return std::nullopt;
  auto& read = read_[domain];
  if (read.secret != secret) {
    const auto issued = check_issued(value_in(*secret, "tls.crt"), {domain, value_in(*secret, "tls.key"), now()});
    read = {std::move(secret), issued ? std::optional(Validity{issued->starts, issued->expires}) : std::nullopt};
  }
  return read.validity;
}

Time Acme::next(const std::string& domain, Time time) const {
  const auto what = known(domain);
  return next_attempt(what.attempts, what.certificate, time);
}

std::size_t Acme::waiting() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(wanted_, [&](const auto& entry) { return !known(entry.first).certificate; }));
}

std::vector<std::string> Acme::due(Time time) const {
  std::vector<std::string> due;
  for (const auto& [domain, service] : wanted_) {
    if (next(domain, time) <= time) due.push_back(domain);
  }
  return due;
}

// Without anything due nobody has the lease, and nothing is asked of anybody.
Task<> Acme::run() {
  co_await secrets_.wait_synced();
  for (;;) {
    const auto seen = changed_.version();
    const auto time = now();
    std::chrono::nanoseconds wait = 1h;
    for (const auto& [domain, service] : wanted_) {
      wait = std::min<std::chrono::nanoseconds>(wait, next(domain, time) - time);
    }
    if (wait <= 0s) {
      co_await lease_.hold([this] { return work(); });
      continue;
    }
    try {
      co_await with_deadline(wait, "something is due", changed_.wait(seen));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timeout) throw;
    }
  }
}

// Until nothing is due. Of one app at most one order is under way: whoever has a thousand names waits for himself.
Task<> Acme::work() {
  std::string problem;
  try {
    co_await clear_challenges();
    co_await open_authority();
  } catch (const Error& error) {
    problem = error.message();
  }
  if (!problem.empty()) {
    for (const auto& domain : due(now()))
      parts_.report(wanted_.at(domain), "no certificate for " + domain + ": " + problem);
    throw Error(ErrorKind::unavailable, std::move(problem));
  }
  TaskGroup orders(parts_.client.executor());
  auto all = [&]() -> Task<> {
    for (;;) {
      const auto seen = changed_.version();
      if (!authority_) co_await open_authority();
      for (const auto& domain : due(now())) {
        const auto service = wanted_.at(domain);
        if (busy_.size() >= orders_at_once || busy_.contains(service)) continue;
        busy_.insert(service);
        orders.spawn("certificate for " + domain, obtain(domain, service));
      }
      if (busy_.empty()) break;
      co_await changed_.wait(seen);
    }
    co_await forget();
  };
  auto stop = [&]() -> Task<> {
    co_await orders.stop();
    busy_.clear();
  };
  co_await with_cleanup(all(), stop);
}

Task<> Acme::open_authority() {
  if (!authority_) {
    auto secret = co_await parts_.client.find(resources::secrets, parts_.ns, account_secret);
    if (!secret) {
      // Written down before anybody hears of it.
      auto fresh = kube::make_secret(parts_.ns, account_secret, {}, {{"account.key", make_key_pem()}});
      secret = co_await parts_.client.create(resources::secrets, parts_.ns, std::move(fresh));
    }
    Account account{.directory = config_.directory,
                    .contact = config_.contact,
                    .bound_key_id = config_.bound_key_id,
                    .bound_key = config_.bound_key,
                    .ca_pem = std::nullopt};
    if (!config_.ca_file.empty())
      account.ca_pem = co_await offload([file = config_.ca_file] { return read_file(file); });
    authority_ =
        std::make_unique<Authority>(parts_.client.executor(), std::move(account), value_in(*secret, "account.key"));
  }
  try {
    co_await authority_->open_account();
  } catch (const Error&) {
    authority_.reset();
    throw;
  }
}

// What an earlier holder of the lease left is not answered any more.
Task<> Acme::clear_challenges() {
  if (auto before = co_await parts_.client.find(resources::config_maps, parts_.ns, challenge_map)) {
    if (before->erase("data") == 0) co_return;
    co_await parts_.client.replace(resources::config_maps, parts_.ns, challenge_map, std::move(*before));
  } else {
    auto map = kube::make_object(resources::config_maps, parts_.ns, challenge_map);
    co_await parts_.client.create(resources::config_maps, parts_.ns, std::move(map));
  }
}

// --- one name

// Never fails but by cancellation: what goes wrong is written down, and the name's turn comes again.
Task<> Acme::obtain(std::string domain, std::string service) {
  Job job{domain, authority_, {}};
  std::optional<Failure> failure;
  std::chrono::nanoseconds pause = 0s;
  bool account_lost = false;  // it is made anew, and the order with it
  try {
    job.attempts = co_await load(domain);
    if (next_attempt(job.attempts, certificate_of(domain), now()) <= now())
      co_await with_deadline(order_limit, "the order took too long", advance(job));
    else
      pause = 100ms;  // another router has just done it, and we have not heard of it yet
  } catch (const Error& error) {
    failure = Failure{error.message(), chance()};
    // An order that the authority has given up, or does not know, is never asked for again; any other is gone on with.
    if (error.kind() == ErrorKind::unprocessable || error.kind() == ErrorKind::not_found) job.attempts.order.clear();
    account_lost = error.kind() == ErrorKind::forbidden;
    if (account_lost) {
      if (authority_ == job.authority) authority_.reset();
      job.attempts.order.clear();
    }
  } catch (...) {
    if (is_cancelled(std::current_exception())) throw;
    failure = Failure{describe(std::current_exception()), chance()};
  }
  if (failure) {
    log::warn("no certificate", kv("domain", domain), kv("problem", failure->problem));
    parts_.report(service, "no certificate for " + domain + ": " + failure->problem);
    try {
      const bool at_once = account_lost && job.attempts.failures == 0;
      auto after = after_failure(std::move(job.attempts), std::move(*failure), now());
      if (at_once) after.not_before = now();
      co_await store(domain, after);
    } catch (const Error& error) {
      log::warn("the attempt could not be written down", kv("domain", domain), kv("error", error.message()));
      pause = 5s;
    }
  }
  co_await sleep_for(pause);
  busy_.erase(service);
  changed_.notify_all();
}

Task<> Acme::advance(Job& job) {
  auto& attempts = job.attempts;
  const bool has_way =
      std::ranges::any_of(config_.challenges, [&](const auto& name) { return may_prove(job.domain, name); });
  if (!has_way)  // found out before it costs an order
    throw Error(ErrorKind::unprocessable, "a wildcard needs dns-01, which the operator has not set up");
  if (attempts.order.empty()) {
    attempts = begin_order(std::move(attempts), make_key_pem(), now());
    co_await store(job.domain, attempts);  // with the key, and counted, before the authority is asked
    auto begun = co_await job.authority->begin_order(job.domain);
    attempts.order = begun.url;
    co_await store(job.domain, attempts);
    log::info("certificate ordered", kv("domain", job.domain));
  }
  const auto deadline = std::chrono::steady_clock::now() + issue_limit;
  bool finalized = false;
  for (;;) {
    const auto order = co_await job.authority->order(attempts.order);
    if (order.status == "valid") {
      if (order.certificate.empty()) throw Error(ErrorKind::unprocessable, "the order has no certificate");
      co_return co_await settle(job, co_await job.authority->certificate(order.certificate));
    }
    if (order.status == "invalid") {
      throw Error(ErrorKind::unprocessable, words_of(order.problem, "the certificate authority gave the order up"));
    }
    if (order.status == "pending") {
      for (const auto& url : order.authorizations) co_await prove(job, url);
    } else if (order.status == "ready" && !finalized) {
      co_await job.authority->finalize(order.finalize, make_request(SigningKey(attempts.key_pem), job.domain));
      finalized = true;
    } else {
      co_await sleep_for(job.authority->patience());
    }
    if (std::chrono::steady_clock::now() > deadline)
      throw Error(ErrorKind::timeout, "the certificate authority does not issue the certificate");
  }
}

// After each failure another one of the ways that are open.
Task<> Acme::prove(Job& job, const std::string& url) {
  const auto authorization = co_await job.authority->authorization(url);
  if (authorization.status == "valid") co_return;
  std::vector<const Challenge*> open;
  for (const auto& name : config_.challenges) {
    for (const auto& challenge : authorization.challenges) {
      if (challenge.type == name && may_prove(job.domain, name)) open.push_back(&challenge);
    }
  }
  if (open.empty()) {
    throw Error(ErrorKind::unprocessable, "the certificate authority offers no challenge that is allowed here");
  }
  const auto challenge = *open[static_cast<std::size_t>(job.attempts.failures) % open.size()];
  co_await with_cleanup(validate(job, url, challenge), [&] { return withdraw(job, challenge); });
}

Task<> Acme::validate(Job& job, const std::string& url, const Challenge& challenge) {
  co_await present(job, challenge);
  if (challenge.status == "pending") co_await job.authority->answer_challenge(challenge.url);
  const auto deadline = std::chrono::steady_clock::now() + validation_limit;
  for (;;) {
    const auto state = co_await job.authority->authorization(url);
    if (state.status == "valid") co_return;
    if (state.status != "pending") {
      std::optional<Problem> problem;
      for (const auto& tried : state.challenges) {
        if (tried.problem) problem = tried.problem;
      }
      const auto words = words_of(problem, "the certificate authority could not check the name");
      throw Error(ErrorKind::unprocessable, words + " (" + challenge.type + ")");
    }
    if (std::chrono::steady_clock::now() > deadline)
      throw Error(ErrorKind::timeout, "the certificate authority does not check the name");
    co_await sleep_for(job.authority->patience());
  }
}

Task<> Acme::settle(Job& job, std::string pem) {
  const auto issued = check_issued(pem, {job.domain, job.attempts.key_pem, now()});
  if (!issued) throw Error(ErrorKind::unprocessable, "the certificate cannot be used: " + issued.error());
  const std::map<std::string, std::string> pair{{"tls.crt", issued->certificate_pem},
                                                {"tls.key", job.attempts.key_pem}};
  co_await write_secret(secret_name(job.domain), job.domain, pair, "kubernetes.io/tls");
  co_await store(job.domain, after_success(std::move(job.attempts)));
  log::info("certificate issued", kv("domain", job.domain), kv("expires", rfc3339(issued->expires)));
}

// --- answers to challenges

Task<> Acme::present(Job& job, const Challenge& challenge) {
  const auto answer = job.authority->answer_to(challenge.token);
  if (challenge.type == "dns-01") {
    co_await dns("present", job.domain, answer);
    co_return;
  }
  const auto value = print_json(json::object{{"domain", job.domain}, {"answer", answer}});
  const json::object change{{"data", json::object{{challenge.token, value}}}};
  co_await parts_.client.patch(resources::config_maps, parts_.ns, challenge_map, kube::PatchType::merge, change);
  co_await wait_served(challenge.token);
}

// Whatever became of it. What stays behind harms nobody, and goes when an order is begun after a restart.
Task<> Acme::withdraw(const Job& job, const Challenge& challenge) {
  try {
    if (challenge.type == "dns-01") {
      co_await dns("remove", job.domain, job.authority->answer_to(challenge.token));
      co_return;
    }
    const json::object change{{"data", json::object{{challenge.token, nullptr}}}};
    co_await parts_.client.patch(resources::config_maps, parts_.ns, challenge_map, kube::PatchType::merge, change);
  } catch (const Error& error) {
    log::warn("the answer to a challenge stays behind", kv("domain", job.domain), kv("error", error.message()));
  }
}

// The authority may ask any router. One that does not say it serves the answer in time is left to the authority.
Task<> Acme::wait_served(std::string token) {
  std::set<std::string> routers{"127.0.0.1"};
  const kube::ListOptions ours{.label_selector = "kubernetes.io/service-name=deis-router"};
  const auto slices = co_await parts_.client.list(resources::endpoint_slices, parts_.ns, ours);
  for (const auto& slice : slices.items) {
    const auto* endpoints = find_path(slice, {"endpoints"});
    for (const auto& endpoint : endpoints && endpoints->is_array() ? endpoints->get_array() : json::array()) {
      const auto* addresses = find_path(endpoint, {"addresses"});
      if (!addresses || !addresses->is_array() || addresses->get_array().empty()) continue;
      const auto* ip = addresses->get_array().front().if_string();
      if (ip && routers.size() < most_routers) routers.emplace(std::string_view(*ip));
    }
  }
  const auto deadline = std::chrono::steady_clock::now() + served_limit;
  for (const auto& router : routers) {
    const auto host = router.contains(':') ? "[" + router + "]" : router;
    const auto url =
        http::Url::parse("http://" + host + ":" + std::to_string(parts_.router_port) + "/v1/challenges/" + token);
    for (bool served = !url; !served && std::chrono::steady_clock::now() < deadline;) {
      try {
        http::ClientRequest request{.url = *url, .timeout = 2s};
        auto response = co_await routers_.send(std::move(request));
        co_await response.text(1024, 2s);
        served = response.status == 200;
      } catch (const Error&) {
        // It starts, or goes.
      }
      if (!served) co_await sleep_for(20ms);
    }
  }
}

// The operator's program makes and removes the TXT record, and returns when every server of the zone has it.
Task<> Acme::dns(std::string verb, std::string domain, std::string answer) {
  const auto name = "_acme-challenge." + (is_wildcard(domain) ? domain.substr(2) : domain);
  ProcessSpec spec{.argv = {config_.dns_hook, verb, name, to_base64url(sha256(answer))},
                   .env = std::map<std::string, std::string>{{"PATH", "/usr/local/bin:/usr/bin:/bin"}},
                   .out = ProcessSpec::Stream::pipe,
                   .err = ProcessSpec::Stream::pipe,
                   .die_with_parent = true};
  const auto result = co_await workflow::run(std::move(spec), hook_limit);
  if (result.status == 0) co_return;
  log::warn("the DNS hook failed", kv("verb", verb), kv("name", name), kv("status", result.status),
            kv("output", std::string(trim(result.err)).substr(0, 500)));
  if (verb == "present")
    throw Error(ErrorKind::unavailable, "the operator's DNS hook could not make the record " + name);
}

// --- what is kept

Task<Attempts> Acme::load(std::string domain) {
  const auto secret = co_await parts_.client.find(resources::secrets, parts_.ns, secret_name(domain) + "-order");
  const auto value = secret ? parse_json(value_in(*secret, "attempts")) : std::nullopt;
  co_return value ? attempts_from_json(*value) : Attempts{};
}

Task<> Acme::store(std::string domain, const Attempts& attempts) {
  const std::map<std::string, std::string> values{{"attempts", print_json(to_json(attempts))}};
  co_await write_secret(secret_name(domain) + "-order", domain, values, "Opaque");
}

// Returns when our own view has it: what is due is read from there.
Task<> Acme::write_secret(std::string name, std::string domain, std::map<std::string, std::string> values,
                          std::string type) {
  auto secret =
      kube::make_secret(parts_.ns, name, {{acme_label, type == "Opaque" ? "order" : "certificate"}}, values, type);
  secret["metadata"].get_object()["annotations"] = json::object{{domain_annotation, domain}};
  const auto data = secret["data"];
  const bool exists = (co_await parts_.client.find(resources::secrets, parts_.ns, name)).has_value();
  if (exists) {
    const json::object change{{"data", data}};
    co_await parts_.client.patch(resources::secrets, parts_.ns, name, kube::PatchType::merge, change);
  } else {
    co_await parts_.client.create(resources::secrets, parts_.ns, std::move(secret));
  }
  auto is_there = [&data](const kube::Informer::Object& object) { return object && object->at("data") == data; };
  co_await secrets_.wait_for(parts_.ns, name, is_there, 30s, "the secret " + name);
}

// A certificate of a name that nobody has any more is kept while it is valid: the name may come back.
Task<> Acme::forget() {
  const auto time = now();
  std::vector<std::string> names;
  for (const auto& [key, secret] : secrets_.objects()) {
    const auto domain = kube::annotation_of(*secret, domain_annotation);
    if (domain.empty() || wanted_.contains(domain)) continue;
    const auto what = known(domain);
    const bool recent = std::ranges::any_of(what.attempts.begun, [&](Time begun) { return begun + 7 * 24h > time; });
    if (!what.certificate && !recent) names.push_back(kube::name_of(*secret));
  }
  for (const auto& name : names) co_await parts_.client.remove(resources::secrets, parts_.ns, name);
}

}  // namespace workflow::router::acme
