#include "router/table/traffic.h"

#include <algorithm>
#include <unordered_set>

#include "router/table/layout.h"

namespace workflow::router::table {
namespace {

constexpr std::size_t first_bucket = 5, after_buckets = first_bucket + traffic_buckets;
static_assert(after_buckets + 3 <= 23);

std::size_t bucket_of(std::uint64_t milliseconds) {
  const auto seconds = static_cast<double>(milliseconds) / 1000;
  return static_cast<std::size_t>(std::ranges::lower_bound(traffic_bounds, seconds) - std::begin(traffic_bounds));
}

}  // namespace

std::size_t Traffic::size() { return sizeof(Memory); }

void Traffic::start(std::uint64_t seed) {
  std::uint64_t none_yet = 0;
  memory_->seed.compare_exchange_strong(none_yet, seed | 1);
}

std::uint64_t Traffic::key_of(std::string_view label) const {
  return std::max<std::uint64_t>(hash_of(label, memory_->seed.load(std::memory_order_relaxed)), 1);
}

Traffic::Record* Traffic::find_record(std::uint64_t key) const {
  auto* bucket = &memory_->records[key % (max_apps / ways) * ways];
  for (std::size_t way = 0; way < ways; ++way) {
    if (bucket[way].key.load(std::memory_order_relaxed) == key) return &bucket[way];
  }
  return nullptr;
}

Traffic::Record& Traffic::record_for(std::uint64_t key) {
  if (auto* found = find_record(key)) return *found;
  auto* bucket = &memory_->records[key % (max_apps / ways) * ways];
  for (std::size_t way = 0; way < ways; ++way) {
    std::uint64_t owner = 0;
    if (bucket[way].key.compare_exchange_strong(owner, key) || owner == key) return bucket[way];
  }
  return memory_->others;
}

void Traffic::add(std::string_view label, const Sample& sample) {
  auto& values = record_for(key_of(label)).values;
  const auto count = [&](std::size_t at, std::uint64_t by) { values[at].fetch_add(by, std::memory_order_relaxed); };
  count(std::clamp(sample.status / 100, 1u, 5u) - 1, 1);
  if (sample.kind == Sample::Kind::request) {
    count(first_bucket + bucket_of(sample.milliseconds), 1);
    count(after_buckets, sample.milliseconds);
  }
  count(after_buckets + 1, sample.received);
  count(after_buckets + 2, sample.sent);
}

Sums Traffic::sums_of(const Record& record) {
  const auto value = [&](std::size_t at) { return record.values[at].load(std::memory_order_relaxed); };
  Sums sums;
  for (std::size_t i = 0; i < std::size(sums.by_class); ++i) sums.by_class[i] = value(i);
  for (std::size_t i = 0; i < traffic_buckets; ++i) sums.by_time[i] = value(first_bucket + i);
  sums.milliseconds = value(after_buckets);
  sums.received = value(after_buckets + 1);
  sums.sent = value(after_buckets + 2);
  return sums;
}

Sums Traffic::find(std::string_view label) const {
  const auto* record = find_record(key_of(label));
  return record ? sums_of(*record) : Sums();
}

Sums Traffic::others() const { return sums_of(memory_->others); }

void Traffic::keep_only(const std::vector<std::string_view>& labels) {
  std::unordered_set<std::uint64_t> keys;
  for (const auto label : labels) keys.insert(key_of(label));
  for (auto& record : memory_->records) {
    const auto key = record.key.load(std::memory_order_relaxed);
    if (key == 0 || keys.contains(key)) continue;
    for (auto& value : record.values) value.store(0, std::memory_order_relaxed);
    record.key.store(0, std::memory_order_release);
  }
}

}  // namespace workflow::router::table
