#include "engine/proxy/network.h"

#include <charconv>
#include <cstdio>

#include "lib/async/process.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/json/json.h"

namespace workflow::engine {

using namespace std::chrono_literals;

std::optional<Ipv4> Ipv4::parse(std::string_view text) {
  Ipv4 out;
  const char* at = text.data();
  const char* end = at + text.size();
  for (int part = 0; part < 4; ++part) {
    if (part > 0 && (at == end || *at++ != '.')) return std::nullopt;
    unsigned number = 0;
    auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc() || number > 255 || next - at > 3) return std::nullopt;
    out.value = out.value << 8 | number;
    at = next;
  }
  if (at != end) return std::nullopt;
  return out;
}

std::string Ipv4::text() const {
  return std::to_string(value >> 24) + "." + std::to_string(value >> 16 & 255) + "." +
         std::to_string(value >> 8 & 255) + "." + std::to_string(value & 255);
}

namespace {
std::uint32_t mask(int prefix) { return prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix); }
}  // namespace

std::optional<Cidr> Cidr::parse(std::string_view text) {
  auto slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  auto address = Ipv4::parse(text.substr(0, slash));
  auto prefix = parse_integer(text.substr(slash + 1));
  if (!address || !prefix || *prefix < 0 || *prefix > 32) return std::nullopt;
  Cidr out{*address, static_cast<int>(*prefix)};
  if (address->value & ~mask(out.prefix)) return std::nullopt;
  return out;
}

std::string Cidr::text() const { return base.text() + "/" + std::to_string(prefix); }
bool Cidr::contains(Ipv4 address) const { return (address.value & mask(prefix)) == base.value; }
bool Cidr::overlaps(const Cidr& other) const { return contains(other.base) || other.contains(base); }

NetworkConfig network_config(const std::filesystem::path& state, std::string_view pod_cidr,
                             std::string_view service_cidr) {
  Error::Fields problems;
  auto cidr = [&](const char* name, std::string_view text, int longest) {
    auto value = Cidr::parse(text);
    if (!value)
      problems[name].push_back("must be an IPv4 network such as 10.42.0.0/24, with no bits set after the prefix");
    else if (value->prefix < 8 || value->prefix > longest)
      problems[name].push_back("must have a prefix from /8 to /" + std::to_string(longest));
    return value.value_or(Cidr{});
  };
  NetworkConfig out;
  out.pod_cidr = cidr("pod-cidr", pod_cidr, 28);
  out.service_cidr = cidr("service-cidr", service_cidr, 27);
  if (problems.empty() && out.pod_cidr.overlaps(out.service_cidr))
    problems["service-cidr"].push_back("must not overlap with pod-cidr");
  if (!problems.empty()) throw Error{problems};
  out.id = to_hex(sha256(std::filesystem::absolute(state).lexically_normal().string())).substr(0, 6);
  out.bridge = "wf-" + out.id;
  out.table = "workflow_" + out.id;
  out.gateway = out.pod_cidr.at(1);
  out.kubernetes_ip = out.service_cidr.at(1);
  out.dns_ip = out.service_cidr.at(10);
  return out;
}

