#include "controller/turns.h"

#include <sys/resource.h>

#include <algorithm>

#include "lib/base/error.h"

namespace workflow::controller {
namespace {
constexpr std::size_t most_of_all = 1000, most_of_one = 25;
}

Turns::Turn::Turn(Turns& turns, std::string address) : turns_(turns), address_(std::move(address)) {
  const auto found = turns_.addresses_.find(address_);
  if (found != turns_.addresses_.end() && found->second.count >= most_of_one) {
    throw Error(ErrorKind::unavailable,
                "Too many people at your address are signing in at this moment. Try again in a few seconds");
  }
  if (turns_.count_ >= most_of_all) {
    throw Error(ErrorKind::unavailable, "Too many people are signing in at this moment. Try again in a few seconds");
  }
  auto& own = turns_.addresses_[address_];
  ++own.count;
  own.waiting.push_back(this);
  ++turns_.count_;
  turns_.give();
}

Turns::Turn::~Turn() {
  const auto own = turns_.addresses_.find(address_);
  std::erase(own->second.waiting, this);
  if (--own->second.count == 0) turns_.addresses_.erase(own);
  --turns_.count_;
  if (!has_come) return;
  ++turns_.places_;
  turns_.give();
}

// The next address, in a circle, that somebody waits at.
void Turns::give() {
  const auto waits = [](const auto& entry) { return !entry.second.waiting.empty(); };
  while (places_ > 0) {
    auto next = std::find_if(addresses_.upper_bound(last_), addresses_.end(), waits);
    if (next == addresses_.end()) next = std::ranges::find_if(addresses_, waits);
    if (next == addresses_.end()) return;
    last_ = next->first;
    next->second.waiting.front()->has_come = true;
    next->second.waiting.pop_front();
    --places_;
    changed_.notify_all();
  }
}

// A thread's niceness is its own on Linux; where it cannot be changed, the count of places is the bound that is left.
void be_nice() {
  constexpr int niceness = 10;
  thread_local const bool is_nice = setpriority(PRIO_PROCESS, 0, niceness) == 0;
  static_cast<void>(is_nice);
}

}  // namespace workflow::controller
