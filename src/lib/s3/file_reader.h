// src/lib/s3/file_reader.h: a part of a file as a request body.
#pragma once
#include <memory>

#include "lib/http/http.h"

namespace workflow::s3 {

class FileReader : public http::BodyReader {
 public:
  FileReader(std::shared_ptr<Fd> fd, std::uint64_t offset, std::uint64_t length)
      : fd_(std::move(fd)), offset_(offset), left_(length), length_(length) {}
  Task<std::string> read() override;
  std::optional<std::uint64_t> length() const override { return length_; }

 private:
  std::shared_ptr<Fd> fd_;
  std::uint64_t offset_, left_, length_;
};

std::uint64_t size_of_file(const Fd& fd);
std::string sha256_of_part(const Fd& fd, std::uint64_t offset, std::uint64_t length);  // raw; blocks

}  // namespace workflow::s3
