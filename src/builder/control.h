// src/builder/control.h: the builder's ear for what sshd and git start (client.h): words and three open streams per
// call.
#pragma once
#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <string>
#include <vector>

#include "lib/async/task.h"
#include "lib/base/file.h"

namespace workflow::builder {

struct Call {
  std::vector<std::string> fields;  // never empty
  Fd in, out, err;
};

// A unix socket that one user alone may connect to: the kernel checks it.
class ControlSocket {
 public:
  using Handler = std::function<Task<int>(Call)>;  // answers with the caller's exit status
  // Listens from construction on. `calls` owns what was called; it outlives this.
  ControlSocket(Executor executor, std::string path, int uid, TaskGroup& calls, Handler handler);
  ~ControlSocket();
  Task<> serve();  // until cancelled, or it cannot go on (Supervisor); calls under way do

 private:
  Task<> answer(Fd connection);

  Executor executor_;
  std::string path_;
  asio::posix::stream_descriptor listener_;
  TaskGroup& calls_;
  Handler handler_;
};

}  // namespace workflow::builder
