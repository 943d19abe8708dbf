// src/router/nginx.h: nginx as our child: started, tested, reloaded, restarted, stopped.
//   Owns    folder/: nginx.conf (the last good text, kept over restarts), certificates/, temporary/, nginx.pid.
#pragma once
#include <chrono>
#include <optional>
#include <set>
#include <string>

#include "lib/async/process.h"
#include "lib/http/http.h"
#include "router/render.h"

namespace workflow::router {

class Nginx {
 public:
  Nginx(Executor executor, std::string program, Runtime runtime);

  // Starts with the last good configuration if there is one that nginx still accepts, else with `otherwise`; keeps
  // nginx running until cancelled: whenever it dies it is started again, and no worker of its own is left behind.
  Task<> run(std::string otherwise);
  // Brings a new configuration into effect. Returns nginx's own words when it refuses the text; nothing has changed
  // then. Returns when new workers answer with it; throws `timeout` when they do not.
  Task<std::optional<std::string>> apply(std::string text);
  // Certificates that tables name: there before a table does, away after it no longer does.
  void keep_certificates(const Model& model);
  void keep_certificates(const Model& model, const Touched& touched);  // that came with what is touched
  void remove_other_certificates(const Model& model);
  // Returns once workers answer with `text()`; throws `timeout` when they do not.
  Task<> confirm();
  // Lets requests under way end, for `grace` at most.
  Task<> stop(std::chrono::milliseconds grace);

  const std::string& text() const { return text_; }  // what nginx is asked to work with; "" before the start
  bool restored() const { return restored_; }        // the last good configuration was found and is in use
  std::uint64_t restarts() const { return restarts_; }

 private:
  void keep_file(const std::string& path, const std::string& text);
  Task<std::optional<std::string>> refusal_of(std::string text);
  std::string conf() const { return runtime_.folder + "/nginx.conf"; }
  std::vector<std::string> command(const std::string& file) const;

  std::string program_;
  Runtime runtime_;
  http::Client client_;
  std::optional<ChildProcess> child_;
  std::set<std::string> files_;  // in certificates/
  std::string text_;
  bool restored_ = false;
  bool confirmed_ = false;  // workers answered with text_
  std::uint64_t restarts_ = 0;
};

}  // namespace workflow::router
