#include "objectstore/object_file.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"

namespace workflow::objectstore {
namespace {

Metadata example() {
  return {.bucket = "b",
          .key = "k\n/ü",
          .etag = "0123",
          .modified = Time(std::chrono::nanoseconds(1234567890123)),
          .headers = {{"content-type", "a/b"}, {"x-amz-meta-odd", std::string("\xff\x01", 2)}}};
}

TEST(Tail, decodes_to_what_was_encoded) {
  const Tail tail{.metadata = example(), .size = 3 * block_size - 1, .block_sums = {1, 2, 0xffffffff}};
  const auto bytes = encode_tail(tail);
  EXPECT_EQ(decode_tail(bytes), tail);
  const auto footer = std::string_view(bytes).substr(bytes.size() - footer_size);
  EXPECT_EQ(tail_size(footer, tail.size + bytes.size()), bytes.size());
  EXPECT_FALSE(tail_size(footer, tail.size + bytes.size() - 1));
}

TEST(Tail, refuses_any_changed_byte) {
  const auto bytes = encode_tail({.metadata = example(), .size = 1, .block_sums = {7}});
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 0x10);
    EXPECT_FALSE(decode_tail(changed)) << i;
  }
}

struct File {
  TemporaryFolder folder;
  std::filesystem::path path = folder.path() / "object";

  std::string write(std::size_t size, std::size_t piece) {
    std::string body;
    for (std::size_t i = 0; i < size; ++i) body += static_cast<char>(i * 31 + i / 1000);
    ObjectWriter writer(path);
    for (std::size_t at = 0; at < size; at += piece) writer.append(std::string_view(body).substr(at, piece));
    EXPECT_EQ(writer.md5_hex(), to_hex(md5(body)));
    writer.finish(example());
    writer.keep();
    return body;
  }
};

TEST(ObjectFile, reads_back_any_range) {
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, block_size - 1, block_size, block_size + 1, 5 * block_size + 17}) {
    File file;
    const auto body = file.write(size, 70'001);
    const auto object = ObjectReader::open(file.path);
    ASSERT_TRUE(object);
    EXPECT_EQ(object->size(), size);
    EXPECT_EQ(object->metadata(), example());
    for (const std::size_t offset : {std::size_t{0}, std::size_t{5}, block_size - 1, block_size, size / 2, size}) {
      std::string read;
      for (;;) {
        const auto piece = object->read(offset + read.size(), size);
        if (piece.empty()) break;
        read += piece;
      }
      EXPECT_TRUE(read == (offset < size ? body.substr(offset) : "")) << size << " " << offset;
    }
    EXPECT_EQ(object->read(size / 2, 3), body.substr(size / 2, 3));
  }
}

TEST(ObjectFile, is_gone_unless_kept) {
  File file;
  {
    ObjectWriter writer(file.path);
  }
  EXPECT_FALSE(ObjectReader::open(file.path));
}

TEST(ObjectFile, never_gives_changed_bytes) {
  File file;
  const auto body = file.write(3 * block_size, 1'000'000);
  auto bytes = read_file(file.path);
  bytes[block_size + 9] = static_cast<char>(bytes[block_size + 9] ^ 1);
  write_file_atomically(file.path, bytes);
  const auto object = ObjectReader::open(file.path);
  EXPECT_EQ(object->read(0, block_size), body.substr(0, block_size));
  EXPECT_THROW(object->read(block_size, 1), Error);
  EXPECT_THROW(object->read(0, body.size()), Error);
  EXPECT_EQ(object->read(2 * block_size, 10), body.substr(2 * block_size, 10));
}

TEST(ObjectFile, refuses_a_file_that_was_cut) {
  File file;
  file.write(1000, 1000);
  const auto bytes = read_file(file.path);
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, std::size_t{1000}, bytes.size() - 1}) {
    write_file_atomically(file.path, bytes.substr(0, size));
    EXPECT_THROW(ObjectReader::open(file.path), Error) << size;
  }
}

}  // namespace
}  // namespace workflow::objectstore
