// scale, log, exec, attach, portforward, eviction, token; reviews; metrics.
#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>

#include "engine/apiserver/admission.h"
#include "engine/apiserver/api_error.h"
#include "engine/apiserver/apply.h"
#include "engine/apiserver/context.h"
#include "engine/apiserver/decode.h"
#include "engine/apiserver/eviction.h"
#include "engine/apiserver/patch.h"
#include "engine/apiserver/proxied.h"
#include "engine/fields.h"
#include "engine/store_rules.h"
#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"
#include "lib/kube/selectors.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;

const TypeSchema& schema(std::string_view name) {
  const auto* type = find_type(name);
  WF_CHECK(type != nullptr);
  return *type;
}

// --- scale

json::object scale_of(const json::object& object) {
  json::object metadata;
  for (const auto* field : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"}) {
    if (const auto* value = value_at(object, {"metadata", field})) metadata[field] = *value;
  }
  const auto* selector = value_at(object, {"spec", "selector"});
  json::object status{{"replicas", integer_at(object, {"status", "replicas"}).value_or(0)}};
  if (selector != nullptr) {
    const auto parsed = text_at(object, {"kind"}) == "ReplicationController"
                            ? std::optional(kube::LabelSelector::from_map(selector))
                            : kube::LabelSelector::from_object(*selector);
    if (parsed) status["selector"] = parsed->text();
  }
  return {{"kind", "Scale"},
          {"apiVersion", "autoscaling/v1"},
          {"metadata", std::move(metadata)},
          {"spec", json::object{{"replicas", integer_at(object, {"spec", "replicas"}).value_or(0)}}},
          {"status", std::move(status)}};
}

json::object patched_scale(const std::string& media, const json::object& scale, const json::value& patch) {
  if (media == "application/json-patch+json") return json_patched(scale, patch);
  return merge_patched(scale, patch);
}

Task<http::Response> change_scale(Call& call) {
  const auto& type = schema("io.k8s.api.autoscaling.v1.Scale");
  std::function<json::object(const json::object&)> wanted;
  if (call.info.verb == "update") {
    auto body = co_await read_object(call, type);
    if (!body) throw bad_request("the request needs a body: a Scale");
    wanted = [scale = std::move(*body)](const json::object&) { return scale; };
  } else {
    auto patch = parse_json(co_await call.request.text(body_limit));
    if (!patch) throw bad_request("error decoding patch: the body is not valid JSON");
    auto media = call.request.headers.get("Content-Type");
    wanted = [&call, &type, media, patch = std::move(*patch)](const json::object& scale) {
      return checked_body(call, type, patched_scale(media, scale, patch));
    };
  }
  const auto& r = call.resource();
  auto step = [&](json::object& object) {
    const auto scale = wanted(scale_of(object));
    check_resource_version(r, object, text_at(scale, {"metadata", "resourceVersion"}));
    const auto replicas = integer_at(scale, {"spec", "replicas"}).value_or(0);
    if (replicas < 0) {
      throw invalid_object(r, call.info.name,
                           {invalid_field("spec.replicas", replicas, "must be greater than or equal to 0")});
    }
    const auto before = object;
    child(object, "spec")["replicas"] = replicas;
    object = with_tracked_fields(*call.type->schema, before, std::move(object),
                                 {.name = call.manager(),
                                  .api_version = call.type->api_version(),
                                  .subresource = "scale",
                                  .now = call.api.clock.now()});
    return true;
  };
  const auto result = co_await call.api.store.edit(r, call.info.ns, call.info.name, step, call.persist());
  if (!result) throw absent(r, call.info.name);
  co_return json_response(200, scale_of(*result));
}

Task<http::Response> scale(Call& call) {
  if (call.info.verb == "update" || call.info.verb == "patch") co_return co_await change_scale(call);
  const auto object = call.api.store.find(call.resource(), call.info.ns, call.info.name);
  if (!object) throw absent(call.resource(), call.info.name);
  co_return json_response(200, scale_of(*object));
}

// --- pods

[[noreturn]] void no_node() {
  throw ApiError(503, "ServiceUnavailable", "the node agent is not running yet; try again in a moment");
}

std::optional<std::int64_t> number_option(const Call& call, std::string_view name) {
  const auto text = call.option(name);
  if (text.empty()) return std::nullopt;
  const auto number = parse_integer(text);
  if (!number || *number < 0) throw bad_request(std::string(name) + " must be a number, 0 or more");
  return number;
}

