#include "objectstore/api.h"

#include <algorithm>

#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/s3/error.h"
#include "objectstore/s3_error.h"

namespace workflow::objectstore {

namespace {

constexpr std::size_t xml_limit = 4u << 20;
constexpr std::size_t user_metadata_limit = 2u << 10;
constexpr std::size_t key_limit = 1024;

http::Response error_response(const http::Request& request, int status, const s3::ErrorDocument& document) {
  auto response = xml_response(s3::render_error(document, request.path, request.id));
  response.status = status;
  return response;
}

// What other parts throw, such as a body that broke off.
s3::ErrorDocument document_of(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::too_large: return {"EntityTooLarge", error.message()};
    case ErrorKind::timeout: return {"RequestTimeout", error.message()};
    case ErrorKind::invalid: return {"InvalidRequest", error.message()};
    case ErrorKind::unavailable: return {"IncompleteBody", error.message()};
    default: return {"InternalError", "We encountered an internal error. Please try again."};
  }
}

}  // namespace

http::Response xml_response(std::string document) {
  return http::Response::text(200, std::move(document), "application/xml");
}

std::string quoted(const std::string& etag) { return "\"" + etag + "\""; }

std::string unquoted(std::string etag) {
  std::erase(etag, '"');
  return etag;
}

std::string s3_time(Time time) {
  auto text = rfc3339(std::chrono::floor<std::chrono::seconds>(time));
  return text.substr(0, text.size() - 1) + ".000Z";
}

WriteConditions write_conditions(const http::Headers& headers) {
  WriteConditions conditions;
  if (const auto none = headers.find("If-None-Match")) {
    if (trim(*none) != "*") throw S3Error{501, "NotImplemented", "If-None-Match of a write can only be *."};
    conditions.only_if_absent = true;
  }
  if (const auto match = headers.find("If-Match")) conditions.if_match = unquoted(*match);
  return conditions;
}

