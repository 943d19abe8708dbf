// src/builder/refs.h: what a push changes, and what follows from it.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace workflow::builder {

// The id of a git object: 40 hexadecimal digits.
class ObjectId {
 public:
  static std::optional<ObjectId> parse(std::string_view text);
  const std::string& text() const { return text_; }
  std::string brief() const { return text_.substr(0, 8); }
  bool is_null() const {
    return text_.find_first_not_of('0') == std::string::npos;
  }  // of a ref that is made or deleted
  auto operator<=>(const ObjectId&) const = default;

 private:
  explicit ObjectId(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

struct RefUpdate {
  ObjectId before, after;
  std::string ref;
  bool operator==(const RefUpdate&) const = default;
};

// The input of a pre-receive hook (githooks(5)): "<old> <new> <ref>" per line. nullopt when it is anything else.
std::optional<std::vector<RefUpdate>> parse_ref_updates(std::string_view text);

// The input of a reference-transaction hook: the same lines, among others that are none of a push's (of HEAD, of
// symbolic refs), which are left out.
std::vector<RefUpdate> parse_transaction(std::string_view text);

// The branches whose push deploys: those of the app's DEIS_DEPLOY_BRANCH, else master and main.
std::set<std::string> deploy_branches(std::string_view setting);

struct PushPlan {
  std::optional<ObjectId> build;       // the commit to build and release, if any
  std::vector<RefUpdate> deploys;      // the branches that it is pushed to
  std::vector<std::string> notices;    // what is not built, and why
  std::optional<std::string> refusal;  // then nothing of the push is accepted
  bool operator==(const PushPlan&) const = default;
};
PushPlan plan_push(const std::vector<RefUpdate>& updates, const std::set<std::string>& branches);

}  // namespace workflow::builder
