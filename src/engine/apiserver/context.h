// src/engine/apiserver/context.h: one request on its way, and what all of them share. Inside apiserver only.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/apiserver/access.h"
#include "engine/apiserver/apiserver.h"
#include "engine/apiserver/request_info.h"
#include "engine/apiserver/resource_types.h"
#include "engine/apiserver/tokens.h"

namespace workflow::engine {

// Shared by all requests.
struct Api {
  Executor executor;
  ApiServerConfig config;
  Store& store;
  Clock& clock;
  TokenSigner signer;
  PodAccess pods;
  bool ready = false;
  std::function<std::optional<std::string>()> problem = [] { return std::nullopt; };  // why it is not ready after all
};

struct Call {
  Api& api;
  http::Request& request;
  RequestInfo info;
  User user;                  // as whom it is done
  std::string authenticated;  // who asks; another name while impersonating
  const ResourceType* type = nullptr;
  std::vector<std::string> warnings;  // to be sent as Warning headers

  const kube::Resource& resource() const { return *type->stored; }
  std::string option(std::string_view name) const { return request.query.find(name).value_or(""); }
  bool flag(std::string_view name) const;  // throws ApiError 400 when it is not a boolean
  Persist persist() const;                 // dryRun
  std::string manager() const;             // fieldManager, else the program of User-Agent
};

// How an answer is written: as objects, as a Table, or as metadata only.
enum class Form { object, table, metadata };
struct Negotiated {
  Form form = Form::object;
  bool yaml = false;
  std::string meta_version = "v1";  // of Table and PartialObjectMetadata
};
Negotiated negotiate(std::string_view accept);  // throws ApiError 406

http::Response json_response(int status, const json::object& body);
// An object, in the served version and the form that the client asked for.
Task<http::Response> object_response(const Call& call, int status, ObjectPtr object);
json::object served(const ResourceType& type, const json::object& stored);
// An object as text, whole or its metadata alone, without a copy where it is served as it is stored.
std::string served_text(const ResourceType& type, const Negotiated& form, const json::object& stored);

// The body, whatever it came as (JSON, YAML, protobuf), checked against the schema; fields that are unknown or come
// twice are refused, warned about or ignored, as fieldValidation says. Empty: nullopt.
Task<std::optional<json::object>> read_object(Call& call, const TypeSchema& type);
// The same check for an object that a patch made.
json::object checked_body(Call& call, const TypeSchema& type, const json::object& body);

// read.cpp
Task<http::Response> get_object(Call& call);
Task<http::Response> list_objects(Call& call);
struct ListPage {
  std::vector<ObjectPtr> objects;
  std::string version, next;  // next: the token that goes on from here
  std::size_t remaining = 0;
};
// The objects in the form that was asked for, written while they are sent.
Task<http::Response> list_response(const Call& call, Negotiated form, ListPage page);
std::int64_t parsed_version(const std::string& text);  // a resourceVersion; throws ApiError 400
// The selection that a list, watch or deletecollection asks for.
struct Selection {
  std::function<bool(const json::object& stored)> matches;
  bool everything = false;
};
Selection selection_of(const Call& call);

// watch.cpp
Task<http::Response> watch_objects(Call& call);

// write.cpp
Task<http::Response> create_object(Call& call);
Task<http::Response> update_object(Call& call);
Task<http::Response> patch_object(Call& call);
Task<http::Response> delete_object(Call& call);
Task<http::Response> delete_collection(Call& call);
// What query and body (a DeleteOptions) ask of a deletion; throws ApiError 400, 422.
DeleteOptions delete_options(Call& call, const std::optional<json::object>& body);
Persist persist_of_delete(const Call& call, const std::optional<json::object>& body);

// subresources.cpp
Task<http::Response> subresource(Call& call);
Task<http::Response> review(Call& call, const ReviewType& type);
Task<http::Response> metrics(Call& call, const MetricsType& type);
IssuedToken issue_token(Api& api, const TokenRequest& request);
std::optional<User> user_of_token(const Api& api, std::string_view token, const std::string& audience);

constexpr std::size_t body_limit = 3u << 20;  // as Kubernetes

}  // namespace workflow::engine
