#include "engine/apiserver/apiserver.h"

#include <netdb.h>
#include <unistd.h>

#include "engine/apiserver/admission.h"
#include "engine/apiserver/api_error.h"
#include "engine/apiserver/audit.h"
#include "engine/apiserver/context.h"
#include "engine/apiserver/discovery.h"
#include "engine/apiserver/limits.h"
#include "engine/apiserver/openapi.h"
#include "engine/apiserver/pki.h"
#include "engine/descriptors.h"
#include "engine/fields.h"
#include "engine/object_bytes.h"
#include "engine/turns.h"
#include "lib/async/turn_times.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/http/metrics.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;

std::vector<std::string> server_names(const std::string& node_name) {
  std::vector<std::string> names{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                                 "kubernetes.default.svc.cluster.local"};
  if (!node_name.empty()) names.push_back(node_name);
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) == 0 && node_name != host.data()) names.emplace_back(host.data());
  return names;
}

std::vector<std::string> server_addresses(const ApiServerConfig& config) {
  auto addresses = config.addresses;
  addresses.push_back(config.service_cidr.at(1).text());
  if (!config.load_balancer_address.empty()) addresses.push_back(config.load_balancer_address);
  addresses.emplace_back("127.0.0.1");
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  std::erase(addresses, "0.0.0.0");
  return addresses;
}

bool is_public(std::string_view path) {
  for (const auto* open : {"/healthz", "/readyz", "/livez", "/version"}) {
    if (path == open || (path.starts_with(open) && path.substr(std::string_view(open).size()).starts_with("/")))
      return true;
  }
  return false;
}

// What is asked of RBAC for a request.
Attributes attributes_of(const RequestInfo& info) {
  if (!info.is_resource) return {.verb = info.verb, .path = info.path};
  Attributes a{.verb = info.verb,
               .group = info.group,
               .resource = info.plural,
               .subresource = info.subresource,
               .name = info.name,
               .ns = info.ns,
               .path = ""};
  if (info.plural == "namespaces" && info.group.empty()) a.ns = info.name;
  return a;
}

http::Response status_response(const ApiError& error) {
  auto response = json_response(error.code(), error.status());
  if (error.code() == 429) response.headers.set("Retry-After", "1");
  return response;
}

void add_warnings(http::Response& response, const std::vector<std::string>& warnings) {
  std::size_t left = 4096;  // of all together, as Kubernetes: clients bound the size of a head
  for (const auto& warning : warnings) {
    if (warning.size() > left) break;
    left -= warning.size();
    std::string text;
    for (const char c : warning) {
      if (c == '"' || c == '\\') text += '\\';
      text += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    response.headers.add("Warning", "299 - \"" + text + "\"");
  }
}

}  // namespace

struct ApiServer::State {
  State(Executor e, ApiServerConfig c, Store& store, Clock& clock)
      : pki(open_pki(c.state / "pki", server_names(c.node_name), server_addresses(c), clock)),
        api{std::move(e), std::move(c), store, clock, TokenSigner(pki.token_key), {}},
        audit(api.config.state / "audit") {
    for (const auto& address : api.config.addresses) {
      http::ServerConfig server{.address = address, .port = api.config.port};
      server.tls = http::TlsFiles{pki.server_certificate, pki.server_key.reveal(), pki.ca_certificate};
      server.max_header_bytes = 64 << 10;
      server.max_connections = share_of_descriptors(4, server.max_connections);
      servers.push_back(std::make_unique<http::Server>(api.executor, std::move(server),
                                                       [this](http::Request& request) { return answer(request); }));
      if (api.config.port == 0) api.config.port = servers.back()->port();
    }
    gauges.gauge("engine_resource_version", "The newest version of the store",
                 [&store] { return static_cast<double>(store.resource_version()); });
    for (const auto& type : resource_types()) {
      gauges.gauge("engine_objects", "Objects by type",
                   [&store, stored = type.stored] { return static_cast<double>(store.count(*stored)); },
                   {{"resource", type.plural()}});
    }
    measure_turns();
    write_file_atomically(api.config.state / "kubeconfig",
                          kubeconfig(pki, "https://127.0.0.1:" + std::to_string(api.config.port)), 0600);
  }

