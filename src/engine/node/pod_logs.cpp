#include "engine/node/pod_logs.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "engine/node/pod_worker.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;

// The container that is meant when none is named.
std::string chosen_container(const json::object& pod, const PodRecord& record, const std::string& wanted) {
  const auto pod_name = kube::name_of(pod);
  if (!wanted.empty()) {
    for (const auto& one : record.containers) {
      if (one.name == wanted) return wanted;
    }
    throw Error(ErrorKind::invalid, "container " + wanted + " is not valid for pod " + pod_name);
  }
  if (const auto annotated = kube::annotation_of(pod, "kubectl.kubernetes.io/default-container"); !annotated.empty()) return annotated;
  std::vector<std::string> names;
  for (const auto& one : record.containers) {
    if (!one.init) names.push_back(one.name);
  }
  if (names.size() == 1) return names[0];
  throw Error(ErrorKind::invalid, "a container name must be specified for pod " + pod_name + ", choose one of: [" + join(names, " ") + "]");
}

const ContainerRecord& record_of(const PodRecord& record, const std::string& container, const std::string& pod_name) {
  for (const auto& one : record.containers) {
    if (one.name == container) return one;
  }
  throw Error(ErrorKind::invalid, "container " + container + " is not valid for pod " + pod_name);
}

// The offset in `text` of its last `count` lines.
std::size_t tail_offset(std::string_view text, std::int64_t count) {
  if (count <= 0) return text.size();
  std::size_t at = text.size();
  if (at > 0 && text[at - 1] == '\n') --at;
  while (at > 0) {
    if (text[at - 1] == '\n' && --count == 0) return at;
    --at;
  }
  return 0;
}

class Writer {
 public:
  Writer(const PodLogOptions& options, http::BodyWriter& to) : options_(options), to_(to) {}
  // False once the limit of bytes is reached.
  Task<bool> write(std::string_view raw, std::optional<Time> since) {
    std::string out;
    std::size_t begin = 0;
    for (std::size_t end; (end = raw.find('\n', begin)) != std::string_view::npos; begin = end + 1) {
      const auto line = parse_log_line(raw.substr(begin, end - begin));
      if (!line) continue;
      if (since) {
        const auto time = parse_rfc3339(line->time);
        if (!time || *time < *since) continue;
      }
      if (options_.timestamps && !inside_line_) out += std::string(line->time) + " ";
      out += line->text;
      inside_line_ = line->partial;
      if (!line->partial) out += '\n';
    }
    if (options_.limit_bytes) {
      const auto left = static_cast<std::size_t>(std::max<std::int64_t>(0, *options_.limit_bytes - written_));
      if (out.size() > left) out.resize(left);
    }
    written_ += static_cast<std::int64_t>(out.size());
    if (!out.empty()) co_await to_.write(out);
    co_return !options_.limit_bytes || written_ < *options_.limit_bytes;
  }

 private:
  const PodLogOptions& options_;
  http::BodyWriter& to_;
  std::int64_t written_ = 0;
  bool inside_line_ = false;
};

std::string read_from(int fd, std::size_t limit) {
  std::string bytes(limit, '\0');
  const auto got = ::read(fd, bytes.data(), bytes.size());
  bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return bytes;
}

}  // namespace

std::optional<LogLine> parse_log_line(std::string_view line) {
  const auto first = line.find(' ');
  const auto second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  const auto third = second == std::string_view::npos ? second : line.find(' ', second + 1);
  if (third == std::string_view::npos) return std::nullopt;
  LogLine out{line.substr(0, first), line.substr(first + 1, second - first - 1), line.substr(third + 1)};
  const auto tag = line.substr(second + 1, third - second - 1);
  if (out.stream != "stdout" && out.stream != "stderr") return std::nullopt;
  out.partial = tag.starts_with('P');
  return out;
}

LogSource log_source(const NodeConfig& config, const json::object& pod, const PodRecord& record, const PodLogOptions& options) {
  const auto name = chosen_container(pod, record, options.container);
  const auto& one = record_of(record, name, kube::name_of(pod));
  int attempt = one.restarts;
  if (options.previous) {
    if (attempt == 0) {
      throw Error(ErrorKind::invalid, "previous terminated container \"" + name + "\" in pod \"" + kube::name_of(pod) + "\" not found");
    }
    --attempt;
  } else if (one.phase == Phase::waiting && attempt == 0) {
    throw Error(ErrorKind::invalid, "container \"" + name + "\" in pod \"" + kube::name_of(pod) + "\" is waiting to start: " + one.reason);
  }
  const auto folder = log_folder(config, kube::namespace_of(pod), kube::name_of(pod), kube::uid_of(pod));
  return {folder / name / (std::to_string(attempt) + ".log"), name, attempt};
}

std::string running_container(const json::object& pod, const PodRecord& record, const std::string& container) {
  const auto& one = record_of(record, chosen_container(pod, record, container), kube::name_of(pod));
  if (one.phase != Phase::running) throw Error(ErrorKind::invalid, "container " + one.name + " is not running");
  return one.id;
}

Task<> stream_log(LogSource source, PodLogOptions options, std::function<bool()> is_over, http::BodyWriter& to) {
  constexpr std::size_t piece = 256u << 10;
  Fd file(::open(source.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && !options.follow) co_return;
  std::optional<Time> since = options.since_time;
  if (options.since_seconds) since = SystemClock().now() - std::chrono::seconds(*options.since_seconds);
  // Watched before the first read, so that nothing written in between is waited for in vain.
  asio::posix::stream_descriptor changes(co_await asio::this_coro::executor);
  if (options.follow) {
    const int notify = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    changes.assign(notify);
    std::filesystem::create_directories(source.file.parent_path());
    if (!file) file = Fd(::open(source.file.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0640));
    ::inotify_add_watch(notify, source.file.c_str(), IN_MODIFY | IN_MOVE_SELF | IN_CLOSE_WRITE);
  }
  if (options.tail_lines) {
    auto whole = co_await offload([path = source.file] { return find_file(path).value_or(""); });
    const auto offset = tail_offset(whole, *options.tail_lines);
    ::lseek(file.get(), static_cast<off_t>(offset), SEEK_SET);
  }
  Writer writer(options, to);
  std::string rest;
  for (;;) {
    const bool over = is_over();
    auto bytes = co_await offload([fd = file.get()] { return read_from(fd, piece); });
    if (!bytes.empty()) {
      rest += bytes;
      const auto end = rest.rfind('\n');
      if (end == std::string::npos) continue;
      const auto whole_lines = rest.substr(0, end + 1);
      rest.erase(0, end + 1);
      if (!co_await writer.write(whole_lines, since)) co_return;
      continue;
    }
    if (!options.follow || over) co_return;
    // A container's end writes nothing: it is looked for now and then, besides the file's changes.
    try {
      co_await with_deadline(200ms, "", changes.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable));
      char events[4096];
      while (::read(changes.native_handle(), events, sizeof events) > 0) {}
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timeout) throw;
    }
  }
}

}  // namespace workflow::engine
