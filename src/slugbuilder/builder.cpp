#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <set>

#include "lib/archive/archive.h"
#include "lib/async/component.h"
#include "lib/async/together.h"
#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/base/file_digest.h"
#include "lib/base/text.h"
#include "lib/http/http.h"
#include "lib/json/json.h"
#include "lib/procfile/procfile.h"
#include "lib/s3/presigned.h"
#include "slugbuilder/buildpacks.h"
#include "slugbuilder/output.h"
#include "slugbuilder/slug.h"
#include "slugbuilder/slugbuilder.h"
#include "slugbuilder/tree.h"

namespace workflow::slugbuilder {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr archive::Owner slug_owner{2000, 2000};  // the user of app containers

// What only we need, or what would tell a build about the platform around it.
bool is_ours(const std::string& name) {
  static const std::set<std::string> names = {"TAR_URL",       "SLUG_PUT_URL",  "PROCFILE_PUT_URL", "DIGEST_PUT_URL",
                                              "CACHE_GET_URL", "CACHE_PUT_URL", "BUILDPACK_URL",    "BUILDPACKS_DIR",
                                              "ENV_DIR",       "WORK_DIR",      "LOG_LEVEL",        "LOG_FORMAT",
                                              "HOSTNAME"};
  return names.contains(name) || name.starts_with("KUBERNETES_") || name.starts_with("POD_") ||
         name.starts_with("DEIS_");
}

enum class Content { kept, removed };
void make_folder(const fs::path& path, Content before) {
  if (before == Content::removed) fs::remove_all(path);
  fs::create_directories(path);
}

class Build {
 public:
  Build(Executor executor, Config config)
      : config_(std::move(config)),
        store_(executor),
        output_(config_.to_stdout ? STDERR_FILENO : STDOUT_FILENO),
        runner_(script_env(), output_) {}

  Task<int> run() {
    try {
      co_await run_steps();
      co_return 0;
    } catch (const ScriptFailed& failed) {
      status_ = failed.status;
    }
    co_return status_;
  }

 private:
  fs::path build_dir() const { return config_.work_dir / "build"; }
  fs::path cache_dir() const { return config_.work_dir / "cache"; }
  fs::path env_dir() const { return config_.work_dir / "environment"; }
  fs::path slug_file() const { return config_.work_dir / "slug.tgz"; }
  Runner::Errors detect_errors() const { return config_.debug ? Runner::Errors::shown : Runner::Errors::hidden; }
  Folder tree() const { return Folder(build_dir()); }

