// src/objectstore/api.h: S3 requests to the store, and its answers as S3 responses.
#pragma once
#include <string>

#include "lib/base/clock.h"
#include "lib/http/http.h"
#include "lib/http/metrics.h"
#include "lib/s3/s3.h"
#include "objectstore/operation.h"
#include "objectstore/store.h"

namespace workflow::objectstore {

class Api {
 public:
  Api(Store& store, s3::Credentials credentials, std::string region, const Clock& clock)
      : store_(store), credentials_(std::move(credentials)), region_(std::move(region)), clock_(clock) {}

  Task<http::Response> handle(http::Request& request);
  const http::RequestMetrics& metrics() const { return metrics_; }  // by operation

 private:
  struct Call {
    http::Request& request;
    Target target;
    Operation operation;
    s3::Verified verified;
  };
  s3::Verified authenticate(const http::Request& request) const;
  Task<http::Response> dispatch(Call call);
  Task<std::string> xml_body(http::Request& request) const;  // checked against Content-MD5 and the signed hash

  // api_buckets.cpp
  Task<http::Response> list_buckets();
  Task<http::Response> create_bucket(Call& call);
  Task<http::Response> delete_bucket(Call& call);
  Task<http::Response> bucket_location(Call& call);
  http::Response not_configured(Call& call);
  Task<http::Response> list_objects(Call& call);
  Task<http::Response> list_uploads(Call& call);
  Task<http::Response> delete_objects(Call& call);

  // api_objects.cpp
  Task<http::Response> put_object(Call& call);
  Task<http::Response> copy_object(Call& call);
  Task<http::Response> get_object(Call& call);
  Task<http::Response> delete_object(Call& call);

  // api_uploads.cpp
  Task<http::Response> begin_upload(Call& call);
  Task<http::Response> upload_part(Call& call);
  Task<http::Response> copy_part(Call& call);
  Task<http::Response> list_parts(Call& call);
  Task<http::Response> complete_upload(Call& call);
  Task<http::Response> abort_upload(Call& call);

  Store& store_;
  s3::Credentials credentials_;
  std::string region_;
  const Clock& clock_;
  http::RequestMetrics metrics_;
};

// Shared by the files above.
http::Response xml_response(std::string document);
std::string quoted(const std::string& etag);
std::string unquoted(std::string etag);
std::string s3_time(Time time);  // 2026-01-02T03:04:05.000Z
WriteConditions write_conditions(const http::Headers& headers);
// The headers of an upload that are kept with the object and sent back. Throws for those that ask for what we do not
// have.
std::vector<std::pair<std::string, std::string>> kept_headers(const http::Headers& headers);
Target copy_source(const http::Headers& headers);

}  // namespace workflow::objectstore