  // Where asked for (lib/async/turn_times.h): how long the thread was held.
  void measure_turns() {
    auto* times = turn_times();
    if (times == nullptr) return;
    gauges.gauge("engine_longest_turn_seconds", "The longest turn of the loop since this was read",
                 [times] { return std::chrono::duration<double>(times->take_longest()).count(); });
    for (std::size_t i = 0; i < TurnTimes::bounds.size(); ++i) {
      gauges.gauge("engine_long_turns", "Turns of the loop that were longer",
                   [times, i] { return static_cast<double>(times->longer_than(i)); },
                   {{"milliseconds", std::to_string(TurnTimes::bounds[i].count())}});
    }
  }

  // --- who asks

  User authenticate(const http::Request& request) {
    if (const auto header = request.headers.find("Authorization");
        header && starts_with_ignoring_case(*header, "Bearer ")) {
      const auto user = user_of_token(api, trim(std::string_view(*header).substr(7)), "");
      if (!user) throw ApiError(401, "Unauthorized", "Unauthorized");
      return *user;
    }
    if (request.client_cert_cn) {
      User user{*request.client_cert_cn, "", request.client_cert_orgs};
      user.groups.emplace_back("system:authenticated");
      return user;
    }
    return anonymous_user();
  }

  // Impersonate-User, -Uid and -Group: `kubectl --as`. Whoever may impersonate acts as the other from here on. Headers
  // that would be ignored are refused: who sends one means to act with fewer rights than its own.
  void impersonate(Call& call) {
    const auto& headers = call.request.headers;
    const auto name = headers.get("Impersonate-User");
    for (const auto& [header, value] : headers) {
      if (!starts_with_ignoring_case(header, "Impersonate-")) continue;
      if (name.empty())
        throw bad_request("requested " + header + " without impersonating a user; add Impersonate-User");
      const bool known = equal_ignoring_case(header, "Impersonate-User") ||
                         equal_ignoring_case(header, "Impersonate-Group") ||
                         equal_ignoring_case(header, "Impersonate-Uid");
      if (!known) throw bad_request(header + ": this engine impersonates a user, a uid and groups, and nothing else");
    }
    if (name.empty()) return;
    User other{name, "", {}};
    const auto ask = [&](const char* group, const char* what, const std::string& who) {
      const Attributes wanted{.verb = "impersonate",
                              .group = group,
                              .resource = what,
                              .subresource = "",
                              .name = who,
                              .ns = "",
                              .path = ""};
      if (authorize(api.store, call.user, wanted).allowed) return;
      throw ApiError(403, "Forbidden", refusal(call.user, wanted));
    };
    ask("", "users", name);
    if (const auto uid = headers.get("Impersonate-Uid"); !uid.empty()) {
      ask("authentication.k8s.io", "uids", uid);
      other.uid = uid;
    }
    for (const auto& [header, value] : headers) {
      if (!equal_ignoring_case(header, "Impersonate-Group")) continue;
      ask("", "groups", value);
      other.groups.push_back(value);
    }
    if (const auto parts = split(name, ':'); parts.size() == 4 && name.starts_with("system:serviceaccount:")) {
      other.groups.emplace_back("system:serviceaccounts");
      other.groups.push_back("system:serviceaccounts:" + parts[2]);
    }
    other.groups.emplace_back("system:authenticated");
    call.user = std::move(other);
  }

  // --- the way of a request