// A body in the messages of a WebSocket.
class MessageWriter : public http::BodyWriter {
 public:
  explicit MessageWriter(http::WebSocket& socket) : socket_(socket) {}
  Task<> write(std::string_view bytes) override {
    const bool base64 = socket_.subprotocol().starts_with("base64.");
    co_await socket_.write({!base64, base64 ? to_base64(bytes) : std::string(bytes)});
  }

 private:
  http::WebSocket& socket_;
};

// Ends with its client: a log that is followed may say nothing for long.
http::WebSocketBody in_messages(http::StreamBody body) {
  using namespace asio::experimental::awaitable_operators;
  auto run = [body = std::move(body)](http::WebSocket& socket) -> Task<> {
    MessageWriter writer(socket);
    co_await (body(writer) || socket.gone());
  };
  return {{"binary.k8s.io", "base64.binary.k8s.io"}, std::move(run)};
}

Task<http::Response> pod_log(Call& call) {
  if (!call.api.store.find(res::pods, call.info.ns, call.info.name)) throw absent(res::pods, call.info.name);
  if (!call.api.pods.logs) no_node();
  PodLogOptions options{.container = call.option("container"),
                        .follow = call.flag("follow"),
                        .previous = call.flag("previous"),
                        .timestamps = call.flag("timestamps"),
                        .tail_lines = number_option(call, "tailLines"),
                        .since_seconds = number_option(call, "sinceSeconds"),
                        .limit_bytes = number_option(call, "limitBytes"),
                        .since_time = std::nullopt};
  if (const auto since = call.option("sinceTime"); !since.empty()) {
    options.since_time = parse_rfc3339(since);
    if (!options.since_time) throw bad_request("sinceTime must be a time such as 2006-01-02T15:04:05Z");
    if (options.since_seconds) throw bad_request("at most one of sinceTime or sinceSeconds may be specified");
  }
  http::Response response;
  response.headers.set("Content-Type", "text/plain");
  response.endless = options.follow;
  auto text = co_await call.api.pods.logs(call.info.ns, call.info.name, std::move(options));
  if (call.request.wants_websocket()) {
    response.status = 101;
    response.body = in_messages(std::move(text));
  } else {
    response.body = std::move(text);
  }
  co_return response;
}

Task<http::Response> pod_stream(Call& call) {
  const auto& what = call.info.subresource == "exec" ? call.api.pods.exec : call.api.pods.attach;
  if (!call.api.store.find(res::pods, call.info.ns, call.info.name)) throw absent(res::pods, call.info.name);
  if (!what) no_node();
  ExecOptions options{.container = call.option("container"),
                      .command = call.request.query.all("command"),
                      .in = call.flag("stdin"),
                      .out = call.flag("stdout"),
                      .err = call.flag("stderr"),
                      .tty = call.flag("tty")};
  if (call.info.subresource == "exec" && options.command.empty())
    throw bad_request("you must specify at least one command");
  co_return co_await what(call.request, call.info.ns, call.info.name, std::move(options));
}

Task<http::Response> pod_forward(Call& call) {
  if (!call.api.store.find(res::pods, call.info.ns, call.info.name)) throw absent(res::pods, call.info.name);
  if (!call.api.pods.forward) no_node();
  co_return co_await call.api.pods.forward(call.request, call.info.ns, call.info.name);
}

// --- eviction

// A Job's failure policy may tell it from a failure of the pod's own.
std::function<bool(json::object&)> marked_as_evicted(std::string uid, Time now) {
  return [uid = std::move(uid), now](json::object& pod) {
    auto& conditions = list(child(pod, "status"), "conditions");
    const bool known = std::ranges::any_of(
        conditions, [](const auto& one) { return text_at(one.as_object(), {"type"}) == "DisruptionTarget"; });
    if (known || kube::uid_of(pod) != uid) return false;
    conditions.push_back(json::object{{"type", "DisruptionTarget"},
                                      {"status", "True"},
                                      {"reason", "EvictionByEvictionAPI"},
                                      {"message", "Eviction API: evicting"},
                                      {"lastTransitionTime", rfc3339(now)}});
    return true;
  };
}

