#include "builder/refs.h"

#include <algorithm>

#include "builder/command.h"
#include "lib/base/text.h"

namespace workflow::builder {
namespace {

constexpr std::string_view branch_prefix = "refs/heads/", tag_prefix = "refs/tags/";

std::string list_of(const std::set<std::string>& branches) {
  return join(std::vector<std::string>(branches.rbegin(), branches.rend()), " or ");  // "master or main"
}

std::optional<RefUpdate> parse_update(std::string_view line) {
  if (line.size() < 83 || line[40] != ' ' || line[81] != ' ') return std::nullopt;
  const auto before = ObjectId::parse(line.substr(0, 40)), after = ObjectId::parse(line.substr(41, 40));
  const auto ref = line.substr(82);
  if (!before || !after || !ref.starts_with("refs/")) return std::nullopt;
  return RefUpdate{*before, *after, std::string(ref)};
}

std::string what_is(std::string_view ref) {
  if (ref.starts_with(branch_prefix)) return "branch " + shown(ref.substr(branch_prefix.size()));
  if (ref.starts_with(tag_prefix)) return "tag " + shown(ref.substr(tag_prefix.size()));
  return "ref " + shown(ref);
}

}  // namespace

std::optional<ObjectId> ObjectId::parse(std::string_view text) {
  const bool hex = std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (text.size() != 40 || !hex) return std::nullopt;
  return ObjectId(std::string(text));
}

std::optional<std::vector<RefUpdate>> parse_ref_updates(std::string_view text) {
  std::vector<RefUpdate> updates;
  while (!text.empty()) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    auto update = parse_update(text.substr(0, end));
    if (!update) return std::nullopt;
    updates.push_back(*std::move(update));
    text.remove_prefix(end + 1);
  }
  if (updates.empty()) return std::nullopt;
  return updates;
}

std::vector<RefUpdate> parse_transaction(std::string_view text) {
  std::vector<RefUpdate> updates;
  for (const auto& line : split(text, '\n')) {
    if (auto update = parse_update(line)) updates.push_back(*std::move(update));
  }
  return updates;
}

std::set<std::string> deploy_branches(std::string_view setting) {
  std::set<std::string> branches;
  for (const auto& word : split(replace_all(std::string(setting), " ", ","), ',')) {
    if (!word.empty()) branches.insert(word);
  }
  if (branches.empty()) return {"main", "master"};
  return branches;
}

PushPlan plan_push(const std::vector<RefUpdate>& updates, const std::set<std::string>& branches) {
  constexpr std::size_t most_told = 5;
  PushPlan plan;
  std::string built;  // the branch
  std::string hint;
  std::size_t stored = 0;
  for (const auto& update : updates) {
    const auto& [before, after, ref] = update;
    const bool is_branch = ref.starts_with(branch_prefix);
    const auto name = is_branch ? ref.substr(branch_prefix.size()) : ref;
    if (is_branch && branches.contains(name)) {
      if (after.is_null()) {
        plan.refusal = "The branch " + name +
                       " is what this app runs: it cannot be deleted. To remove the app, use 'deis destroy'.";
      } else if (plan.build && *plan.build != after) {
        plan.refusal =
            "Both " + built + " and " + name + " deploy, and this push gives them different commits: push one of them.";
      } else {
        plan.build = after;
        plan.deploys.push_back(update);
        built = name;
      }
    } else if (!after.is_null() && ++stored <= most_told) {
      plan.notices.push_back("The " + what_is(ref) + " was stored, but not deployed: only " + list_of(branches) +
                             " deploys.");
      if (is_branch) hint = "To deploy it: git push <remote> " + shown(name) + ":" + *branches.rbegin();
    }
  }
  if (stored > most_told) plan.notices.push_back("So were " + std::to_string(stored - most_told) + " more.");
  if (stored == 1 && !hint.empty()) plan.notices.push_back(hint);
  if (plan.refusal) {
    plan.build.reset();
    plan.deploys.clear();
  }
  return plan;
}

}  // namespace workflow::builder