  Task<http::Response> answer(http::Request& request) {
    const auto received = api.clock.now();
    Call call{.api = api,
              .request = request,
              .info = {},
              .user = anonymous_user(),
              .authenticated = "",
              .type = nullptr,
              .warnings = {}};
    http::Response response;
    std::optional<ApiError> refused;
    try {
      response = co_await dispatch(call);
    } catch (const ApiError& error) {
      refused = error;
    } catch (const Error& error) {
      refused = api_error_from(error, call.type == nullptr ? nullptr : call.type->stored, call.info.name);
      if (error.kind() == ErrorKind::internal) {
        log::error("request failed", kv("path", request.path), kv("error", error.message()),
                   kv("detail", error.detail()));
      }
    }
    if (refused) response = status_response(*refused);
    add_warnings(response, call.warnings);
    const auto asked_by = call.authenticated == call.user.name ? std::string() : call.authenticated;
    const auto resource = call.type == nullptr ? std::string("none") : call.type->plural();
    const auto& part = call.info.subresource;
    const bool known = call.type != nullptr && !part.empty() && call.type->has(part);
    requests.add(known ? resource + "/" + part : resource, call.info.verb, response.status, api.clock.now() - received);
    if (auto event =
            audit_event({request, call.info, call.user, asked_by, response.status, received, api.clock.now()})) {
      audit.write(*event);
    }
    co_return response;
  }

  Task<http::Response> dispatch(Call& call) {
    const auto info = request_info(call.request.method, call.request.raw_path, call.request.query);
    if (!info) throw bad_request("the path of the request is malformed");
    call.info = *info;
    call.user = authenticate(call.request);
    call.authenticated = call.user.name;
    if (!call.info.is_resource && is_public(call.info.path)) co_return unnamed(call);
    if (call.user.name == "system:anonymous") {
      throw ApiError(401, "Unauthorized",
                     "Unauthorized: use the client certificate of the kubeconfig, or a service account's token");
    }
    impersonate(call);
    const auto attributes = attributes_of(call.info);
    if (!authorize(api.store, call.user, attributes).allowed) {
      const kube::Resource about{call.info.group, call.info.version, call.info.plural, "", true};
      if (call.info.is_resource) throw forbidden(about, call.info.name, refusal(call.user, attributes));
      throw ApiError(403, "Forbidden", "forbidden: " + refusal(call.user, attributes));
    }
    if (!call.info.is_resource) co_return unnamed(call);
    co_return co_await resource(call);
  }

  Task<http::Response> resource(Call& call) {
    const auto& info = call.info;
    for (const auto& type : review_types()) {
      if (type.group == info.group && type.version == info.version && type.plural == info.plural) {
        co_return co_await review(call, type);
      }
    }
    if (info.group == "metrics.k8s.io" && info.version == "v1beta1") {
      for (const auto& type : metrics_types()) {
        if (type.plural == info.plural) co_return co_await metrics(call, type);
      }
    }
    call.type = find_resource_type(info.group, info.version, info.plural);
    const bool placed = call.type == nullptr || call.type->namespaced() || info.ns.empty();
    if (call.type == nullptr || !placed)
      throw ApiError(404, "NotFound", "the server could not find the requested resource");
    if (call.type->namespaced() && info.ns.empty() && (!info.name.empty() || info.verb == "create") &&
        info.verb != "watch") {
      throw ApiError(404, "NotFound", "the server could not find the requested resource: it lives in a namespace");
    }
    if (!info.subresource.empty()) {
      if (!call.type->has(info.subresource))
        throw ApiError(404, "NotFound", "the server could not find the requested resource");
      co_return co_await subresource(call);
    }
    const bool changes = info.verb == "update" || info.verb == "patch";
    if (info.verb == "create" ? !info.name.empty() : changes && info.name.empty())
      throw ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
    if (info.verb == "get") co_return co_await get_object(call);
    if (info.verb == "list") co_return co_await list_objects(call);
    if (info.verb == "watch") co_return co_await watch_objects(call);
    if (info.verb == "create") co_return co_await create_object(call);
    if (info.verb == "update") co_return co_await update_object(call);
    if (info.verb == "patch") co_return co_await patch_object(call);
    if (info.verb == "delete") co_return co_await delete_object(call);
    co_return co_await delete_collection(call);
  }

