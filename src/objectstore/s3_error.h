// src/objectstore/s3_error.h: the failures of S3's dialect, by the code that its clients look at.
#pragma once
#include <string>

#include "lib/base/error.h"

namespace workflow::objectstore {

class S3Error : public Error {
 public:
  S3Error(int status, std::string code, std::string message);
  int status() const { return status_; }
  const std::string& code() const { return code_; }

 private:
  int status_;
  std::string code_;
};

S3Error no_such_bucket(const std::string& bucket);
S3Error no_such_key(const std::string& key);
S3Error no_such_upload();
S3Error precondition_failed();
S3Error invalid_argument(std::string message);
S3Error invalid_request(std::string message);
S3Error malformed_xml();
S3Error damaged(const std::string& bucket, const std::string& key);
// From errno after a failed system call on the disk; logs it. A full disk becomes 507, naming the remedy.
S3Error disk_error(int number, const std::string& what, const std::string& path);

}  // namespace workflow::objectstore
