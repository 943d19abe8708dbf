// src/engine/apiserver/audit.h: who changed what, and who was refused: a line of JSON each (audit.k8s.io/v1, level
// Metadata).
//   Owns    <state>/audit/audit.log, and up to three older ones behind it.
//   Says    every change that came through the API, every refusal, every reading of Secrets, every exec and attach; not
//           the heartbeats (Leases, Events), nor other reading. Never a body.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "engine/apiserver/access.h"
#include "engine/apiserver/request_info.h"
#include "lib/base/file.h"

namespace workflow::engine {

// One answered request. Pure: nullopt when nobody needs to know.
struct AuditedRequest {
  const http::Request& request;
  const RequestInfo& info;
  const User& user;           // as whom it was done
  std::string authenticated;  // who asked, when that is somebody else
  int status = 0;
  Time received, answered;
};
std::optional<json::object> audit_event(const AuditedRequest& answered);

class AuditLog {
 public:
  explicit AuditLog(std::filesystem::path folder, std::uint64_t rotate_at = 64u << 20);
  // Never throws: a full disk must not stop the answer. Says once in the program's log that lines are lost.
  void write(const json::object& event);

 private:
  void open();
  void rotate();
  std::filesystem::path folder_;
  std::uint64_t rotate_at_, size_ = 0;
  Fd file_;
  bool failing_ = false;
};

}  // namespace workflow::engine
