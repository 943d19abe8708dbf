// src/builder/packets.h: as much of git's protocol (gitprotocol-common(5), gitprotocol-pack(5)) as a relay between two
// gits must know.
#pragma once
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace workflow::builder {

// Follows a stream of packets, in whatever pieces it comes.
class PacketReader {
 public:
  // Whether the stream is between two packets: a packet put in here breaks none. Never again once what came was no
  // packet.
  bool at_boundary() const { return !broken_ && head_.empty() && left_ == 0; }
  // Takes from `bytes` what belongs to the packet under way, at most one; returns true when that packet is complete.
  bool take(std::string_view& bytes);
  void skip(std::string_view bytes);  // all of them
  // What the last packet held, cut at 64 KiB; "" for flush packets and their like, which is_special() tells apart.
  const std::string& payload() const { return payload_; }
  bool is_special() const { return special_; }
  bool broken() const { return broken_; }

 private:
  std::string head_, payload_;
  std::size_t left_ = 0;
  bool special_ = false, broken_ = false, fresh_ = true;
};

// What a git that pushes can do, said with its first command ("<old> <new> <ref>\0<capabilities>").
class PushRequest {
 public:
  void feed(std::string_view bytes);
  bool can(std::string_view capability) const { return capabilities_.contains(std::string(capability)); }

 private:
  PacketReader packets_;
  std::set<std::string> capabilities_;
  bool done_ = false;
};

// What became of the refs of a push, as git-receive-pack says it last of all.
struct RefResult {
  std::string ref;
  std::string refusal;  // "": stored
};
enum class Sideband { no, yes };
std::string report_packets(const std::vector<RefResult>& results, Sideband sideband);

// Text for who pushes, as packets of the side band that git shows behind "remote: ".
std::string sideband_packets(std::string_view text);

}  // namespace workflow::builder