  std::map<std::string, std::string> script_env() const {
    auto env = config_.build_env;
    env["HOME"] = config_.app_dir.string();
    env["APP_DIR"] = config_.app_dir.string();
    env["STACK"] = config_.stack;
    env["REQUEST_ID"] = to_base64(random_bytes(32));
    env["SOURCE_VERSION"] = config_.source_version;
    env.try_emplace("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    env.try_emplace("LANG", "C.UTF-8");
    return env;
  }

  Task<> run_steps() {
    make_folder(config_.app_dir, Content::kept);
    for (const auto& folder : {build_dir(), cache_dir(), env_dir()}) make_folder(folder, Content::removed);
    co_await obtain_source();
    co_await offload([this] { apply_slugignore(tree()); });
    co_await warn_of_lfs_pointers();
    warn_of_postdeploy();
    copy_env();
    install_ssh_key();
    co_await restore_cache();
    const auto packs = co_await choose_buildpacks();
    co_await hook("pre-compile");
    const auto types = co_await compile(packs);
    co_await hook("post-compile");
    co_await finish(types);
  }

  Fd temporary_file() const {
    Fd fd(::open(config_.work_dir.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
    if (!fd) throw Error(ErrorKind::internal, "cannot write to " + config_.work_dir.string());
    return fd;
  }

  Task<> unpack(http::Url url, fs::path folder) {
    const auto file = temporary_file();
    co_await s3::download(store_, std::move(url), file);
    co_await offload([&file, folder] { archive::extract_tar(file.get(), folder); });
  }

  Task<> obtain_source() {
    if (config_.tar_url) {
      co_await unpack(*config_.tar_url, build_dir());
    } else {
      const auto packed = config_.work_dir / "source.tgz";
      archive::create_tar(config_.app_dir, packed);
      Fd fd(::open(packed.c_str(), O_RDONLY | O_CLOEXEC));
      archive::extract_tar(fd.get(), build_dir());
      fs::remove(packed);
    }
    if (!tree().find(".profile.d")) tree().make_folder(".profile.d");
  }

  Task<> warn_of_lfs_pointers() const {
    const auto pointers = co_await offload([this] { return find_lfs_pointers(tree(), 5); });
    if (pointers.count == 0) co_return;
    output_.warning(std::to_string(pointers.count) +
                    (pointers.count == 1 ? " file is a pointer" : " files are pointers") +
                    " of git-lfs, and not what it points at: " + join(pointers.some, ", ") +
                    (pointers.count > pointers.some.size() ? ", …" : ""));
    output_.warning("git push sends only pointers. To put the content into the repository, and push again:");
    output_.warning("  git lfs migrate export --include='*' --everything");
  }

  // Heroku runs it once, after an app's first deploy.
  void warn_of_postdeploy() const {
    const auto entry = tree().find("app.json");
    if (!entry || entry->kind != Folder::Kind::file || entry->size > procfile::longest) return;
    const auto app = parse_json(tree().read_file("app.json", procfile::longest));
    if (app && find_path(*app, {"scripts", "postdeploy"}))
      output_.warning("scripts.postdeploy of app.json is not run; to run it: deis run COMMAND");
  }

  // Regular files only: the mounted secret also has folders and links of its own making.
  void copy_env() const {
    std::error_code absent;
    for (const auto& entry : fs::directory_iterator(config_.env_dir, absent)) {
      const auto name = entry.path().filename().string();
      if (name.starts_with("..") || !entry.is_regular_file()) continue;
      write_file_atomically(env_dir() / name, read_file(entry.path()), 0600);
    }
  }

  void install_ssh_key() const {
    const auto encoded = find_file(env_dir() / "SSH_KEY");
    if (!encoded) return;
    const auto key = from_base64(replace_all(std::string(trim(*encoded)), "\n", ""));
    if (!key) throw Error(ErrorKind::invalid, "the config variable SSH_KEY must be a private key in base64");
    const auto folder = config_.app_dir / ".ssh";
    make_folder(folder, Content::kept);
    fs::permissions(folder, fs::perms::owner_all);
    write_file_atomically(folder / "id_rsa", *key, 0400);
    write_file_atomically(folder / "config", "StrictHostKeyChecking no\n", 0600);
  }

  Task<> restore_cache() {
    if (!config_.cache_get_url) co_return;
    output_.heading("Restoring cache...");
    std::string trouble;
    try {
      co_await unpack(*config_.cache_get_url, cache_dir());
      output_.detail("Done!");
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found)
        output_.detail("No cache file found. If this is the first deploy, it will be created now.");
      else
        trouble = error.message();
    }
    if (!trouble.empty()) {
      // A cache only saves time: the build goes on, and says what it lacks.
      output_.warning("The cache could not be restored: " + trouble);
      make_folder(cache_dir(), Content::removed);
    }
    cache_before_ = folder_fingerprint(cache_dir());
  }

  Task<std::vector<Buildpack>> choose_buildpacks() {
    std::vector<BuildpackSource> sources;
    const auto list = find_text(tree(), ".buildpacks");
    const auto wanted = !config_.buildpack_url.empty() ? config_.buildpack_url : list.value_or("");
    for (const auto& line : split(replace_all(replace_all(wanted, "\t", "\n"), " ", "\n"), '\n')) {
      if (trim(line).empty()) continue;
      const auto source = parse_buildpack_url(trim(line));
      if (!source) {
        throw Error(ErrorKind::invalid,
                    "the buildpack \"" + std::string(trim(line)) +
                        "\" must be a git URL, optionally with #branch, #tag or #commit, or a .tgz URL");
      }
      sources.push_back(*source);
    }
    std::vector<Buildpack> packs;
    if (sources.empty()) {
      auto found = co_await detect(runner_, config_.buildpacks_dir, build_dir(), detect_errors());
      if (!found) {
        output_.heading("Unable to select a buildpack");
        output_.warning("This app has no file that a buildpack knows (package.json, requirements.txt, index.html, …).");
        output_.warning("Add a Procfile with a line such as \"web: ./start\", or set BUILDPACK_URL.");
        throw ScriptFailed{1};
      }
      output_.heading(found->name + " app detected");
      packs.push_back(std::move(*found));
      co_return packs;
    }
    make_folder(config_.work_dir / "custom", Content::removed);
    for (const auto& source : sources) {
      output_.heading(sources.size() > 1 ? "Fetching buildpack " + source.url : "Fetching custom buildpack");
      const auto target = config_.work_dir / "custom" / std::to_string(packs.size());
      auto folder = co_await fetch_buildpack(runner_, source, target);
      Script script{.argv = {(folder / "bin/detect").string(), build_dir().string()}, .cwd = build_dir()};
      auto [status, name] = co_await runner_.run_collected(std::move(script), detect_errors());
      if (status != 0 && sources.size() > 1) {
        output_.warning("Couldn't detect any framework for this buildpack. Exiting.");
        throw ScriptFailed{1};
      }
      if (status != 0)
        output_.warning("This buildpack does not recognise the app; it is used because BUILDPACK_URL says so.");
      output_.heading((name.empty() ? "Custom" : name) + " app detected");
      packs.push_back({std::move(folder), std::move(name)});
    }
    co_return packs;
  }

  Task<> hook(std::string name) {
    const auto file = build_dir() / "bin" / name;
    if (!fs::is_regular_file(file)) co_return;
    Script script{.argv = {file.string()}, .cwd = build_dir()};
    if (const int status = co_await runner_.run_shown(std::move(script), Runner::Indent::no)) {
      output_.warning("bin/" + name + " failed with status " + std::to_string(status));
      throw ScriptFailed{status};
    }
  }

  Task<procfile::Types> compile(std::vector<Buildpack> packs) {
    std::vector<fs::path> exports;
    std::string release;
    for (const auto& pack : packs) {
      Script script{.argv = {(pack.folder / "bin/compile").string(), build_dir().string(), cache_dir().string(),
                             env_dir().string()},
                    .cwd = build_dir(),
                    .exports = exports};
      if (const int status = co_await runner_.run_shown(std::move(script), Runner::Indent::yes))
        throw ScriptFailed{status};
      if (fs::exists(pack.folder / "export")) exports.push_back(pack.folder / "export");
      if (!fs::exists(pack.folder / "bin/release")) continue;
      Script tell{.argv = {(pack.folder / "bin/release").string(), build_dir().string()},
                  .cwd = build_dir(),
                  .exports = exports};
      auto [status, words] = co_await runner_.run_collected(std::move(tell), Runner::Errors::shown);
      if (status != 0) {
        output_.warning("bin/release of the buildpack failed with status " + std::to_string(status));
        throw ScriptFailed{status};
      }
      release = std::move(words);
    }
    tree().write_file(".release", release.empty() ? "--- {}\n" : release + "\n");
    co_return discover_types(packs.back().name, release);
  }

  procfile::Types discover_types(const std::string& pack, const std::string& release) const {
    output_.heading("Discovering process types");
    auto names = [](const procfile::Types& types) {
      std::vector<std::string> out;
      for (const auto& [name, command] : types) out.push_back(name);
      return join(out, ", ");
    };
    const auto file = find_text(tree(), "Procfile");
    const auto declared = file ? procfile::parse(*file) : procfile::Types{};
    check_process_types(declared, "Procfile");
    const auto defaults = procfile::parse_release(release).default_process_types;
    check_process_types(defaults, "default_process_types");
    if (!declared.empty()) output_.detail("Procfile declares types -> " + names(declared));
    if (!defaults.empty()) output_.detail("Default process types for " + pack + " -> " + names(defaults));
    auto types = merge(declared, defaults);
    if (types.empty()) {
      output_.warning("Nothing says how to start this app.");
      output_.warning("Add a Procfile with a line such as \"web: ./start\", commit it and push again.");
      throw ScriptFailed{1};
    }
    if (!file) tree().write_file("Procfile", procfile::print(types));
    return types;
  }

  Task<> finish(procfile::Types types) {
    const auto size = co_await offload([this] {
      return archive::create_tar(build_dir(), slug_file(),
                                 {.owner = slug_owner, .leave_out = [](const std::string& path) {
                                    return path == ".git" || path.ends_with("/.git");
                                  }});
    });
    if (config_.to_stdout) {
      Output(STDOUT_FILENO).write(read_file(slug_file()));
      co_return;
    }
    co_await store_cache();
    output_.heading("Compiled slug size is " + human_size(size));
    const auto executor = co_await asio::this_coro::executor;
    co_await together(executor, upload_slug(), upload_digest(), upload_types(std::move(types)));
  }

  Task<> upload_slug() {
    if (config_.slug_put_url) co_await upload_file(*config_.slug_put_url, slug_file());
  }

  Task<> upload_digest() {
    if (!config_.digest_put_url) co_return;
    const Fd slug(::open(slug_file().c_str(), O_RDONLY | O_CLOEXEC));
    if (!slug) throw Error(ErrorKind::internal, "cannot read " + slug_file().string());
    const auto digest = co_await offload([&slug] { return to_hex(sha256_of_file(slug)); });
    co_await s3::upload(store_, *config_.digest_put_url, digest);
  }

  Task<> upload_types(procfile::Types types) {
    if (config_.procfile_put_url) co_await s3::upload(store_, *config_.procfile_put_url, procfile::print(types));
  }

  Task<> upload_file(http::Url url, fs::path path) {
    auto file = std::make_shared<Fd>(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!*file) throw Error(ErrorKind::internal, "cannot read " + path.string());
    co_await s3::upload(store_, std::move(url), std::move(file));
  }

  Task<> store_cache() {
    if (!config_.cache_put_url) co_return;
    output_.heading("Checking for changes inside the cache directory...");
    const auto now = folder_fingerprint(cache_dir());
    if (now.empty()) {
      output_.detail("No files were added to the cache folder, cache wasn't updated");
    } else if (now == cache_before_) {
      output_.detail("Cache unchanged, not updating");
    } else {
      output_.detail("Files inside cache folder changed, uploading new cache...");
      const auto file = config_.work_dir / "cache.tgz";
      const auto size =
          co_await offload([this, file] { return archive::create_tar(cache_dir(), file, {.owner = slug_owner}); });
      std::string trouble;
      try {
        co_await upload_file(*config_.cache_put_url, file);
        output_.detail("Done: Uploaded cache (" + human_size(size) + ")");
      } catch (const Error& error) {
        trouble = error.message();
      }
      if (!trouble.empty()) output_.warning("The cache could not be stored: " + trouble);
    }
  }

  Config config_;
  http::Client store_;
  Output output_;
  Runner runner_;
  std::string cache_before_;
  int status_ = 0;
};

}  // namespace

Config Config::from(Env& env) {
  Config config;
  const auto url = [&env](const char* name) -> std::optional<http::Url> {
    const auto text = env.text(name, "");
    auto parsed = http::Url::parse(text);
    if (!parsed && !text.empty()) env.problem(name, "must be a URL");
    return parsed;
  };
  config.tar_url = url("TAR_URL");
  config.slug_put_url = url("SLUG_PUT_URL");
  config.procfile_put_url = url("PROCFILE_PUT_URL");
  config.digest_put_url = url("DIGEST_PUT_URL");
  config.cache_get_url = url("CACHE_GET_URL");
  config.cache_put_url = url("CACHE_PUT_URL");
  config.buildpack_url = env.text("BUILDPACK_URL", "");
  config.source_version = env.text("SOURCE_VERSION", "");
  config.stack = env.text("STACK", "workflow-12");
  config.buildpacks_dir = env.text("BUILDPACKS_DIR", "/tmp/buildpacks");
  config.env_dir = env.text("ENV_DIR", "/tmp/env");
  config.app_dir = env.text("APP_DIR", "/app");
  config.work_dir = env.text("WORK_DIR", "/tmp");
  config.debug = equal_ignoring_case(env.text("DEIS_BUILDPACK_DEBUG", ""), "true");
  for (const auto& [name, value] : env.all()) {
    if (!is_ours(name)) config.build_env.emplace(name, value);
  }
  return config;
}

Task<int> build(Executor executor, Config config) {
  Build build(executor, std::move(config));
  co_return co_await build.run();
}

int slugbuilder_main(int argc, char** argv) {
  // Build scripts run as the same user: the kernel keeps them from our memory, our environment and our files.
  ::prctl(PR_SET_DUMPABLE, 0);
  auto env = Env::from_process();
  int status = 1;
  try {
    configure_log("slugbuilder", env);
    if (::geteuid() == 0)
      throw Error(ErrorKind::forbidden, "a build runs what was pushed: start it as another user than root");
    auto config = Config::from(env);
    config.to_stdout = argc > 1 && std::string_view(argv[1]) == "-";
    env.done();
    const int ran = run_main([&](Executor executor) -> Task<> {
      std::exception_ptr failure;
      try {
        status = co_await build(executor, config);
      } catch (const Error&) {
        failure = std::current_exception();
      }
      if (failure) {
        Output(config.to_stdout ? STDERR_FILENO : STDOUT_FILENO).warning(describe(failure));
        status = 1;
      }
    });
    return ran != 0 ? ran : status;
  } catch (const Error& error) {
    std::cerr << " !     " << error.what() << "\n";
    return 1;
  }
}

}  // namespace workflow::slugbuilder
