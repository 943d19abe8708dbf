#include "objectstore/s3_error.h"

#include <cerrno>
#include <cstring>

#include "lib/base/log.h"

namespace workflow::objectstore {

namespace {

ErrorKind kind_of(int status) {
  switch (status) {
    case 403: return ErrorKind::forbidden;
    case 404: return ErrorKind::not_found;
    case 409:
    case 412: return ErrorKind::conflict;
    case 413: return ErrorKind::too_large;
    case 507: return ErrorKind::unavailable;
    default: return status >= 500 ? ErrorKind::internal : ErrorKind::invalid;
  }
}

}  // namespace

S3Error::S3Error(int status, std::string code, std::string message)
    : Error(kind_of(status), std::move(message)), status_(status), code_(std::move(code)) {}

S3Error no_such_bucket(const std::string& bucket) {
  return {404, "NoSuchBucket", "The specified bucket does not exist: " + bucket};
}
S3Error no_such_key(const std::string& key) { return {404, "NoSuchKey", "The specified key does not exist: " + key}; }
S3Error no_such_upload() {
  return {404, "NoSuchUpload", "The upload does not exist: its id is wrong, or it was completed or aborted."};
}
S3Error precondition_failed() {
  return {412, "PreconditionFailed", "At least one of the preconditions you specified did not hold."};
}
S3Error invalid_argument(std::string message) { return {400, "InvalidArgument", std::move(message)}; }
S3Error invalid_request(std::string message) { return {400, "InvalidRequest", std::move(message)}; }
S3Error malformed_xml() {
  return {400, "MalformedXML", "The XML you provided was not well-formed or is not what this operation takes."};
}
S3Error damaged(const std::string& bucket, const std::string& key) {
  return {500, "InternalError", "The object is damaged on disk; restore " + bucket + "/" + key + " or delete it."};
}

S3Error disk_error(int number, const std::string& what, const std::string& path) {
  log::error("disk error", kv("what", what), kv("path", path), kv("error", std::strerror(number)));
  if (number == ENOSPC || number == EDQUOT) {
    return {507, "InsufficientStorage",
            "The object store's disk is full: delete objects or enlarge its volume, then try again."};
  }
  return {500, "InternalError", "The object store's disk failed: " + what + "."};
}

}  // namespace workflow::objectstore
