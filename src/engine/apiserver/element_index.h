// src/engine/apiserver/element_index.h: where the elements of a list are, by the text of their key, so that merging two
// lists takes one step for each element and not a walk. Of several with the same key it gives the first that is left.
#pragma once
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace workflow::engine {

class ElementIndex {
 public:
  // Positions are added in ascending order.
  void add(std::string key, std::size_t position) { places_[std::move(key)].positions.push_back(position); }
  std::optional<std::size_t> find(const std::string& key) const {
    const auto found = places_.find(key);
    if (found == places_.end() || found->second.taken == found->second.positions.size()) return std::nullopt;
    return found->second.positions[found->second.taken];
  }
  // The same, and the next question for this key gets the element behind it.
  std::optional<std::size_t> take(const std::string& key) {
    const auto position = find(key);
    if (position) ++places_.find(key)->second.taken;
    return position;
  }

 private:
  struct Places {
    std::vector<std::size_t> positions;
    std::size_t taken = 0;
  };
  std::map<std::string, Places> places_;
};

}  // namespace workflow::engine
