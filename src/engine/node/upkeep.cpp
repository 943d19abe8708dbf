#include "engine/node/upkeep.h"

#include <sys/statvfs.h>

#include <algorithm>

#include "engine/fields.h"
#include "engine/node/attempt.h"
#include "lib/base/error.h"
#include "lib/base/image_name.h"
#include "lib/base/log.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;
namespace res = kube::resources;
using namespace std::chrono_literals;

constexpr auto look_every = 10s;
constexpr auto unneeded_for = 10min;
constexpr std::uint64_t least_free = 500u << 20;
constexpr const char* taint = "node.kubernetes.io/disk-pressure";

DiskUse disk_use(const fs::path& folder) {
  struct statvfs info{};
  if (::statvfs(folder.c_str(), &info) != 0) return {};
  return {info.f_blocks * info.f_frsize, info.f_bavail * info.f_frsize, info.f_files, info.f_favail};
}

constexpr std::string_view of_this_machine = "localhost/";

void add_images(std::set<std::string>& to, const json::object& pod_spec) {
  for (const char* kind : {"initContainers", "containers"}) {
    for (const auto& container : array_at(pod_spec, {kind})) {
      if (!container.is_object()) continue;
      to.insert(text_at(container.get_object(), {"image"}));
      for (const auto& variable : array_at(container.get_object(), {"env"})) {
        auto value = variable.is_object() ? text_at(variable.get_object(), {"value"}) : std::string();
        if (value.starts_with(of_this_machine)) to.insert(std::move(value));
      }
    }
  }
}

// A component's settings name the images of the pods that it will make.
void add_settings(std::set<std::string>& to, const json::object& config_map) {
  for (const auto& [key, value] : object_at(config_map, {"data"})) {
    if (value.is_string() && value.get_string().starts_with(of_this_machine)) to.emplace(value.get_string());
  }
}

}  // namespace

bool is_disk_pressure(const DiskUse& disk, bool before) {
  if (disk.total == 0) return false;
  const auto floor = std::min<std::uint64_t>(std::max<std::uint64_t>(disk.total / 20, least_free), disk.total / 4);
  const auto enough = before ? floor + floor / 2 : floor;
  const bool inodes_left = disk.inodes == 0 || disk.free_inodes >= disk.inodes / (before ? 13 : 20);
  return disk.available < enough || !inodes_left;
}

std::set<std::string> needed_images(const Store& store) {
  std::set<std::string> needed;
  for (const auto& pod : store.list(res::pods)) add_images(needed, object_at(*pod, {"spec"}));
  for (const auto* r : {&res::deployments, &res::replica_sets, &res::daemon_sets, &res::jobs,
                        &res::replication_controllers, &res::stateful_sets}) {
    for (const auto& object : store.list(*r)) add_images(needed, object_at(*object, {"spec", "template", "spec"}));
  }
  for (const auto& object : store.list(res::cron_jobs))
    add_images(needed, object_at(*object, {"spec", "jobTemplate", "spec", "template", "spec"}));
  for (const auto& object : store.list(res::config_maps)) add_settings(needed, *object);
  std::set<std::string> names;
  for (const auto& image : needed) names.insert(ImageName::split(image).full());
  return names;
}

ImagePlan plan_images(const std::vector<cri::Image>& images, const std::set<std::string>& needed, const DiskUse& disk,
                      bool pressure, std::map<std::string, Time> unneeded_since, Time now) {
  ImagePlan plan;
  std::set<std::string> repositories;
  for (const auto& name : needed) repositories.insert(ImageName::split(name).path());
  for (const auto& image : images) {
    bool keep = false, local = false;
    for (const auto* names : {&image.tags, &image.digests}) {
      for (const auto& name : *names) {
        const bool ours = name.starts_with(of_this_machine);
        local = local || ours;
        keep = keep || needed.contains(name) || (ours && !repositories.contains(ImageName::split(name).path()));
      }
    }
    if (keep) continue;
    const auto known = unneeded_since.find(image.id);
    const auto since = known == unneeded_since.end() ? now : known->second;
    const bool old = now - since >= unneeded_for;
    // One of this machine's may just have been imported for a manifest that is still to come.
    if ((pressure && !local) || (old && (pressure || disk.used_share() >= 0.8))) {
      plan.remove.push_back(image.id);
    } else {
      plan.unneeded_since[image.id] = since;
    }
  }
  return plan;
}

Task<> Upkeep::run() {
  for (;;) {
    if (const auto trouble = co_await attempt(watch_disk()))
      log::warn("upkeep will try again", kv("error", trouble->message()));
    co_await sleep_for(look_every);
  }
}

Task<> Upkeep::watch_disk() {
  const auto disk = disk_use(config_.state);
  const bool pressure = is_disk_pressure(disk, pressure_);
  const bool news = std::exchange(pressure_, pressure) != pressure;
  const auto now = rfc3339(clock_.now());
  auto change = [&](json::object& node) {
    bool changed = false;
    for (auto& item : list(child(node, "status"), "conditions")) {
      auto& condition = item.as_object();
      if (text_at(condition, {"type"}) != "DiskPressure" || (text_at(condition, {"status"}) == "True") == pressure)
        continue;
      condition["status"] = pressure ? "True" : "False";
      condition["reason"] = pressure ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure";
      condition["message"] =
          pressure ? "the disk of " + config_.state.string() + " is nearly full: new pods wait until there is space"
                   : "enough disk";
      condition["lastTransitionTime"] = condition["lastHeartbeatTime"] = now;
      changed = true;
    }
    auto& taints = list(child(node, "spec"), "taints");
    const auto found =
        std::ranges::find_if(taints, [](const json::value& t) { return text_at(t.as_object(), {"key"}) == taint; });
    if (pressure && found == taints.end()) {
      taints.push_back(json::object{{"key", taint}, {"effect", "NoSchedule"}, {"timeAdded", now}});
      changed = true;
    } else if (!pressure && found != taints.end()) {
      taints.erase(found);
      changed = true;
    }
    if (taints.empty()) child(node, "spec").erase("taints");
    return changed;
  };
  const auto node = co_await store_.edit(res::nodes, "", config_.node_name, change);
  if (news && node) {
    log::warn(pressure ? "the disk is nearly full" : "the disk has space again", kv("available", disk.available >> 20),
              kv("unit", "MiB"));
    co_await record_event(
        store_, clock_, node, pressure ? "Warning" : "Normal",
        pressure ? "NodeHasDiskPressure" : "NodeHasNoDiskPressure",
        "Node " + config_.node_name + " status is now: " + (pressure ? "NodeHasDiskPressure" : "NodeHasNoDiskPressure"),
        "kubelet");
  }
  if (pressure || disk.used_share() >= 0.8) co_await remove_images(disk);
}

Task<> Upkeep::remove_images(const DiskUse& disk) {
  const auto images = co_await runtime_.list_images();
  // Asked for after the list, so that a pod that came meanwhile counts.
  auto plan = plan_images(images, needed_images(store_), disk, pressure_, std::move(unneeded_since_), clock_.now());
  unneeded_since_ = std::move(plan.unneeded_since);
  for (const auto& id : plan.remove) {
    log::info("image removed: nothing needs it", kv("image", id));
    co_await runtime_.remove_image(id);
  }
}

}  // namespace workflow::engine
