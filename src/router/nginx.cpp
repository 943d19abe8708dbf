#include "router/nginx.h"

#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::router {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// The process group of a process, and its name, as /proc/<pid>/stat has them.
std::optional<std::pair<std::string, std::int64_t>> name_and_group(const fs::path& process) {
  const auto stat = find_file(process / "stat");
  if (!stat) return std::nullopt;
  const auto begin = stat->find('('), end = stat->rfind(')');
  if (begin == std::string::npos || end == std::string::npos || end + 2 > stat->size()) return std::nullopt;
  const auto fields = split(stat->substr(end + 2), ' ');  // state, parent, group, …
  if (fields.size() < 3) return std::nullopt;
  return std::pair(stat->substr(begin + 1, end - begin - 1), parse_integer(fields[2]).value_or(0));
}

// A master that is killed leaves its workers, who would hold our ports for ever.
void kill_group(std::int64_t group) {
  if (group <= 1) return;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator("/proc", gone)) {
    const auto pid = parse_integer(entry.path().filename().string());
    if (!pid) continue;
    const auto found = name_and_group(entry.path());
    if (found && found->first == "nginx" && found->second == group) ::kill(static_cast<pid_t>(*pid), SIGKILL);
  }
}

void kill_leftovers(const std::string& folder) {
  const auto text = find_file(folder + "/nginx.pid");
  if (text) kill_group(parse_integer(trim(*text)).value_or(0));
}

constexpr gid_t workers_group = 65534;  // nogroup

void share_with_workers(const std::string& path) {
  if (::geteuid() == 0 && ::chown(path.c_str(), static_cast<uid_t>(-1), workers_group) != 0)
    throw Error(ErrorKind::internal, "cannot share " + path + " with nginx's workers");
}

void prepare_folder(const std::string& folder) {
  fs::create_directories(folder + "/temporary");
  fs::create_directories(folder + "/certificates");
  // Workers read them when they are first asked for; they are somebody else when we are root.
  fs::permissions(folder + "/certificates", fs::perms::owner_all | fs::perms::group_read | fs::perms::group_exec);
  share_with_workers(folder + "/certificates");
}

// nginx's words without its own decoration of time and process.
std::string words_of(const std::string& output) {
  std::vector<std::string> lines;
  for (const auto& line : split(output, '\n')) {
    if (!line.contains("[emerg]") && !line.contains("[alert]")) continue;
    const auto at = line.find("] ");
    lines.push_back(at == std::string::npos ? line : line.substr(at + 2));
  }
  return lines.empty() ? std::string(trim(output)).substr(0, 500) : join(lines, "; ");
}

std::string text_of(const Certificate& certificate) { return certificate.certificate_pem + "\n" + certificate.key_pem; }

}  // namespace

// A certificate's name is its content's: a file that is there is the right one.
void Nginx::keep_file(const std::string& path, const std::string& text) {
  if (files_.contains(path)) return;
  write_file_atomically(path, text, 0640);
  share_with_workers(path);
  files_.insert(path);
}

void Nginx::keep_certificates(const Model& model, const Touched& touched) {
  for (const auto place : touched.places) {
    for (const auto& host : model.apps[place].hosts) {
      if (const auto found = model.certificates.find(host.certificate); found != model.certificates.end())
        keep_file(certificate_file(runtime_, found->first), text_of(found->second));
    }
  }
  for (const auto& challenge : model.challenges)
    keep_file(certificate_file(runtime_, challenge.certificate.id), text_of(challenge.certificate));
}

void Nginx::keep_certificates(const Model& model) {
  for (const auto& [id, certificate] : model.certificates)
    keep_file(certificate_file(runtime_, id), text_of(certificate));
  if (!model.dhparam_pem.empty()) keep_file(dhparam_file(runtime_, model.dhparam_pem), model.dhparam_pem);
}

void Nginx::remove_other_certificates(const Model& model) {
  std::set<std::string> used{certificate_file(runtime_, runtime_.fallback_certificate)};
  for (const auto& [id, certificate] : model.certificates) used.insert(certificate_file(runtime_, id));
  if (!model.dhparam_pem.empty()) used.insert(dhparam_file(runtime_, model.dhparam_pem));
  std::erase_if(files_, [&](const auto& path) { return !used.contains(path) && fs::remove(path); });
}