Task<http::Response> eviction(Call& call) {
  const auto& type = schema("io.k8s.api.policy.v1.Eviction");
  const auto eviction = (co_await read_object(call, type)).value_or(json::object());
  const auto& ns = call.info.ns;
  const auto& name = call.info.name;
  if (const auto given = text_at(eviction, {"metadata", "name"}); !given.empty() && given != name)
    throw bad_request("metadata.name: must be the pod's name in the URL, " + name);
  const auto pod = call.api.store.find(res::pods, ns, name);
  if (!pod) throw absent(res::pods, name);
  const std::optional asked = object_at(eviction, {"deleteOptions"});
  auto options = delete_options(call, asked);
  const auto persist = persist_of_delete(call, asked);
  if (!options.uid) options.uid = kube::uid_of(*pod);  // a pod that came since is another one
  if (const auto budget =
          budget_of_eviction(*pod, call.api.store.list_latest(res::pod_disruption_budgets, call.info.ns))) {
    co_await call.api.store.remove(res::pods, ns, name, options, Persist::dry_run);  // preconditions cost no disruption
    auto take = [&name, now = call.api.clock.now()](json::object& current) {
      take_disruption(current, name, now);
      return true;
    };
    co_await call.api.store.edit(res::pod_disruption_budgets, ns, kube::name_of(*budget), take, persist);
  }
  co_await call.api.store.edit(res::pods, ns, name, marked_as_evicted(*options.uid, call.api.clock.now()), persist);
  options.resource_version.reset();  // it was looked at above, and is another one now
  co_await call.api.store.remove(res::pods, ns, name, options, persist);
  co_return json_response(
      201,
      {{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Success"}, {"code", 201}});
}

// --- tokens

Task<http::Response> token_request(Call& call) {
  const auto& type = schema("io.k8s.api.authentication.v1.TokenRequest");
  auto answer = (co_await read_object(call, type)).value_or(json::object());
  TokenRequest request{
      .ns = call.info.ns, .service_account = call.info.name, .audiences = {}, .pod_name = "", .pod_uid = ""};
  for (const auto& audience : array_at(answer, {"spec", "audiences"})) {
    if (audience.is_string()) request.audiences.emplace_back(audience.get_string());
  }
  const auto seconds = integer_at(answer, {"spec", "expirationSeconds"}).value_or(3600);
  if (seconds < 600) {
    throw ApiError(422, "Invalid",
                   "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: " +
                       std::to_string(seconds) + ": may not specify a duration less than 10 minutes");
  }
  request.lifetime = std::chrono::seconds(std::min<std::int64_t>(seconds, 365 * 86400));
  if (text_at(answer, {"spec", "boundObjectRef", "kind"}) == "Pod") {
    request.pod_name = text_at(answer, {"spec", "boundObjectRef", "name"});
    const auto pod = call.api.store.find(res::pods, request.ns, request.pod_name);
    if (!pod) throw absent(res::pods, request.pod_name);
    request.pod_uid = kube::uid_of(*pod);
  }
  const auto issued = issue_token(call.api, request);
  answer["kind"] = "TokenRequest";
  answer["apiVersion"] = "authentication.k8s.io/v1";
  child(answer, "spec")["expirationSeconds"] = seconds;
  if (request.audiences.empty()) child(answer, "spec")["audiences"] = json::array{key(token_issuer)};
  answer["status"] = json::object{{"token", issued.token.reveal()}, {"expirationTimestamp", rfc3339(issued.expires)}};
  co_return json_response(201, answer);
}

// --- reviews

Attributes attributes_of(const json::object& spec) {
  if (spec.contains("nonResourceAttributes")) {
    return {.verb = text_at(spec, {"nonResourceAttributes", "verb"}),
            .path = text_at(spec, {"nonResourceAttributes", "path"})};
  }
  const auto& a = object_at(spec, {"resourceAttributes"});
  return {.verb = text_at(a, {"verb"}),
          .group = text_at(a, {"group"}),
          .resource = text_at(a, {"resource"}),
          .subresource = text_at(a, {"subresource"}),
          .name = text_at(a, {"name"}),
          .ns = text_at(a, {"namespace"}),
          .path = ""};
}

json::array texts(const std::vector<std::string>& list) {
  json::array result;
  for (const auto& text : list) result.emplace_back(text);
  return result;
}

json::object user_info(const User& user) {
  json::object info{{"username", user.name}, {"groups", texts(user.groups)}};
  if (!user.uid.empty()) info["uid"] = user.uid;
  for (const auto& [name, value] : user.extra) child(info, "extra")[name] = json::array{value};
  return info;
}

json::object access_status(const Store& store, const User& user, const Attributes& attributes) {
  const auto decision = authorize(store, user, attributes);
  json::object status{{"allowed", decision.allowed}};
  if (!decision.reason.empty()) status["reason"] = decision.reason;
  return status;
}

json::object rules_status(const Call& call, const std::string& ns) {
  json::array resources, paths;
  if (call.user.is_in("system:masters")) {
    resources.push_back(json::parse(R"({"verbs":["*"],"apiGroups":["*"],"resources":["*"]})"));
    paths.push_back(json::parse(R"({"verbs":["*"],"nonResourceURLs":["*"]})"));
  }
  for (const auto* rule : rules_for(call.api.store, call.user, ns)) {
    (rule->contains("nonResourceURLs") ? paths : resources).push_back(*rule);
  }
  return {{"resourceRules", std::move(resources)}, {"nonResourceRules", std::move(paths)}, {"incomplete", false}};
}

json::object token_status(const Api& api, const json::object& spec) {
  std::string audience;
  for (const auto& item : array_at(spec, {"audiences"})) {
    if (item.is_string()) audience = std::string(item.get_string());
  }
  const auto user = user_of_token(api, text_at(spec, {"token"}), audience);
  if (!user) return {{"authenticated", false}, {"error", "the token is not valid"}};
  return {{"authenticated", true}, {"user", user_info(*user)}};
}

// --- metrics

json::object usage_json(const Usage& usage) {
  return {{"cpu", std::to_string(usage.cpu_nanocores) + "n"},
          {"memory", std::to_string(usage.memory_bytes / 1024) + "Ki"}};
}

json::object pod_metrics(const Store& store, const PodUsage& usage) {
  json::array containers;
  for (const auto& [name, use] : usage.containers) {
    containers.push_back(json::object{{"name", name}, {"usage", usage_json(use)}});
  }
  json::object metadata{{"name", usage.pod}, {"namespace", usage.ns}, {"creationTimestamp", rfc3339(usage.at)}};
  if (const auto pod = store.find(res::pods, usage.ns, usage.pod))
    metadata["labels"] = object_at(*pod, {"metadata", "labels"});
  const auto seconds = std::chrono::duration<double>(usage.window).count();
  return {{"kind", "PodMetrics"},
          {"apiVersion", "metrics.k8s.io/v1beta1"},
          {"metadata", std::move(metadata)},
          {"timestamp", rfc3339(usage.at)},
          {"window", std::to_string(static_cast<int>(seconds)) + "s"},
          {"containers", std::move(containers)}};
}

}  // namespace

Task<http::Response> subresource(Call& call) {
  const auto& name = call.info.subresource;
  const auto& verb = call.info.verb;
  if (name == "status" || name == "finalize" || name == "ephemeralcontainers") {
    if (name == "ephemeralcontainers")
      throw ApiError(404, "NotFound", "ephemeral containers are not supported; use kubectl exec",
                     {{"kind", call.resource().plural}});  // without details `kubectl debug` crashes
    if (verb == "get") co_return co_await get_object(call);
    if (verb == "update") co_return co_await update_object(call);
    if (verb == "patch") co_return co_await patch_object(call);
  }
  if (name == "scale") co_return co_await scale(call);
  if (name == "log" && verb == "get") co_return co_await pod_log(call);
  if (name == "exec" || name == "attach") co_return co_await pod_stream(call);
  if (name == "proxy") co_return co_await proxied(call);
  if (name == "portforward") co_return co_await pod_forward(call);
  if (name == "eviction" && verb == "create") co_return co_await eviction(call);
  if (name == "token" && verb == "create") co_return co_await token_request(call);
  throw ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
}

IssuedToken issue_token(Api& api, const TokenRequest& request) {
  const auto account = api.store.find(res::service_accounts, request.ns, request.service_account);
  if (!account) throw absent(res::service_accounts, request.service_account);
  const auto now = api.clock.now();
  TokenClaims claims{.ns = request.ns,
                     .account = request.service_account,
                     .account_uid = kube::uid_of(*account),
                     .audiences = request.audiences,
                     .pod = request.pod_name,
                     .pod_uid = request.pod_uid,
                     .issued = now,
                     .expires = now + request.lifetime,
                     .id = random_uuid()};
  if (claims.audiences.empty()) claims.audiences.emplace_back(token_issuer);
  return {api.signer.sign(claims), claims.expires};
}

std::optional<User> user_of_token(const Api& api, std::string_view token, const std::string& audience) {
  const auto claims = api.signer.verify(token, api.clock.now());
  if (!claims) return std::nullopt;
  const auto wanted = audience.empty() ? std::string(token_issuer) : audience;
  if (std::find(claims->audiences.begin(), claims->audiences.end(), wanted) == claims->audiences.end())
    return std::nullopt;
  const auto account = api.store.find(res::service_accounts, claims->ns, claims->account);
  if (!account || kube::uid_of(*account) != claims->account_uid) return std::nullopt;
  if (!claims->pod.empty()) {
    const auto pod = api.store.find(res::pods, claims->ns, claims->pod);
    if (!pod || kube::uid_of(*pod) != claims->pod_uid) return std::nullopt;
  }
  User user{"system:serviceaccount:" + claims->ns + ":" + claims->account,
            claims->account_uid,
            {"system:serviceaccounts", "system:serviceaccounts:" + claims->ns, "system:authenticated"}};
  const std::string prefix = "authentication.kubernetes.io/";
  if (!claims->id.empty()) user.extra.emplace_back(prefix + "credential-id", "JTI=" + claims->id);
  if (!claims->pod.empty()) {
    user.extra.emplace_back(prefix + "pod-name", claims->pod);
    user.extra.emplace_back(prefix + "pod-uid", claims->pod_uid);
    user.extra.emplace_back(prefix + "node-name", api.config.node_name);
  }
  return user;
}

Task<http::Response> review(Call& call, const ReviewType& type) {
  if (call.info.verb != "create") {
    throw ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
  }
  if (negotiate(call.request.headers.get("Accept")).form != Form::object) {
    throw ApiError(406, "NotAcceptable", "a review is answered as an object, not as a Table or metadata alone");
  }
  const auto& fields = schema(type_name(type.group, type.version, type.kind));
  auto answer = (co_await read_object(call, fields)).value_or(json::object());
  const auto spec = object_at(answer, {"spec"});
  answer["kind"] = type.kind;
  answer["apiVersion"] = type.group + "/" + type.version;
  child(answer, "metadata");
  if (type.kind == "SelfSubjectAccessReview") {
    answer["status"] = access_status(call.api.store, call.user, attributes_of(spec));
  } else if (type.kind == "SelfSubjectRulesReview") {
    answer["status"] = rules_status(call, text_at(spec, {"namespace"}));
  } else if (type.kind == "SelfSubjectReview") {
    answer["status"] = json::object{{"userInfo", user_info(call.user)}};
  } else if (type.kind == "TokenReview") {
    answer["status"] = token_status(call.api, spec);
  } else {
    User user{text_at(spec, {"user"}), text_at(spec, {"uid"}), {}};
    for (const auto& group : array_at(spec, {"groups"})) {
      if (group.is_string()) user.groups.emplace_back(group.get_string());
    }
    answer["status"] = access_status(call.api.store, user, attributes_of(spec));
  }
  co_return json_response(201, answer);
}

Task<http::Response> metrics(Call& call, const MetricsType& type) {
  if (call.info.verb != "get" && call.info.verb != "list") {
    throw ApiError(405, "MethodNotAllowed", "metrics can only be read");
  }
  json::array items;
  const auto labels = kube::LabelSelector::parse(call.option("labelSelector"));
  if (!labels) throw bad_request("unable to parse requirement: invalid label selector");
  if (type.plural == "pods") {
    if (!call.api.pods.pod_usage) no_node();
    for (const auto& usage : co_await call.api.pods.pod_usage()) {
      if (!call.info.ns.empty() && usage.ns != call.info.ns) continue;
      if (!call.info.name.empty() && usage.pod != call.info.name) continue;
      auto item = pod_metrics(call.api.store, usage);
      if (labels->matches(value_at(item, {"metadata", "labels"}))) items.push_back(std::move(item));
    }
  } else {
    if (!call.api.pods.node_usage) no_node();
    const auto& name = call.api.config.node_name;
    if (call.info.name.empty() || call.info.name == name) {
      const auto usage = co_await call.api.pods.node_usage();
      const auto now = rfc3339(call.api.clock.now());
      items.push_back(json::object{{"kind", "NodeMetrics"},
                                   {"apiVersion", "metrics.k8s.io/v1beta1"},
                                   {"metadata", json::object{{"name", name}, {"creationTimestamp", now}}},
                                   {"timestamp", now},
                                   {"window", "10s"},
                                   {"usage", usage_json(usage)}});
    }
  }
  if (!call.info.name.empty()) {
    if (items.empty())
      throw ApiError(404, "NotFound", type.plural + ".metrics.k8s.io \"" + call.info.name + "\" not found");
    co_return json_response(200, items[0].get_object());
  }
  co_return json_response(200, {{"kind", type.kind + "List"},
                                {"apiVersion", "metrics.k8s.io/v1beta1"},
                                {"metadata", json::object()},
                                {"items", std::move(items)}});
}

}  // namespace workflow::engine
