#include "engine/object_bytes.h"

#include <gtest/gtest.h>

#include <boost/json/memory_resource.hpp>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

// Counts what a value asks for, as malloc would be asked.
class Counting : public json::memory_resource {
 public:
  std::size_t bytes = 0;

 private:
  void* do_allocate(std::size_t size, std::size_t) override {
    bytes += size + 16;
    return ::operator new(size);
  }
  void do_deallocate(void* block, std::size_t, std::size_t) override { ::operator delete(block); }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

TEST(ObjectBytes, are_about_what_is_allocated) {
  std::string many = "{";
  for (int i = 0; i < 200; ++i) many += "\"key-" + std::to_string(i) + "\":[1,2,{\"a\":\"a text that does not fit\"}],";
  many += "\"last\":null}";
  const std::string texts[] = {R"({"text":")" + std::string(900'000, 'x') + R"("})", many, R"({"a":{"b":{"c":[]}}})",
                               R"({"short":"text","number":1,"yes":true})"};
  for (const auto& text : texts) {
    Counting memory;
    json::value value(&memory);
    value = json::parse(text, &memory);
    const auto counted = bytes_of(value.get_object());
    EXPECT_GE(counted * 10, memory.bytes * 9) << text.substr(0, 40);
    EXPECT_LE(counted * 10, (memory.bytes + 64) * 13) << text.substr(0, 40);
  }
}

}  // namespace
}  // namespace workflow::engine