Nginx::Nginx(Executor executor, std::string program, Runtime runtime)
    : program_(std::move(program)), runtime_(std::move(runtime)), client_(executor) {
  prepare_folder(runtime_.folder);
  for (const auto& entry : fs::directory_iterator(runtime_.folder + "/certificates")) files_.insert(entry.path());
  kill_leftovers(runtime_.folder);
}

std::vector<std::string> Nginx::command(const std::string& file) const {
  return {program_, "-p", runtime_.folder, "-e", "stderr", "-c", file};
}

Task<std::optional<std::string>> Nginx::refusal_of(std::string text) {
  const auto file = runtime_.folder + "/candidate.conf";
  co_await offload([&] { write_file_atomically(file, text, 0600); });
  auto argv = command(file);
  argv.push_back("-t");
  ProcessSpec spec{.argv = std::move(argv),
                   .out = ProcessSpec::Stream::pipe,
                   .err = ProcessSpec::Stream::pipe,
                   .die_with_parent = true};
  const auto tested = co_await workflow::run(std::move(spec), 60s);
  if (tested.status == 0) co_return std::nullopt;
  co_return words_of(tested.err);
}

Task<> Nginx::run(std::string otherwise) {
  if (auto last = find_file(conf())) {
    const auto refusal = co_await refusal_of(*last);
    if (refusal) {
      log::warn("the last good configuration is not accepted any more", kv("nginx", *refusal));
    } else {
      restored_ = true;
      text_ = std::move(*last);
    }
  }
  if (!restored_) {
    co_await offload([&] { write_file_atomically(conf(), otherwise, 0600); });
    text_ = std::move(otherwise);
  }
  for (auto pause = 50ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 5s)) {
    const auto begin = std::chrono::steady_clock::now();
    child_.emplace(ProcessSpec{.argv = command(conf()), .new_session = true, .die_with_parent = true});
    const auto group = child_->pid();
    const int status = co_await exited(*child_);
    kill_group(group);
    ++restarts_;
    log::error("nginx ended and is started again", kv("status", status));
    if (std::chrono::steady_clock::now() - begin > 10s) pause = 25ms;
    co_await sleep_for(pause);
  }
}

Task<> Nginx::confirm() {
  if (confirmed_) co_return;
  const auto version = version_of(text_);
  const auto url = *http::Url::parse("http://127.0.0.1:" + std::to_string(runtime_.status_port) + "/version");
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  for (;;) {
    try {
      http::ClientRequest request{.url = url, .headers = {{"Connection", "close"}}, .timeout = 2s};
      auto response = co_await client_.send(std::move(request));
      if (co_await response.text(1024, 2s) == version) {
        confirmed_ = true;
        co_return;
      }
    } catch (const Error&) {
      // Not there yet, or just being started.
    }
    if (std::chrono::steady_clock::now() > deadline)
      throw Error(ErrorKind::timeout, "nginx does not work with the new configuration");
    co_await sleep_for(10ms);
  }
}

Task<std::optional<std::string>> Nginx::apply(std::string text) {
  if (auto refusal = co_await refusal_of(text)) co_return refusal;
  co_await offload([&] { write_file_atomically(conf(), text, 0600); });
  text_ = std::move(text);
  confirmed_ = false;
  if (child_) ::kill(child_->pid(), SIGHUP);
  co_await confirm();
  co_return std::nullopt;
}

Task<> Nginx::stop(std::chrono::milliseconds grace) {
  if (!child_) co_return;
  const auto group = child_->pid();
  ::kill(group, SIGQUIT);
  const auto deadline = std::chrono::steady_clock::now() + grace;
  while (!child_->wait(0ms) && std::chrono::steady_clock::now() < deadline) co_await sleep_for(20ms);
  if (!child_->wait(0ms)) log::warn("requests were still under way when the time to stop was over");
  child_.reset();
  kill_group(group);
}

}  // namespace workflow::router
