#include "lib/async/process.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>
#include <csignal>

#include "lib/base/error.h"

namespace workflow {

namespace {

using asio::posix::stream_descriptor;
constexpr std::size_t output_limit = 16u << 20;  // as run_process
constexpr auto quietly = asio::as_tuple(asio::use_awaitable);

stream_descriptor descriptor_of(const Executor& executor, Fd& fd) { return {executor, fd.release()}; }

Task<> feed(stream_descriptor& to, const std::string& input) {
  // A child that does not read all of its input is its own affair: EPIPE is not our error.
  co_await asio::async_write(to, asio::buffer(input), quietly);
  boost::system::error_code ignored;
  to.close(ignored);
}

Task<> collect(stream_descriptor& from, std::string& into) {
  std::string piece(64u << 10, '\0');
  for (;;) {
    const auto [error, size] = co_await from.async_read_some(asio::buffer(piece), quietly);
    if (error) co_return;
    into.append(piece, 0, std::min(size, output_limit - into.size()));
  }
}

Task<> run_to_end(ChildProcess& child, const std::string& input, ProcessResult& result) {
  auto executor = co_await asio::this_coro::executor;
  auto out = descriptor_of(executor, child.out());
  auto err = descriptor_of(executor, child.err());
  TaskGroup group(executor);
  std::optional<stream_descriptor> in;
  if (child.in()) {
    in.emplace(descriptor_of(executor, child.in()));
    group.spawn("feed a process", feed(*in, input));
  }
  group.spawn("read a process's output", collect(out, result.out));
  group.spawn("read a process's errors", collect(err, result.err));
  auto wait = [](ChildProcess& process, TaskGroup& streams, ProcessResult& into) -> Task<> {
    into.status = co_await exited(process);
    co_await streams.join();
  };
  co_await with_cleanup(wait(child, group, result), [&group] { return group.stop(); });
}

}  // namespace

Task<int> exited(ChildProcess& child) {
  if (auto status = child.wait(std::chrono::milliseconds(0))) co_return *status;
  stream_descriptor pidfd(co_await asio::this_coro::executor, ::dup(child.pidfd().get()));
  for (;;) {
    co_await pidfd.async_wait(stream_descriptor::wait_read, asio::use_awaitable);
    if (auto status = child.wait(std::chrono::milliseconds(0))) co_return *status;
  }
}

Task<int> stop_process(ChildProcess& child, std::chrono::milliseconds grace) {
  child.signal(SIGTERM);
  try {
    co_return co_await with_deadline(grace, "the process ignores SIGTERM", exited(child));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::timeout) throw;
  }
  child.signal(SIGKILL);
  co_return co_await exited(child);
}

Task<ProcessResult> run(ProcessSpec spec, std::chrono::milliseconds limit, std::string input) {
  const std::string name = spec.argv.empty() ? "" : spec.argv.front();
  spec.out = spec.err = ProcessSpec::Stream::pipe;
  if (!input.empty()) spec.in = ProcessSpec::Stream::pipe;
  ProcessResult result;
  ChildProcess child(spec);  // killed by its destructor when we leave early
  co_await with_deadline(limit, name + " did not end within " + std::to_string(limit.count()) + " ms",
                         run_to_end(child, input, result));
  co_return result;
}

}  // namespace workflow
