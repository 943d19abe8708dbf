#include "controller/hephy/import.h"

#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>

#include "controller/controller.h"
#include "controller/hephy/dump.h"
#include "controller/hephy/takeover.h"
#include "controller/migrations.h"
#include "lib/async/component.h"
#include "lib/base/clock.h"
#include "lib/s3/s3.h"

namespace workflow::controller::hephy {
namespace {

using namespace std::chrono_literals;

enum class Mode { take_over, check };

struct Options {
  std::string dump;        // a file; "-" is standard input
  std::string slugs_from;  // URL of the original's object storage; "": slugs are where ours are
  std::string slugs_bucket = "builder";
  Mode mode = Mode::take_over;
};

// Ends the transaction of a check.
struct CheckedOnly {
  Counts counts;
};

// A platform of ten thousand apps with a hundred releases each is a third of this.
constexpr std::size_t most_dump = std::size_t{1} << 30;

std::string read_all(std::istream& in) {
  std::string text, piece(1 << 20, '\0');
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() > 0) {
    text.append(piece, 0, static_cast<std::size_t>(in.gcount()));
    if (text.size() > most_dump) {
      throw Error(ErrorKind::too_large,
                  "the dump has more than 1 GiB; leave out what is no table of the platform: pg_dump -t 'auth_*' -t "
                  "'authtoken_*' -t 'guardian_*' -t 'api_*'");
    }
  }
  return text;
}

std::string read_all(const std::string& file) {
  if (file == "-") return read_all(std::cin);
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error(ErrorKind::not_found, "cannot read " + file);
  return read_all(in);
}

Takeover read_takeover(const std::string& file) {
  auto dump = read_dump(read_all(file), names_of_tables_read());
  if (!dump) throw Error(ErrorKind::invalid, "the dump cannot be read: " + dump.error());
  auto takeover = takeover_of(*dump);
  for (const auto& what : takeover.left_out) std::printf("left out: %s\n", what.c_str());
  if (takeover.problems.empty()) return takeover;
  for (const auto& problem : takeover.problems) std::fprintf(stderr, "%s\n", problem.c_str());
  throw Error(ErrorKind::invalid, "nothing was taken over");
}

s3::Endpoint original_store(Env& env, const std::string& text) {
  const auto url = http::Url::parse(text);
  if (!url)
    throw Error(ErrorKind::invalid, "--slugs-from must be a URL such as https://minio.example.com:9000, not " + text);
  return {
      .url = *url,
      .region = env.text("HEPHY_S3_REGION", "us-east-1"),
      .credentials = {env.secret_or_file("HEPHY_S3_ACCESS_KEY").reveal(), env.secret_or_file("HEPHY_S3_SECRET_KEY")}};
}

struct Stores {
  s3::Client& ours;
  std::string bucket;
  s3::Client* theirs = nullptr;
  std::string their_bucket;
};

// What is there already is not copied again, so that a run that was broken off goes on.
Task<> bring_slugs(Stores stores, std::vector<std::string> slugs) {
  std::size_t copied = 0, missing = 0;
  for (const auto& key : slugs) {
    if (co_await stores.ours.head(stores.bucket, key)) continue;
    auto there = stores.theirs ? co_await stores.theirs->head(stores.their_bucket, key) : std::nullopt;
    if (!there) {
      std::printf("missing: slug %s; releases that run it cannot be started\n", key.c_str());
      ++missing;
      continue;
    }
    auto body = co_await stores.theirs->get_stream(stores.their_bucket, key);
    co_await stores.ours.put_stream(stores.bucket, key, [body] { return body->read(); });
    ++copied;
  }
  std::printf("%zu slugs: %zu copied, %zu missing, the others are there\n", slugs.size(), copied, missing);
}

Counts write(sql::Tx& tx, const Takeover& takeover, Mode mode) {
  const auto counts = take_over(tx, takeover);
  if (mode == Mode::check) throw CheckedOnly{counts};
  return counts;
}

Task<> import(Executor executor, Settings settings, std::optional<s3::Endpoint> theirs, Options options) {
  const auto takeover = read_takeover(options.dump);
  settings.database.statement_timeout = 10min;
  sql::Db db(settings.database);
  co_await offload([&db] { db.migrate(migrations()); });
  Counts counts;
  auto work = [&](sql::Tx& tx) { return write(tx, takeover, Mode::check); };
  try {
    co_await db.transact(work);
  } catch (const CheckedOnly& checked) {
    counts = checked.counts;
  }
  // Slugs come first: an app whose release is known is started.
  if (settings.store && options.mode == Mode::take_over) {
    SystemClock clock;
    s3::Client ours(executor, *settings.store, clock);
    std::optional<s3::Client> original;
    if (theirs) original.emplace(executor, *theirs, clock);
    Stores stores{ours, settings.bucket, original ? &*original : nullptr, options.slugs_bucket};
    co_await bring_slugs(stores, takeover.slugs);
  }
  if (options.mode == Mode::take_over) {
    auto for_good = [&](sql::Tx& tx) { return write(tx, takeover, Mode::take_over); };
    counts = co_await db.transact(for_good);
  }
  std::printf("%s %lld users, %lld keys, %lld apps, %lld releases, %lld domains, %lld certificates\n",
              options.mode == Mode::check ? "can take over:" : "took over:", static_cast<long long>(counts.users),
              static_cast<long long>(counts.keys), static_cast<long long>(counts.apps),
              static_cast<long long>(counts.releases), static_cast<long long>(counts.domains),
              static_cast<long long>(counts.certificates));
  if (options.mode == Mode::take_over)
    std::puts("now start the apps: kubectl -n deis rollout restart deployment/deis-controller");
}

}  // namespace

int import_main(int argc, char** argv) {
  CLI::App app{"Takes over another platform's users, keys, apps, releases, config, domains and certificates"};
  Options options;
  app.require_subcommand(1);
  auto* hephy = app.add_subcommand("hephy", "Deis or Hephy Workflow v2, from a dump of its database");
  hephy->add_option("dump", options.dump, "plain text of pg_dump; - is standard input")->required();
  hephy->add_option("--slugs-from", options.slugs_from,
                    "URL of its object storage; keys: HEPHY_S3_ACCESS_KEY, HEPHY_S3_SECRET_KEY");
  hephy->add_option("--slugs-bucket", options.slugs_bucket, "the builder's bucket there")->capture_default_str();
  hephy->add_flag_callback(
      "--check", [&] { options.mode = Mode::check; }, "say what would be taken over, and change nothing");
  CLI11_PARSE(app, argc, argv);
  int status = 0;
  auto env = Env::from_process();
  try {
    configure_log("import", env);
    auto settings = Settings::from(env);
    std::optional<s3::Endpoint> theirs;
    if (!options.slugs_from.empty()) theirs = original_store(env, options.slugs_from);
    env.done();
    const int ran = run_main([&](Executor executor) -> Task<> {
      try {
        co_await import(executor, settings, theirs, options);
      } catch (const Error& error) {
        std::fprintf(stderr, "workflow import: %s\n", error.what());
        status = 1;
      }
    });
    return status ? status : ran;
  } catch (const Error& error) {
    std::fprintf(stderr, "workflow import: %s\n", error.what());
    return 1;
  }
}

}  // namespace workflow::controller::hephy
