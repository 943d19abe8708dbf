// src/lib/s3/sigv4.h: the steps of AWS Signature Version 4 that signer and verifier share. Inside lib/s3 only.
//   https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
#pragma once
#include <string>
#include <vector>

#include "lib/s3/s3.h"

namespace workflow::s3 {

constexpr std::string_view algorithm = "AWS4-HMAC-SHA256";

struct Scope {
  std::string date, region;  // date: 20130524
  std::string text() const { return date + "/" + region + "/s3/aws4_request"; }
};

// nullopt: a broken escape in path or query.
std::optional<std::string> canonical_request(const SignInput& input, const std::vector<std::string>& signed_headers);
std::string string_to_sign(const std::string& amz_date, const Scope& scope, const std::string& canonical);
std::string signing_key(const Secret& secret, const Scope& scope);
std::string hex_signature(const std::string& key, std::string_view text);

}  // namespace workflow::s3
