#include "objectstore/checksums.h"

#include <zlib.h>

#include <array>
#include <cstdint>

#include "lib/base/encoding.h"

namespace workflow::objectstore {

namespace {

template <typename Integer>
std::string big_endian_base64(Integer value) {
  std::string bytes;
  for (int shift = static_cast<int>(sizeof(Integer)) * 8 - 8; shift >= 0; shift -= 8) {
    bytes += static_cast<char>(value >> shift);
  }
  return to_base64(bytes);
}

class Crc32 : public Checksum {
 public:
  void update(std::string_view bytes) override {
    value_ = ::crc32_z(value_, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  }
  std::string base64() override { return big_endian_base64(static_cast<std::uint32_t>(value_)); }

 private:
  uLong value_ = 0;
};

class Crc32c : public Checksum {
 public:
  void update(std::string_view bytes) override { value_ = crc32c(bytes, value_); }
  std::string base64() override { return big_endian_base64(value_); }

 private:
  std::uint32_t value_ = 0;
};

// CRC-64/NVME: NVM Express NVM Command Set Specification, section 5.2.1.3.4, reflected.
constexpr std::array<std::array<std::uint64_t, 256>, 8> crc64_tables = [] {
  std::array<std::array<std::uint64_t, 256>, 8> tables{};
  for (std::uint64_t i = 0; i < 256; ++i) {
    std::uint64_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? (value >> 1) ^ 0x9a6c9329ac4bc9b5u : value >> 1;
    tables[0][i] = value;
  }
  for (std::size_t t = 1; t < 8; ++t) {
    for (std::size_t i = 0; i < 256; ++i) {
      tables[t][i] = (tables[t - 1][i] >> 8) ^ tables[0][tables[t - 1][i] & 0xff];
    }
  }
  return tables;
}();

class Crc64Nvme : public Checksum {
 public:
  void update(std::string_view bytes) override {
    const auto byte = [&bytes](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
    while (bytes.size() >= 8) {  // slicing by eight
      std::uint64_t next = 0;
      for (std::size_t i = 0; i < 8; ++i) {
        next ^= crc64_tables[7 - i][((value_ >> (8 * i)) & 0xff) ^ byte(i)];
      }
      value_ = next;
      bytes.remove_prefix(8);
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) value_ = (value_ >> 8) ^ crc64_tables[0][(value_ & 0xff) ^ byte(i)];
  }
  std::string base64() override { return big_endian_base64(~value_); }

 private:
  std::uint64_t value_ = ~std::uint64_t{0};
};

class Hash : public Checksum {
 public:
  explicit Hash(DigestKind kind) : digest_(kind) {}
  void update(std::string_view bytes) override { digest_.update(bytes); }
  std::string base64() override { return to_base64(digest_.finish()); }

 private:
  Digest digest_;
};

}  // namespace

std::unique_ptr<Checksum> Checksum::of(std::string_view name) {
  if (name == "crc32") return std::make_unique<Crc32>();
  if (name == "crc32c") return std::make_unique<Crc32c>();
  if (name == "crc64nvme") return std::make_unique<Crc64Nvme>();
  if (name == "sha1") return std::make_unique<Hash>(DigestKind::sha1);
  if (name == "sha256") return std::make_unique<Hash>(DigestKind::sha256);
  return nullptr;
}

}  // namespace workflow::objectstore
