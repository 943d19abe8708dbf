// src/builder/pushes.h: the pushes under way: one per app at a time, each from its login to its release; and clones.
//   Git asks twice. Before anything of a push is accepted, `pre_receive` builds it: what does not build is refused.
//   Then git stores the objects and locks and checks the refs; with all that done, `reference_transaction` cuts the
//   release: what git refuses for a reason of its own is never released, and what is not released is not stored. A git
//   whose transaction is refused dies without a word to the pusher's git: the report that it owes is then ours to give.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "builder/build.h"
#include "builder/control.h"
#include "builder/keys.h"

namespace workflow::builder {

class Pushes {
 public:
  // `background` outlives the pushes.
  Pushes(Parts& parts, TaskGroup& background);

  // The four calls of client.h. Each answers with the caller's exit status.
  Task<int> keys(Call call);
  Task<int> session(Call call);
  Task<int> pre_receive(Call call);
  Task<int> reference_transaction(Call call);

  void refuse_new() { refusing_ = true; }
  Task<> finished();  // waits until no push is under way
  std::size_t size() const { return busy_.size(); }
  // Runs `work` while no push to the app is under way.
  Task<> with_app_locked(AppName app, std::function<Task<>()> work);

 private:
  struct Push;
  class Lock;
  Task<int> receive(Call call, Identity who, AppName app);
  Task<int> give(Call call, Identity who, AppName app);
  Task<int> upload_pack(Call call, AppName app);
  Task<int> receive_pack(Call call, std::shared_ptr<Push> push);
  Task<> read_pusher(std::shared_ptr<Push> push, asio::posix::stream_descriptor& from,
                     asio::posix::stream_descriptor to, ChildProcess& git);
  Task<std::size_t> read_piece(Push& push, asio::posix::stream_descriptor& from, asio::posix::stream_descriptor& to,
                               std::string& piece);
  Task<> tell_pusher(std::shared_ptr<Push> push, asio::posix::stream_descriptor from, Sink sink);
  // Runs `work` as what git waits for; its words go to the sink.
  Task<int> decide(std::shared_ptr<Push> push, Sink sink, std::function<Task<int>(Output&)> work);
  Task<int> consider(std::shared_ptr<Push> push, std::string updates, Quarantine quarantine, Output& output);
  Task<int> build(std::shared_ptr<Push> push, PushPlan plan, Quarantine quarantine, Output& output);
  Task<int> release(std::shared_ptr<Push> push, Output& output);
  Task<> forget(std::shared_ptr<Push> push);

  void count(std::string_view result);
  void observe(const Phases& phases);

  Parts& parts_;
  TaskGroup& background_;
  Secret identity_key_;
  std::map<std::string, std::shared_ptr<Push>> pushes_;  // by the id that git's hook brings
  struct Holder {
    std::string who;  // "": nobody's push, but our own tidying
    std::chrono::steady_clock::time_point since;
  };
  std::string busy_text(const Holder& holder) const;
  std::map<AppName, Holder> busy_;
  Notifier changes_;
  bool refusing_ = false;
};

}  // namespace workflow::builder