std::vector<std::pair<std::string, std::string>> kept_headers(const http::Headers& headers) {
  static constexpr std::string_view standard[] = {"cache-control", "content-disposition", "content-language",
                                                  "expires"};
  static constexpr std::string_view refused[] = {"x-amz-server-side-encryption", "x-amz-object-lock", "x-amz-tagging",
                                                 "x-amz-website-redirect-location"};
  std::vector<std::pair<std::string, std::string>> kept;
  kept.emplace_back("content-type", headers.find("Content-Type").value_or("binary/octet-stream"));
  std::size_t user_size = 0;
  for (const auto& [name, value] : headers) {
    const auto lowered = lower(name);
    if (std::ranges::any_of(refused, [&](std::string_view start) { return lowered.starts_with(start); })) {
      throw S3Error{501, "NotImplemented", "This store does not offer what the header " + lowered + " asks for."};
    }
    if (lowered == "content-encoding") {
      // aws-chunked is how it travelled, not what it is.
      std::vector<std::string> codings;
      for (const auto& coding : split(value, ',')) {
        if (trim(coding) != "aws-chunked") codings.emplace_back(trim(coding));
      }
      if (!codings.empty()) kept.emplace_back(lowered, join(codings, ","));
    } else if (lowered.starts_with("x-amz-meta-")) {
      user_size += lowered.size() + value.size();
      kept.emplace_back(lowered, value);
    } else if (std::ranges::find(standard, lowered) != std::end(standard)) {
      kept.emplace_back(lowered, value);
    }
  }
  if (user_size > user_metadata_limit) {
    throw S3Error{400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed size of 2 KB."};
  }
  return kept;
}

Target copy_source(const http::Headers& headers) {
  auto source = percent_decode(headers.get("X-Amz-Copy-Source"));
  if (!source || source->empty()) throw invalid_argument("X-Amz-Copy-Source is not /bucket/key, percent-encoded.");
  if (source->front() != '/') source->insert(0, "/");
  if (const auto version = source->find("?versionId="); version != std::string::npos) {
    throw S3Error{501, "NotImplemented", "This store keeps no versions."};
  }
  auto target = target_of(*source);
  if (target.bucket.empty() || target.key.empty()) throw invalid_argument("X-Amz-Copy-Source names no object.");
  return target;
}

s3::Verified Api::authenticate(const http::Request& request) const {
  const s3::SignInput input{
      .method = request.method,
      .raw_path = request.raw_path,
      .raw_query = request.raw_query,
      .headers = request.headers,
      .payload_hash = request.headers.find("X-Amz-Content-Sha256").value_or(std::string(s3::unsigned_payload))};
  auto find_secret = [this](const std::string& access_key) -> std::optional<Secret> {
    if (!equal_in_constant_time(access_key, credentials_.access_key)) return std::nullopt;
    return credentials_.secret_key;
  };
  return s3::verify(input, region_, clock_.now(), find_secret);
}

Task<std::string> Api::xml_body(http::Request& request) const {
  auto text = co_await request.text(xml_limit);
  const auto hash = request.headers.get("X-Amz-Content-Sha256");
  if (hash.size() == 64 && lower(hash) != to_hex(sha256(text))) {
    throw S3Error{400, "XAmzContentSHA256Mismatch",
                  "The provided x-amz-content-sha256 does not match what was computed."};
  }
  if (const auto sum = request.headers.find("Content-MD5"); sum && *sum != to_base64(md5(text))) {
    throw S3Error{400, "BadDigest", "The Content-MD5 you specified did not match what we received."};
  }
  co_return text;
}

Task<http::Response> Api::handle(http::Request& request) {
  const auto begin = std::chrono::steady_clock::now();
  const auto target = target_of(request.path);
  const auto operation = operation_of(request, target);
  http::Response response;
  try {
    auto verified = authenticate(request);
    if (!verified.ok) {
      const bool malformed =
          verified.error_code.starts_with("Invalid") || verified.error_code.starts_with("Authorization");
      const int status = malformed && verified.error_code != "InvalidAccessKeyId" ? 400 : 403;
      throw S3Error{status, verified.error_code, verified.message};
    }
    if (target.key.size() > key_limit) throw S3Error{400, "KeyTooLongError", "Your key is longer than 1024 bytes."};
    response = co_await dispatch({request, target, operation, std::move(verified)});
  } catch (const S3Error& error) {
    response = error_response(request, error.status(), {error.code(), error.message()});
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) {
      log::error("request failed", kv("operation", name_of(operation)),
                 kv("error", describe(std::current_exception())));
    }
    const int status = error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::timeout
                           ? 400
                           : http::status_of(error.kind());
    response = error_response(request, status, document_of(error));
  }
  metrics_.add(name_of(operation), request.method, response.status, std::chrono::steady_clock::now() - begin);
  response.headers.set("x-amz-request-id", request.id);
  co_return response;
}

Task<http::Response> Api::dispatch(Call call) {
  switch (call.operation) {
    case Operation::list_buckets: co_return co_await list_buckets();
    case Operation::create_bucket: co_return co_await create_bucket(call);
    case Operation::head_bucket: store_.require_bucket(call.target.bucket); co_return http::Response::empty(200);
    case Operation::delete_bucket: co_return co_await delete_bucket(call);
    case Operation::get_location:
    case Operation::get_versioning:
    case Operation::get_acl: co_return co_await bucket_location(call);
    case Operation::list_objects:
    case Operation::list_objects_v2: co_return co_await list_objects(call);
    case Operation::list_uploads: co_return co_await list_uploads(call);
    case Operation::delete_objects: co_return co_await delete_objects(call);
    case Operation::put_object: co_return co_await put_object(call);
    case Operation::copy_object: co_return co_await copy_object(call);
    case Operation::get_object:
    case Operation::head_object: co_return co_await get_object(call);
    case Operation::delete_object: co_return co_await delete_object(call);
    case Operation::begin_upload: co_return co_await begin_upload(call);
    case Operation::upload_part: co_return co_await upload_part(call);
    case Operation::copy_part: co_return co_await copy_part(call);
    case Operation::list_parts: co_return co_await list_parts(call);
    case Operation::complete_upload: co_return co_await complete_upload(call);
    case Operation::abort_upload: co_return co_await abort_upload(call);
    case Operation::not_configured: co_return not_configured(call);
    case Operation::not_implemented:
      throw S3Error{501, "NotImplemented", "This store does not offer the functionality that the request asks for."};
    case Operation::not_allowed: break;
  }
  throw S3Error{405, "MethodNotAllowed", "The specified method is not allowed against this resource."};
}

}  // namespace workflow::objectstore