  // --- paths that are no resources

  http::Response unnamed(Call& call) {
    const auto& path = call.info.path;
    const auto parts = split(std::string_view(path).substr(1), '/');
    if (path == "/version") return json_response(200, version_info());
    if (is_public(path)) return health(path);
    if (path == "/")
      return json_response(200, {{"paths", json::array{"/.well-known/openid-configuration", "/api", "/apis", "/healthz",
                                                       "/livez", "/metrics", "/openapi/v2", "/openapi/v3",
                                                       "/openid/v1/jwks", "/readyz", "/version"}}});
    if (path == "/api" || path == "/apis") return discovery(call, path);
    if (parts[0] == "api" && parts.size() == 2 && parts[1] == "v1")
      return json_response(200, api_resource_list("", "v1"));
    if (parts[0] == "apis" && parts.size() == 2 && serves_group(parts[1]))
      return json_response(200, api_group(parts[1]));
    if (parts[0] == "apis" && parts.size() == 3 && serves_group(parts[1], parts[2])) {
      return json_response(200, api_resource_list(parts[1], parts[2]));
    }
    if (parts[0] == "openapi") return open_api(call, path);
    // Who is told to trust the tokens asks here (OpenID Connect Discovery 1.0).
    if (path == "/openid/v1/jwks") return json_response(200, api.signer.public_keys());
    if (path == "/.well-known/openid-configuration")
      return json_response(200, {{"issuer", token_issuer},
                                 {"jwks_uri", std::string(token_issuer) + "/openid/v1/jwks"},
                                 {"response_types_supported", json::array{"id_token"}},
                                 {"subject_types_supported", json::array{"public"}},
                                 {"id_token_signing_alg_values_supported", json::array{"ES256"}}});
    if (path == "/metrics")
      return http::Response::text(200, gauges.text() + requests.text(), "text/plain; version=0.0.4");
    throw ApiError(404, "NotFound", "the server could not find the requested resource");
  }

  http::Response health(const std::string& path) {
    if (!path.starts_with("/readyz")) return http::Response::text(200, "ok");
    const auto why_not = api.ready ? api.problem() : std::optional<std::string>("the engine is starting");
    return http::Response::text(why_not ? 500 : 200, why_not.value_or("ok"));
  }

  http::Response discovery(Call& call, const std::string& path) {
    const auto accept = call.request.headers.get("Accept");
    for (const std::string form : {"v2", "v2beta1"}) {
      if (accept.find("g=apidiscovery.k8s.io;v=" + form + ";as=APIGroupDiscoveryList") == std::string::npos) continue;
      auto response =
          json_response(200, aggregated_discovery(path == "/api" ? Discovery::core : Discovery::named, form));
      response.headers.set("Content-Type",
                           "application/json;g=apidiscovery.k8s.io;v=" + form + ";as=APIGroupDiscoveryList");
      response.headers.set("Vary", "Accept");
      return response;
    }
    if (path == "/apis") return json_response(200, api_group_list());
    return json_response(200, api_versions("127.0.0.1:" + std::to_string(api.config.port)));
  }