namespace {

void set_kernel(const std::string& name, const std::string& value) {
  auto path = "/proc/sys/" + replace_all(name, ".", "/");
  if (auto now = find_file(path); now && trim(*now) == value) return;
  std::FILE* file = std::fopen(path.c_str(), "we");
  bool ok = file && std::fputs(value.c_str(), file) >= 0;
  if (file) ok = std::fclose(file) == 0 && ok;
  if (!ok)
    throw Error{ErrorKind::unavailable, "The kernel setting " + name + " must be " + value + " and cannot be set. " +
                                            "Run as root, and set it with sysctl if this is a container."};
}

// The MTU of the interface that the default route leaves through.
int uplink_mtu() {
  auto routes = find_file("/proc/net/route").value_or("");
  for (const auto& line : split(routes, '\n')) {
    auto fields = split(line, '\t');
    if (fields.size() < 2 || fields[1] != "00000000") continue;
    auto mtu = find_file("/sys/class/net/" + fields[0] + "/mtu");
    if (auto number = mtu ? parse_integer(trim(*mtu)) : std::nullopt) return static_cast<int>(*number);
  }
  return 1500;
}

// `ip` by argument vector; its complaint becomes the error.
Task<std::string> ip(std::vector<std::string> arguments) {
  std::vector<std::string> argv{"ip"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  ProcessSpec spec{.argv = argv, .out = ProcessSpec::Stream::pipe, .err = ProcessSpec::Stream::pipe};
  auto result = co_await run(std::move(spec), 10s);
  if (result.status != 0)
    throw Error{ErrorKind::unavailable, "The pod network cannot be set up: ip " + join(arguments, " ") +
                                            " said: " + std::string(trim(result.err))};
  co_return result.out;
}

// Another interface whose network includes one of ours would swallow the pods' packets.
Task<> refuse_overlap(const NetworkConfig& network) {
  auto listing = co_await ip({"-j", "-4", "addr", "show"});
  auto links = parse_json(listing);
  if (!links || !links->is_array()) co_return;
  for (const auto& link : links->as_array()) {
    auto name = find_string(link, {"ifname"}).value_or("");
    if (name == network.bridge) continue;
    const auto* addresses = find_path(link, {"addr_info"});
    if (!addresses || !addresses->is_array()) continue;
    for (const auto& address : addresses->as_array()) {
      auto local = Ipv4::parse(find_string(address, {"local"}).value_or(""));
      if (!local) continue;
      for (const auto* cidr : {&network.pod_cidr, &network.service_cidr})
        if (cidr->contains(*local))
          throw Error{ErrorKind::unavailable, "Interface " + name + " has the address " + local->text() + ", inside " +
                                                  cidr->text() + ", which the engine needs. Choose another network " +
                                                  "with --pod-cidr and --service-cidr."};
    }
  }
}

}  // namespace

namespace {

// What pods send to each other crosses the bridge alone; rules see it only with this. For our bridge, not for others'.
Task<> filter_bridge(NetworkConfig network) {
  if (!std::filesystem::exists("/proc/sys/net/bridge")) {
    ProcessSpec spec{
        .argv = {"modprobe", "br_netfilter"}, .out = ProcessSpec::Stream::null, .err = ProcessSpec::Stream::null};
    try {
      co_await run(std::move(spec), 10s);
    } catch (const Error&) {
      // No modprobe: the kernel has it or has not.
    }
  }
  auto turn_on = [file = "/sys/class/net/" + network.bridge + "/bridge/nf_call_iptables"] {
    if (std::FILE* setting = std::fopen(file.c_str(), "we")) {
      std::fputs("1", setting);
      std::fclose(setting);
    }
  };
  co_await offload(turn_on);
  if (!is_bridge_filtered(network))
    log::warn("NetworkPolicies do not hold between pods: the kernel has no br_netfilter");
}

}  // namespace

std::string bridge_hardware_address(const NetworkConfig& network) {
  char text[18];
  const auto ip = network.gateway.value;
  std::snprintf(text, sizeof text, "0a:58:%02x:%02x:%02x:%02x", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
  return text;
}

Task<> prepare_network(NetworkConfig network) {
  co_await refuse_overlap(network);
  if (!std::filesystem::exists("/sys/class/net/" + network.bridge)) {
    co_await ip({"link", "add", "name", network.bridge, "type", "bridge"});
    log::info("bridge created", kv("bridge", network.bridge), kv("pods", network.pod_cidr.text()));
  }
  // A bridge takes the smallest hardware address of its ports by itself: it would change as pods come and go, and pods
  // that remember the old one would talk to nobody. One that was set stays.
  if (find_file("/sys/class/net/" + network.bridge + "/address").value_or("") !=
      bridge_hardware_address(network) + "\n") {
    co_await ip({"link", "set", "dev", network.bridge, "address", bridge_hardware_address(network)});
  }
  // A bridge takes the smallest MTU of its ports by itself; set here, it is right before the first pod.
  co_await ip({"link", "set", "dev", network.bridge, "mtu", std::to_string(uplink_mtu()), "up"});
  co_await ip({"addr", "replace", network.gateway.text() + "/" + std::to_string(network.pod_cidr.prefix), "dev",
               network.bridge});
  co_await ip({"addr", "replace", network.dns_ip.text() + "/32", "dev", network.bridge});
  auto settings = [bridge = network.bridge] {
    set_kernel("net.ipv4.ip_forward", "1");
    // Lets 127.0.0.1:<port> of the host reach pods: replies to a loopback address come in through the bridge.
    set_kernel("net.ipv4.conf." + bridge + ".route_localnet", "1");
    set_kernel("net.ipv4.conf." + bridge + ".rp_filter", "0");
  };
  co_await offload(settings);
  co_await filter_bridge(network);
}

bool is_bridge_filtered(const NetworkConfig& network) {
  const auto says_one = [](const std::string& file) { return find_file(file).value_or("").starts_with("1"); };
  return says_one("/proc/sys/net/bridge/bridge-nf-call-iptables") ||
         says_one("/sys/class/net/" + network.bridge + "/bridge/nf_call_iptables");
}

Task<> remove_network(NetworkConfig network) {
  for (const char* family : {"ip", "ip6"}) {
    ProcessSpec spec{.argv = {"nft", "-f", "-"},
                     .in = ProcessSpec::Stream::pipe,
                     .out = ProcessSpec::Stream::null,
                     .err = ProcessSpec::Stream::pipe};
    auto table = std::string(family) + " " + network.table;
    auto result = co_await run(std::move(spec), 10s, "add table " + table + "\ndelete table " + table + "\n");
    if (result.status != 0) log::warn("nftables table not removed", kv("table", table), kv("reason", trim(result.err)));
  }
  if (std::filesystem::exists("/sys/class/net/" + network.bridge))
    co_await ip({"link", "delete", "dev", network.bridge});
}

}  // namespace workflow::engine
