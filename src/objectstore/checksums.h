// src/objectstore/checksums.h: the checksums that a client may send along with an upload (x-amz-checksum-…).
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace workflow::objectstore {

// A checksum fed piece by piece.
class Checksum {
 public:
  // By the name in the header: crc32, crc32c, crc64nvme, sha1, sha256. nullptr: unknown.
  static std::unique_ptr<Checksum> of(std::string_view name);
  virtual ~Checksum() = default;
  virtual void update(std::string_view bytes) = 0;
  virtual std::string base64() = 0;  // as the header carries it; once
};

}  // namespace workflow::objectstore
