// src/objectstore/operation.h: which S3 operation a request asks for. Pure.
#pragma once
#include <string>

#include "lib/http/http.h"

namespace workflow::objectstore {

enum class Operation {
  list_buckets,
  create_bucket,
  head_bucket,
  delete_bucket,
  get_location,
  get_versioning,
  get_acl,
  list_objects,
  list_objects_v2,
  list_uploads,
  delete_objects,
  put_object,
  copy_object,
  get_object,
  head_object,
  delete_object,
  begin_upload,
  upload_part,
  copy_part,
  list_parts,
  complete_upload,
  abort_upload,
  not_configured,  // asks for a configuration that a bucket of ours never has, such as a policy
  not_implemented,
  not_allowed,
};
std::string_view name_of(Operation operation);  // PutObject, …; for metrics

struct Target {
  std::string bucket, key;  // "": none
};
Target target_of(const std::string& path);  // decoded
Operation operation_of(const http::Request& request, const Target& target);

}  // namespace workflow::objectstore
