#include "objectstore/listing.h"

namespace workflow::objectstore {

namespace {

// The first key that does not begin with `prefix` and comes after those that do.
Index::const_iterator end_of_prefix(const Index& index, std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff) prefix.pop_back();
  if (prefix.empty()) return index.end();
  prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return index.lower_bound(prefix);
}

}  // namespace

ListPage list(const Index& index, const ListQuery& query) {
  ListPage page;
  auto at = index.lower_bound(query.prefix);
  if (query.after >= query.prefix && !query.after.empty()) {
    // A page that ended with a common prefix goes on after all of its keys.
    const auto cut = query.delimiter.empty() || !query.after.starts_with(query.prefix)
                         ? std::string::npos
                         : query.after.find(query.delimiter, query.prefix.size());
    const bool was_group = cut != std::string::npos && cut + query.delimiter.size() == query.after.size();
    at = was_group ? end_of_prefix(index, query.after) : index.upper_bound(query.after);
  }
  while (at != index.end() && at->first.starts_with(query.prefix)) {
    if (page.objects.size() + page.common_prefixes.size() >= query.limit) {
      page.truncated = query.limit > 0;
      return page;
    }
    const auto cut = query.delimiter.empty() ? std::string::npos : at->first.find(query.delimiter, query.prefix.size());
    if (cut == std::string::npos) {
      page.objects.emplace_back(at->first, at->second);
      page.last = at->first;
      ++at;
    } else {
      page.last = at->first.substr(0, cut + query.delimiter.size());
      page.common_prefixes.push_back(page.last);
      at = end_of_prefix(index, page.last);
    }
  }
  return page;
}

}  // namespace workflow::objectstore