  http::Response open_api(Call& call, const std::string& path) {
    if (path == "/openapi/v2") {
      const auto accept = call.request.headers.get("Accept");
      if (accept.find("protobuf") == std::string::npos) return http::Response::json(200, openapi_v2_json());
      auto response = http::Response::text(200, openapi_v2_protobuf(),
                                           "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
      return response;
    }
    if (path == "/openapi/v3") return json_response(200, openapi_v3_index());
    const auto document = openapi_v3(std::string_view(path).substr(std::string_view("/openapi/v3/").size()));
    if (!document) throw ApiError(404, "NotFound", "the server could not find the requested resource");
    return http::Response::json(200, *document);
  }

  // --- what every cluster has

  Task<> create_if_absent(const kube::Resource& r, json::object object) {
    if (api.store.find(r, kube::namespace_of(object), kube::name_of(object))) co_return;
    co_await api.store.create(r, std::move(object));
  }

  Task<> bootstrap() {
    for (const auto* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
      co_await create_if_absent(res::namespaces, kube::make_object(res::namespaces, "", name));
    }
    for (auto& [resource, object] : built_in_roles()) co_await create_if_absent(*resource, std::move(object));
    for (auto& object : built_in_priority_classes())
      co_await create_if_absent(res::priority_classes, std::move(object));
    auto storage = kube::make_object(res::storage_classes, "", "local");
    child(child(storage, "metadata"), "annotations")["storageclass.kubernetes.io/is-default-class"] = "true";
    storage["provisioner"] = "workflow/local-folder";
    storage["reclaimPolicy"] = "Delete";
    storage["volumeBindingMode"] = "Immediate";
    co_await create_if_absent(res::storage_classes, std::move(storage));
    auto service = kube::make_object(res::services, "default", "kubernetes",
                                     {{"component", "apiserver"}, {"provider", "kubernetes"}});
    const auto ip = api.config.service_cidr.at(1).text();
    service["spec"] = json::object{
        {"type", "ClusterIP"},
        {"clusterIP", ip},
        {"clusterIPs", json::array{ip}},
        {"ipFamilies", json::array{"IPv4"}},
        {"ipFamilyPolicy", "SingleStack"},
        {"internalTrafficPolicy", "Cluster"},
        {"sessionAffinity", "None"},
        {"ports", json::array{json::object{
                      {"name", "https"}, {"protocol", "TCP"}, {"port", 443}, {"targetPort", api.config.port}}}}};
    service["status"] = json::object{{"loadBalancer", json::object()}};
    co_await create_if_absent(res::services, std::move(service));
  }

  Pki pki;
  Api api;
  AuditLog audit;
  http::RequestMetrics requests;
  http::Metrics gauges;
  std::vector<std::unique_ptr<http::Server>> servers;
};

ApiServer::ApiServer(Executor executor, ApiServerConfig config, Store& store, Clock& clock)
    : state_(std::make_shared<State>(std::move(executor), std::move(config), store, clock)) {}
ApiServer::~ApiServer() = default;

Task<> ApiServer::prepare() {
  auto state = state_;
  co_await state->bootstrap();
}

Task<> ApiServer::run() {
  auto state = state_;
  auto group = std::make_shared<TaskGroup>(state->api.executor);
  for (auto& server : state->servers) group->spawn("api server", server->serve());
  log::info("API server ready", kv("port", state->api.config.port));
  co_await with_cleanup(group->join(), [group] { return group->stop(); });
}

void ApiServer::connect(PodAccess access) { state_->api.pods = std::move(access); }
void ApiServer::set_ready(bool ready) { state_->api.ready = ready; }
void ApiServer::unready_while(std::function<std::optional<std::string>()> why) { state_->api.problem = std::move(why); }
const std::string& ApiServer::ca_certificate() const { return state_->pki.ca_certificate; }
Task<json::object> ApiServer::admit(const kube::Resource& r, json::object object) const {
  const auto state = state_;
  const auto* type = find_resource_type(r.group, r.version, r.plural);
  WF_CHECK(type != nullptr);
  auto complete = [&] {
    set_defaults(*type, object, nullptr);
    const auto problems = problems_of(*type, object, nullptr);
    if (!problems.empty()) throw invalid_object(r, kube::name_of(object), problems);
  };
  const auto size = bytes_of(object);
  co_await worked_on(size, complete);
  const auto& api = state->api;
  admit_within_limits(api.store, r, object);
  if (&r == &res::pods) admit_pod(api.store, {.node_name = api.config.node_name, .now = api.clock.now()}, object);
  check_quota(api.store, r, object);
  co_return object;
}
Task<IssuedToken> ApiServer::issue_token(TokenRequest request) {
  auto state = state_;
  co_return engine::issue_token(state->api, request);
}

}  // namespace workflow::engine
