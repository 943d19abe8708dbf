#include "engine/node/node_object.h"

#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

namespace workflow::engine {

std::uint64_t memory_of_machine(std::string_view field) {
  for (const auto& line : split(find_file("/proc/meminfo").value_or(""), '\n')) {
    if (!line.starts_with(field)) continue;
    const auto text = trim(std::string_view(line).substr(field.size() + 1));
    return static_cast<std::uint64_t>(parse_integer(text.substr(0, text.find(' '))).value_or(0)) * 1024;
  }
  return 0;
}

json::object node_object(const NodeConfig& config, const std::string& runtime_version) {
  utsname kernel{};
  ::uname(&kernel);
  struct statvfs disk{};
  ::statvfs(config.state.c_str(), &disk);
  const auto cores = std::to_string(::sysconf(_SC_NPROCESSORS_ONLN));
  json::object capacity{{"cpu", cores},
                        {"memory", std::to_string(memory_of_machine("MemTotal") / 1024) + "Ki"},
                        {"ephemeral-storage", std::to_string(disk.f_blocks * disk.f_frsize / 1024) + "Ki"},
                        {"pods", "250"}};
  const auto now = rfc3339(SystemClock().now());
  auto condition = [&](const char* type, const char* status, const char* reason, const char* message) {
    return json::object{
        {"type", type},     {"status", status},  {"lastHeartbeatTime", now}, {"lastTransitionTime", now},
        {"reason", reason}, {"message", message}};
  };
  const auto os = find_file("/etc/os-release").value_or("");
  std::string os_image = "Linux";
  for (const auto& line : split(os, '\n')) {
    if (line.starts_with("PRETTY_NAME=")) os_image = replace_all(line.substr(12), "\"", "");
  }
  return {{"apiVersion", "v1"},
          {"kind", "Node"},
          {"metadata",
           {{"name", config.node_name},
            {"labels",
             {{"kubernetes.io/hostname", config.node_name},
              {"kubernetes.io/os", "linux"},
              {"kubernetes.io/arch", "amd64"},
              {"node-role.kubernetes.io/control-plane", ""}}}}},
          {"spec", {{"podCIDR", config.network.pod_cidr.text()}, {"podCIDRs", {config.network.pod_cidr.text()}}}},
          {"status",
           {{"capacity", capacity},
            {"allocatable", capacity},
            {"addresses",
             {{{"type", "InternalIP"}, {"address", config.network.gateway.text()}},
              {{"type", "Hostname"}, {"address", config.node_name}}}},
            {"conditions",
             {condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "enough memory"),
              condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "enough disk"),
              condition("PIDPressure", "False", "KubeletHasSufficientPID", "enough process numbers"),
              condition("Ready", "True", "KubeletReady", "the node agent runs")}},
            {"nodeInfo",
             {{"machineID", std::string(trim(find_file("/etc/machine-id").value_or("")))},
              {"kernelVersion", kernel.release},
              {"osImage", os_image},
              {"containerRuntimeVersion", "containerd://" + runtime_version},
              {"kubeletVersion", "v1.32.0"},
              {"kubeProxyVersion", "v1.32.0"},
              {"operatingSystem", "linux"},
              {"architecture", "amd64"},
              {"bootID", std::string(trim(find_file("/proc/sys/kernel/random/boot_id").value_or("")))},
              {"systemUUID", ""}}}}}};
}

}  // namespace workflow::engine
