// src/router/table/limits.h: how many requests each client made lately, in memory that all workers share.
//   A fixed number of entries, without locks: whoever dies leaves nothing behind that harms. When there are more
//   clients than entries, those are forgotten who could make a request soonest.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace workflow::router::table {

struct Rate {
  std::uint32_t per_second = 0, burst = 1;  // burst: requests that may come at once
};

class RateLimits {
 public:
  static constexpr std::size_t size = 1 << 20;
  explicit RateLimits(void* memory) : buckets_(static_cast<Bucket*>(memory)) {}  // of `size`, of zeros at first
  // Whether a request of `key` may be made at `now`, in microseconds: 0, and it counts; else how long until one may be.
  std::uint64_t take(std::uint64_t key, Rate rate, std::uint64_t now);

 private:
  struct Entry {
    std::atomic<std::uint64_t> key, free_at;  // free_at: when all requests so far are paid for
  };
  static constexpr std::size_t ways = 8;
  struct Bucket {
    Entry entries[ways];
  };
  static constexpr std::size_t bucket_count = size / sizeof(Bucket);
  Entry& entry_for(std::uint64_t key);

  Bucket* buckets_;
};

}  // namespace workflow::router::table
