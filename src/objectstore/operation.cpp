#include "objectstore/operation.h"

#include <algorithm>
#include <span>

namespace workflow::objectstore {

namespace {

// Subresources that we do not have. To set one is refused; to ask for one of the first kind is answered "there is
// none".
constexpr std::string_view configurations[] = {"policy",      "lifecycle",         "cors",
                                               "tagging",     "website",           "encryption",
                                               "replication", "publicAccessBlock", "ownershipControls",
                                               "object-lock"};
constexpr std::string_view others[] = {"notification", "logging",    "requestPayment", "accelerate",
                                       "analytics",    "inventory",  "metrics",        "versions",
                                       "torrent",      "restore",    "select",         "retention",
                                       "legal-hold",   "attributes", "policyStatus",   "intelligent-tiering"};

bool has_any(const http::Query& query, std::span<const std::string_view> names) {
  return std::ranges::any_of(names, [&query](std::string_view name) { return query.has(name); });
}

Operation on_bucket(const http::Request& request) {
  const auto& query = request.query;
  const auto& method = request.method;
  if (method == "GET") {
    if (query.has("location")) return Operation::get_location;
    if (query.has("versioning")) return Operation::get_versioning;
    if (query.has("acl")) return Operation::get_acl;
    if (query.has("uploads")) return Operation::list_uploads;
    return query.find("list-type") == "2" ? Operation::list_objects_v2 : Operation::list_objects;
  }
  if (method == "HEAD") return Operation::head_bucket;
  if (method == "POST" && query.has("delete")) return Operation::delete_objects;
  if (query.has("versioning") || query.has("acl")) return Operation::not_implemented;
  if (method == "PUT") return Operation::create_bucket;
  if (method == "DELETE") return Operation::delete_bucket;
  return Operation::not_allowed;
}

Operation on_object(const http::Request& request) {
  const auto& query = request.query;
  const auto& method = request.method;
  const bool in_upload = query.has("uploadId");
  if (method == "GET" && query.has("acl")) return Operation::get_acl;
  if (query.has("acl")) return Operation::not_implemented;
  if (method == "GET" && in_upload) return Operation::list_parts;
  if (method == "GET") return query.has("partNumber") ? Operation::not_implemented : Operation::get_object;
  if (method == "HEAD") return query.has("partNumber") ? Operation::not_implemented : Operation::head_object;
  if (method == "PUT") {
    const bool from_another = request.headers.find("X-Amz-Copy-Source").has_value();
    if (in_upload) return from_another ? Operation::copy_part : Operation::upload_part;
    return from_another ? Operation::copy_object : Operation::put_object;
  }
  if (method == "DELETE") return in_upload ? Operation::abort_upload : Operation::delete_object;
  if (method == "POST" && query.has("uploads")) return Operation::begin_upload;
  if (method == "POST" && in_upload) return Operation::complete_upload;
  return Operation::not_allowed;
}

}  // namespace

std::string_view name_of(Operation operation) {
  switch (operation) {
    case Operation::list_buckets: return "ListBuckets";
    case Operation::create_bucket: return "CreateBucket";
    case Operation::head_bucket: return "HeadBucket";
    case Operation::delete_bucket: return "DeleteBucket";
    case Operation::get_location: return "GetBucketLocation";
    case Operation::get_versioning: return "GetBucketVersioning";
    case Operation::get_acl: return "GetAcl";
    case Operation::list_objects: return "ListObjects";
    case Operation::list_objects_v2: return "ListObjectsV2";
    case Operation::list_uploads: return "ListMultipartUploads";
    case Operation::delete_objects: return "DeleteObjects";
    case Operation::put_object: return "PutObject";
    case Operation::copy_object: return "CopyObject";
    case Operation::get_object: return "GetObject";
    case Operation::head_object: return "HeadObject";
    case Operation::delete_object: return "DeleteObject";
    case Operation::begin_upload: return "CreateMultipartUpload";
    case Operation::upload_part: return "UploadPart";
    case Operation::copy_part: return "UploadPartCopy";
    case Operation::list_parts: return "ListParts";
    case Operation::complete_upload: return "CompleteMultipartUpload";
    case Operation::abort_upload: return "AbortMultipartUpload";
    case Operation::not_configured: return "GetConfiguration";
    case Operation::not_implemented: return "NotImplemented";
    case Operation::not_allowed: return "MethodNotAllowed";
  }
  return "";
}

Target target_of(const std::string& path) {
  if (path.size() < 2) return {};
  const auto slash = path.find('/', 1);
  if (slash == std::string::npos) return {path.substr(1), ""};
  return {path.substr(1, slash - 1), path.substr(slash + 1)};
}

Operation operation_of(const http::Request& request, const Target& target) {
  if (target.bucket.empty()) return request.method == "GET" ? Operation::list_buckets : Operation::not_allowed;
  if (has_any(request.query, configurations)) {
    return request.method == "GET" ? Operation::not_configured : Operation::not_implemented;
  }
  if (has_any(request.query, others)) return Operation::not_implemented;
  return target.key.empty() ? on_bucket(request) : on_object(request);
}

}  // namespace workflow::objectstore
