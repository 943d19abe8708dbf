#include "cli/git.h"

#include <algorithm>
#include <cctype>

#include "lib/base/error.h"
#include "lib/base/process.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

std::string host_of(std::string_view controller) {
  if (const auto mark = controller.find("://"); mark != std::string_view::npos) controller.remove_prefix(mark + 3);
  controller = controller.substr(0, controller.find('/'));
  if (controller.starts_with('[')) return std::string(controller.substr(0, controller.find(']') + 1));
  return std::string(controller.substr(0, controller.find(':')));
}

std::string git(std::vector<std::string> words) {
  words.insert(words.begin(), "git");
  ProcessSpec spec;
  spec.argv = words;
  spec.out = spec.err = ProcessSpec::Stream::pipe;
  const auto result = run_process(std::move(spec), std::chrono::seconds(30));
  if (result.status != 0) {
    std::erase(words, "--");
    throw Error(ErrorKind::unavailable,
                "Error when running '" + join(words, " ") + "'\n" + std::string(trim(result.err)));
  }
  return result.out;
}

}  // namespace

std::vector<Remote> parse_remotes(std::string_view output) {
  std::vector<Remote> found;
  for (const auto& line : split(output, '\n')) {
    // name TAB url SPACE (push)
    const auto tab = line.find('\t');
    const auto end = line.rfind(' ');
    if (tab == std::string::npos || end == std::string::npos || end < tab || line.substr(end) != " (push)") continue;
    found.push_back({line.substr(0, tab), line.substr(tab + 1, end - tab - 1)});
  }
  return found;
}

std::string builder_host(std::string_view controller) {
  const auto host = host_of(controller);
  const bool is_address =
      host.starts_with('[') || std::ranges::all_of(host, [](unsigned char c) { return std::isdigit(c) || c == '.'; });
  if (is_address) return host;
  const auto dot = std::min(host.find('.'), host.size());
  return host.substr(0, dot) + "-builder" + host.substr(dot);
}

std::string remote_url(std::string_view controller, std::string_view app) {
  return "ssh://git@" + builder_host(controller) + ":2222/" + std::string(app) + ".git";
}

std::optional<std::string> app_of_remotes(const std::vector<Remote>& remotes, std::string_view controller) {
  const auto host = builder_host(controller);
  for (const auto& remote : remotes) {
    if (remote.url.find(host) == std::string::npos) continue;
    const auto last = remote.url.substr(remote.url.rfind('/') + 1);
    return last.substr(0, last.find('.'));
  }
  return std::nullopt;
}

std::vector<Remote> list_remotes() { return parse_remotes(git({"remote", "-v"})); }

std::optional<std::vector<Remote>> find_remotes() try { return list_remotes(); } catch (const Error&) {
  return std::nullopt;
}

// "--": a name may begin with "-", and git shall say what it thinks of that.
void add_remote(const std::string& name, const std::string& url) { git({"remote", "add", "--", name, url}); }
void delete_remote(const std::string& name) { git({"remote", "remove", "--", name}); }

}  // namespace workflow::cli
