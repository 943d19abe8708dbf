#include "engine/apiserver/audit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::engine {

namespace {

constexpr int older_files = 3;

bool matters(const RequestInfo& info, int status) {
  if (!info.is_resource) return status == 401 || status == 403;
  if (status == 401 || status == 403) return true;
  if (info.subresource == "exec" || info.subresource == "attach" || info.subresource == "portforward") return true;
  const bool reads = info.verb == "get" || info.verb == "list" || info.verb == "watch";
  if (reads) return info.plural == "secrets";
  return info.plural != "leases" && info.plural != "events" && !info.plural.ends_with("reviews");
}

json::object object_reference(const RequestInfo& info) {
  json::object reference{{"resource", info.plural}};
  const std::pair<const char*, const std::string&> parts[] = {{"namespace", info.ns},
                                                              {"name", info.name},
                                                              {"apiGroup", info.group},
                                                              {"apiVersion", info.version},
                                                              {"subresource", info.subresource}};
  for (const auto& [name, text] : parts) {
    if (!text.empty()) reference[name] = text;
  }
  return reference;
}

json::object user_of(const User& user) {
  json::array groups;
  for (const auto& group : user.groups) groups.emplace_back(group);
  json::object result{{"username", user.name}};
  if (!user.uid.empty()) result["uid"] = user.uid;
  result["groups"] = std::move(groups);
  return result;
}

}  // namespace

std::optional<json::object> audit_event(const AuditedRequest& answered) {
  const auto& [request, info, user, authenticated, status, received, done] = answered;
  if (!matters(info, status)) return std::nullopt;
  json::object event{{"kind", "Event"},       {"apiVersion", "audit.k8s.io/v1"}, {"level", "Metadata"},
                     {"auditID", request.id}, {"stage", "ResponseComplete"},     {"requestURI", request.target},
                     {"verb", info.verb}};
  if (authenticated.empty()) {
    event["user"] = user_of(user);
  } else {
    event["user"] = json::object{{"username", authenticated}};
    event["impersonatedUser"] = user_of(user);
  }
  event["sourceIPs"] = json::array{request.peer};
  if (const auto agent = request.headers.get("User-Agent"); !agent.empty()) event["userAgent"] = agent;
  if (info.is_resource) event["objectRef"] = object_reference(info);
  event["responseStatus"] = json::object{{"code", status}};
  event["requestReceivedTimestamp"] = rfc3339_micros(received);
  event["stageTimestamp"] = rfc3339_micros(done);
  return event;
}

AuditLog::AuditLog(std::filesystem::path folder, std::uint64_t rotate_at)
    : folder_(std::move(folder)), rotate_at_(rotate_at) {
  std::error_code failed;
  std::filesystem::create_directories(folder_, failed);
  std::filesystem::permissions(folder_, std::filesystem::perms::owner_all, failed);
  open();
}

void AuditLog::open() {
  const auto path = folder_ / "audit.log";
  file_ = Fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  struct stat info{};
  size_ = file_ && ::fstat(file_.get(), &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

void AuditLog::rotate() {
  const auto numbered = [this](int n) { return folder_ / ("audit.log" + (n == 0 ? "" : "." + std::to_string(n))); };
  std::error_code failed;  // an older file that cannot be moved is lost, and the newest is kept
  for (int n = older_files - 1; n >= 0; --n) std::filesystem::rename(numbered(n), numbered(n + 1), failed);
  open();
}

void AuditLog::write(const json::object& event) {
  if (size_ >= rotate_at_) rotate();
  if (!file_) open();  // a full disk may have kept it from being made
  const auto line = json::serialize(event) + "\n";
  const auto written = file_ ? ::write(file_.get(), line.data(), line.size()) : -1;
  if (written == static_cast<ssize_t>(line.size())) {
    size_ += line.size();
    failing_ = false;
    return;
  }
  const int why = errno;
  // Half a line would spoil the next one.
  if (written > 0 && ::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0) file_.reset();
  if (std::exchange(failing_, true)) return;
  log::error("the audit log cannot be written", kv("folder", folder_.string()),
             kv("error", written > 0 ? "no space left on the disk" : std::strerror(why)));
}

}  // namespace workflow::engine
