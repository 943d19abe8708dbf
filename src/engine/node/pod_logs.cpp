#include "engine/node/pod_logs.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "engine/node/pod_view.h"
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
  return {folder / name / (std::to_string(attempt) + ".log"), name, attempt};
}

std::string running_container(const json::object& pod, const PodRecord& record, const std::string& container) {
  const auto& one = record_of(record, chosen_container(pod, record, container), kube::name_of(pod));
  if (one.phase != Phase::running) throw Error(ErrorKind::invalid, "container " + one.name + " is not running");
  return one.id;
}

namespace {

// Tells when a log file grows, and when it was moved aside for a new one of its name.
class LogWatch {
 public:
  LogWatch(Executor executor, const std::filesystem::path& file)
      : file_(file), changes_(std::move(executor), ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
    ::inotify_add_watch(changes_.native_handle(), file.parent_path().c_str(), IN_CREATE);
    follow();
  }
  void follow() {
    ::inotify_add_watch(changes_.native_handle(), file_.c_str(), IN_MODIFY | IN_MOVE_SELF | IN_CLOSE_WRITE);
  }
  Task<> wait() {
    co_await changes_.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
    alignas(inotify_event) char events[4096];
    while (::read(changes_.native_handle(), events, sizeof events) > 0) {
    }
  }

 private:
  std::filesystem::path file_;
  asio::posix::stream_descriptor changes_;
};

// The file of this name, if it is another one than `open`.
Fd successor(int open, const std::filesystem::path& file) {
  struct stat here{}, there{};
  if (::stat(file.c_str(), &there) != 0 || ::fstat(open, &here) != 0 || here.st_ino == there.st_ino) return {};
  return Fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
}

}  // namespace

Task<> stream_log(LogSource source, PodLogOptions options, std::function<bool()> is_over, Notifier& ends,
                  http::BodyWriter& to) {
  using namespace asio::experimental::awaitable_operators;
  constexpr std::size_t piece = 256u << 10;
  Fd file(::open(source.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && !options.follow) co_return;
  std::optional<Time> since = options.since_time;
  if (options.since_seconds) since = SystemClock().now() - std::chrono::seconds(*options.since_seconds);
  // Watched before the first read, so that nothing written in between is waited for in vain.
  std::optional<LogWatch> watch;
  if (options.follow) {
    std::filesystem::create_directories(source.file.parent_path());
    if (!file) file = Fd(::open(source.file.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0640));
    watch.emplace(co_await asio::this_coro::executor, source.file);
  }
  if (options.tail_lines) {
    auto whole = co_await offload([path = source.file] { return find_file(path).value_or(""); });
    ::lseek(file.get(), static_cast<off_t>(tail_offset(whole, *options.tail_lines)), SEEK_SET);
  }
  Writer writer(options, to);
  std::string rest;
  Fd next;  // after a rotation: read once the old file is at its end
  for (;;) {
    const bool over = is_over();
    const auto seen = ends.version();
    if (options.follow && !next) next = successor(file.get(), source.file);
    auto bytes = co_await offload([fd = file.get()] { return read_from(fd, piece); });
    if (!bytes.empty()) {
      rest += bytes;
      const auto end = rest.rfind('\n');
      if (end == std::string::npos) continue;
      const auto whole_lines = rest.substr(0, end + 1);
      rest.erase(0, end + 1);
      if (!co_await writer.write(whole_lines, since)) co_return;
    } else if (next) {
      file = std::move(next);
      watch->follow();
    } else if (!options.follow || over) {
      co_return;
    } else {
      co_await (watch->wait() || ends.wait(seen));
    }
  }
}

std::string last_lines(const std::filesystem::path& log, std::int64_t lines, std::size_t bytes) {
  const auto whole = find_file(log).value_or("");
  std::string out;
  for (const auto& raw : split(whole.substr(tail_offset(whole, lines)), '\n')) {
    if (const auto line = parse_log_line(raw)) out += std::string(line->text) + (line->partial ? "" : "\n");
  }
  return out.size() > bytes ? out.substr(out.size() - bytes) : out;
}

void remove_old_logs(const std::filesystem::path& folder, int oldest) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const auto name = entry.path().filename().string();
    const auto attempt = parse_integer(name.substr(0, name.find('.')));
    if (attempt && *attempt < oldest) std::filesystem::remove(entry.path(), ignored);
  }
}

std::vector<std::filesystem::path> surplus_logs(std::vector<std::filesystem::path> rotated, std::size_t keep) {
  // Their names end in the time: the order of names is that of age.
  std::ranges::sort(rotated);
  rotated.resize(rotated.size() > keep ? rotated.size() - keep : 0);
  return rotated;
}

std::optional<std::filesystem::path> rotated_name(const std::filesystem::path& log, std::uint64_t size,
                                                  std::uint64_t most, Time now) {
  if (size < most) return std::nullopt;
  return log.string() + "." + basic_iso8601(now);
}

}  // namespace workflow::engine
