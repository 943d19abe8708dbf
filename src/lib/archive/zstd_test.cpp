#include "lib/archive/zstd.h"

#include <gtest/gtest.h>
#include <zstd.h>

namespace workflow::archive {
namespace {

TEST(ZstdStream, is_read_back_whatever_pieces_it_came_in) {
  std::string content;
  for (int i = 0; i < 300'000; ++i) content += static_cast<char>((i * 31) % 251) + std::to_string(i % 7);
  for (const std::size_t piece : {std::size_t{1000}, std::size_t{256} << 10, content.size()}) {
    ZstdStream stream;
    std::string packed;
    for (std::size_t at = 0; at < content.size(); at += piece)
      packed += stream.add(std::string_view(content).substr(at, piece));
    packed += stream.end();
    EXPECT_LT(packed.size(), content.size());
    std::string back(content.size() + 1, '\0');
    back.resize(ZSTD_decompress(back.data(), back.size(), packed.data(), packed.size()));
    EXPECT_EQ(back, content);
  }
}

TEST(ZstdStream, of_nothing_is_a_frame) {
  const auto packed = ZstdStream().end();
  char byte = 0;
  EXPECT_EQ(ZSTD_decompress(&byte, 1, packed.data(), packed.size()), 0u);
  EXPECT_FALSE(packed.empty());
}

}  // namespace
}  // namespace workflow::archive
