#include "engine/node/pod_logs.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "engine/node/log_files.h"
#include "engine/node/pod_view.h"
#include "lib/base/error.h"
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
  if (const auto annotated = kube::annotation_of(pod, "kubectl.kubernetes.io/default-container"); !annotated.empty())
    return annotated;
  std::vector<std::string> names;
  for (const auto& one : record.containers) {
    if (!one.init) names.push_back(one.name);
  }
  if (names.size() == 1) return names[0];
  throw Error(ErrorKind::invalid,
              "a container name must be specified for pod " + pod_name + ", choose one of: [" + join(names, " ") + "]");
}

const ContainerRecord& record_of(const PodRecord& record, const std::string& container, const std::string& pod_name) {
  for (const auto& one : record.containers) {
    if (one.name == container) return one;
  }
  throw Error(ErrorKind::invalid, "container " + container + " is not valid for pod " + pod_name);
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

}  // namespace

LogSource log_source(const NodeConfig& config, const json::object& pod, const PodRecord& record,
                     const PodLogOptions& options) {
  const auto name = chosen_container(pod, record, options.container);
  const auto& one = record_of(record, name, kube::name_of(pod));
  int attempt = one.restarts;
  if (options.previous) {
    if (attempt == 0) {
      throw Error(ErrorKind::invalid,
                  "previous terminated container \"" + name + "\" in pod \"" + kube::name_of(pod) + "\" not found");
    }
    --attempt;
  } else if (one.phase == Phase::waiting && attempt == 0) {
    throw Error(ErrorKind::invalid,
                "container \"" + name + "\" in pod \"" + kube::name_of(pod) + "\" is waiting to start: " + one.reason);
  }
  const auto folder = log_folder(config, kube::namespace_of(pod), kube::name_of(pod), kube::uid_of(pod));
  return {log_of_attempt(folder / name, attempt), name, attempt};
}

std::string running_container(const json::object& pod, const PodRecord& record, const std::string& container) {
  const auto& one = record_of(record, chosen_container(pod, record, container), kube::name_of(pod));
  if (one.phase != Phase::running) throw Error(ErrorKind::invalid, "container " + one.name + " is not running");
  return one.id;
}

namespace {

// Tells when a log grows, and when it is set aside for a new file of its name. Without inotify (it has a limit on its
// users) it says so every second.
class LogWatch {
 public:
  LogWatch(const Executor& executor, std::filesystem::path log) : log_(std::move(log)), changes_(executor) {
    if (const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC); fd >= 0) changes_.assign(fd);
    watch(log_.parent_path(), IN_CREATE);
  }
  // Call before what is there now is read.
  void follow() { watch(log_, IN_MODIFY | IN_MOVE_SELF | IN_CLOSE_WRITE); }
  Task<> wait() {
    if (!changes_.is_open()) co_return co_await sleep_for(1s);
    co_await changes_.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
    alignas(inotify_event) char events[4096];
    while (::read(changes_.native_handle(), events, sizeof events) > 0) {
    }
    follow();
  }

 private:
  void watch(const std::filesystem::path& path, std::uint32_t what) {
    if (changes_.is_open()) ::inotify_add_watch(changes_.native_handle(), path.c_str(), what);
  }

  std::filesystem::path log_;
  asio::posix::stream_descriptor changes_;
};

// What is not a record of the runtime has no end: it is left out.
constexpr std::size_t longest_record = 1u << 20;

}  // namespace

Task<> stream_log(LogSource source, PodLogOptions options, std::function<bool()> is_over, Notifier& ends,
                  http::BodyWriter& to) {
  using namespace asio::experimental::awaitable_operators;
  constexpr std::size_t piece = 256u << 10;
  std::optional<Time> since = options.since_time;
  if (options.since_seconds) since = SystemClock().now() - std::chrono::seconds(*options.since_seconds);
  // Watched before the first read, so that nothing written in between is waited for in vain.
  std::optional<LogWatch> watch;
  if (options.follow) {
    co_await offload([folder = source.log.parent_path()] { std::filesystem::create_directories(folder); });
    watch.emplace(co_await asio::this_coro::executor, source.log);
    watch->follow();
  }
  LogReader reader(source.log);
  if (options.tail_lines) {
    co_await offload([&reader, lines = *options.tail_lines] { reader.begin_at_last(lines); });
  } else if (since) {
    reader.begin_at(*since);
  }
  Writer writer(options, to);
  std::string rest;
  for (;;) {
    const bool over = is_over();
    const auto seen = ends.version();
    auto bytes = co_await offload([&reader] { return reader.read(piece); });
    if (bytes.empty()) {
      if (!options.follow || over) co_return;
      co_await (watch->wait() || ends.wait(seen));
      continue;
    }
    rest += bytes;
    const auto end = rest.rfind('\n');
    if (end == std::string::npos) {
      if (rest.size() > longest_record) rest.clear();
      continue;
    }
    const auto whole_lines = rest.substr(0, end + 1);
    rest.erase(0, end + 1);
    if (!co_await writer.write(whole_lines, since)) co_return;
  }
}

}  // namespace workflow::engine
