// src/router/table/traffic.h: what each app's requests came to, counted by workers and read by the router.
//   <folder>/traffic, mapped by all of them: a fixed number of records, each found by the hash of its app's label, and
//   one for whoever has none. Sums only, without locks: a worker that dies costs the request that it was counting.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <vector>

namespace workflow::router::table {

constexpr double traffic_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
constexpr std::size_t traffic_buckets = std::size(traffic_bounds) + 1;  // the last: longer

struct Sample {
  unsigned status = 0;
  std::uint64_t milliseconds = 0, received = 0, sent = 0;
  enum class Kind { request, connection } kind = Kind::request;  // connection: how long it lasts is no latency
};

struct Sums {
  std::uint64_t by_class[5] = {};  // 1xx to 5xx
  std::uint64_t by_time[traffic_buckets] = {};
  std::uint64_t milliseconds = 0, received = 0, sent = 0;
  bool operator==(const Sums&) const = default;
};

class Traffic {
 public:
  static constexpr std::size_t max_apps = 16384;
  static std::size_t size();
  explicit Traffic(void* memory) : memory_(static_cast<Memory*>(memory)) {}  // of size(), of zeros at first
  // For the router, before anybody counts: hashes depend on it, so that nobody chooses labels that meet.
  void start(std::uint64_t seed);

  void add(std::string_view label, const Sample& sample);
  Sums find(std::string_view label) const;  // zeros: nothing was counted
  Sums others() const;                      // of apps that found no record
  // Gives the records of all others to whoever comes next.
  void keep_only(const std::vector<std::string_view>& labels);

 private:
  struct Record {
    std::atomic<std::uint64_t> key;  // 0: free
    std::atomic<std::uint64_t> values[23];
  };
  static constexpr std::size_t ways = 16;
  struct Memory {
    std::atomic<std::uint64_t> seed;
    std::atomic<std::uint64_t> unused[7];
    Record others;
    Record records[max_apps];
  };
  std::uint64_t key_of(std::string_view label) const;
  Record* find_record(std::uint64_t key) const;
  Record& record_for(std::uint64_t key);
  static Sums sums_of(const Record& record);

  Memory* memory_;
};

}  // namespace workflow::router::table
