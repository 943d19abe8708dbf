// src/objectstore/listing.h: which part of a bucket's keys a listing shows. Pure.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lib/base/clock.h"

namespace workflow::objectstore {

struct Entry {
  std::uint64_t size = 0;
  std::string etag;
  Time modified{};
};
using Index = std::map<std::string, Entry>;  // by key, in the order of bytes, as S3 lists

struct ListQuery {
  std::string prefix, delimiter;
  std::string after;  // only keys (and common prefixes) after this one
  std::size_t limit = 1000;
};
struct ListPage {
  std::vector<std::pair<std::string, Entry>> objects;
  std::vector<std::string> common_prefixes;
  bool truncated = false;
  std::string last;  // of what the page shows; the next page's `after`
};
// Costs what it shows, not what it skips: a common prefix is passed in one step, however many keys it holds.
ListPage list(const Index& index, const ListQuery& query);

}  // namespace workflow::objectstore
