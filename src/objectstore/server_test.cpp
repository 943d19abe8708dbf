// The S3 client of lib/s3 against this server, in one loop.
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/s3/presigned.h"
#include "lib/s3/s3.h"
#include "objectstore/api.h"

namespace workflow::objectstore {
namespace {

using namespace std::chrono_literals;

const s3::Credentials credentials{"access", Secret("secret")};

Task<> with_client(std::function<Task<>(s3::Client&, std::string)> test) {
  auto executor = co_await asio::this_coro::executor;
  TemporaryFolder folder;
  SystemClock clock;
  Store store(folder.path() / "objects", clock);
  Api api(store, credentials, "eu-central-1", clock);
  http::Server server(executor, {.address = "127.0.0.1"},
                      [&api](http::Request& request) { return api.handle(request); });
  const auto url = http::Url::parse("http://127.0.0.1:" + std::to_string(server.port()));
  s3::Client client(executor, {.url = *url, .region = "eu-central-1", .credentials = credentials}, clock);
  TaskGroup group(executor);
  group.spawn("server", server.serve());
  co_await with_cleanup(test(client, folder.path()), [&group] { return group.stop(); });
}

void run_with_client(std::function<Task<>(s3::Client&, std::string)> test) {
  asio::io_context context(1);
  std::exception_ptr error;
  asio::co_spawn(context.get_executor(), with_deadline(60s, "the test hangs", with_client(std::move(test))),
                 [&error](const std::exception_ptr& e) { error = e; });
  context.run();
  if (error) std::rethrow_exception(error);
}

TEST(S3Client, puts_gets_lists_and_removes) {
  run_with_client([](s3::Client& client, std::string) -> Task<> {
    co_await client.create_bucket("bucket");
    co_await client.create_bucket("bucket");  // ours already: fine
    const std::string key = "home/app:git-1/a key+ü";
    co_await client.put("bucket", key, "content");
    EXPECT_EQ(co_await client.get("bucket", key), "content");
    const auto info = co_await client.head("bucket", key);
    EXPECT_TRUE(info.has_value());
    EXPECT_EQ(info->size, 7u);
    EXPECT_EQ(info->etag, to_hex(md5("content")));
    EXPECT_FALSE((co_await client.head("bucket", "never")).has_value());
    const auto found = co_await client.list("bucket", "home/");
    EXPECT_EQ(found.size(), 1u);
    EXPECT_EQ(found.at(0).key, key);
    co_await client.remove("bucket", key);
    EXPECT_TRUE((co_await client.list("bucket", "")).empty());
  });
}

TEST(S3Client, lists_more_than_a_page) {
  run_with_client([](s3::Client& client, std::string) -> Task<> {
    co_await client.create_bucket("bucket");
    for (int i = 0; i < 1005; ++i) co_await client.put("bucket", "k" + std::to_string(i), "");
    EXPECT_EQ((co_await client.list("bucket", "k")).size(), 1005u);
  });
}

TEST(S3Client, streams_files_in_one_piece_and_in_parts) {
  run_with_client([](s3::Client& client, std::string folder) -> Task<> {
    co_await client.create_bucket("bucket");
    for (const std::size_t size : {std::size_t{0}, std::size_t{3'000'001}, std::size_t{70u << 20}}) {
      std::string content(size, 'x');
      for (std::size_t i = 0; i < size; i += 1000) content[i] = static_cast<char>(i / 1000);
      const auto path = folder + "/file";
      write_file_atomically(path, content);
      co_await client.put_file("bucket", "file", path);
      auto body = co_await client.get_stream("bucket", "file");
      Digest digest(DigestKind::sha256);
      for (;;) {
        const auto piece = co_await body->read();
        if (piece.empty()) break;
        digest.update(piece);
      }
      EXPECT_EQ(to_hex(digest.finish()), to_hex(sha256(content))) << size;
    }
  });
}

TEST(S3Client, uploads_what_is_still_being_made) {
  run_with_client([](s3::Client& client, std::string) -> Task<> {
    co_await client.create_bucket("bucket");
    for (const std::size_t size : {std::size_t{0}, std::size_t{100}, std::size_t{8u << 20}, (20u << 20) + 3uz}) {
      std::string content(size, 'x');
      for (std::size_t i = 0; i < size; i += 1000) content[i] = static_cast<char>(i / 1000);
      std::size_t at = 0;
      auto read = [&]() -> Task<std::string> {
        auto piece = content.substr(at, 64u << 10);
        at += piece.size();
        co_return piece;
      };
      co_await client.put_stream("bucket", "stream", read);
      EXPECT_EQ(co_await client.get("bucket", "stream"), content) << size;
    }
  });
}

TEST(S3Client, leaves_no_object_of_what_could_not_be_made) {
  run_with_client([](s3::Client& client, std::string) -> Task<> {
    co_await client.create_bucket("bucket");
    for (const int pieces : {0, 300}) {
      int count = 0;
      auto read = [&]() -> Task<std::string> {
        if (count++ == pieces) throw Error(ErrorKind::invalid, "no more of it");
        co_return std::string(64u << 10, 'x');
      };
      std::string message;
      try {
        co_await client.put_stream("bucket", "stream", read);
      } catch (const Error& error) {
        message = error.message();
      }
      EXPECT_EQ(message, "no more of it");
      EXPECT_FALSE((co_await client.head("bucket", "stream")).has_value());
    }
  });
}

TEST(S3Client, presigns_for_whoever_has_no_credentials) {
  run_with_client([](s3::Client& client, std::string) -> Task<> {
    co_await client.create_bucket("bucket");
    co_await client.put("bucket", "a key", "content");
    http::Client anonymous(co_await asio::this_coro::executor);
    const auto url = client.presigned_get("bucket", "a key", 60s);
    auto response = co_await anonymous.send({.url = *http::Url::parse(url)});
    EXPECT_EQ(co_await response.text(), "content");
    auto refused = co_await anonymous.send({.url = *http::Url::parse(url + "0")});
    EXPECT_EQ(refused.status, 403);
    // To write one object is no right to read it, or to write another.
    const auto put = *http::Url::parse(client.presigned_put("bucket", "new", 60s));
    co_await s3::upload(anonymous, put, "by somebody else");
    EXPECT_EQ(co_await client.get("bucket", "new"), "by somebody else");
    auto other = put;
    other.path = "/bucket/other";
    EXPECT_EQ((co_await anonymous.send({.method = "PUT", .url = other})).status, 403);
    EXPECT_EQ((co_await anonymous.send({.url = put})).status, 403);
  });
}

TEST(S3Client, names_what_failed) {
  run_with_client([](s3::Client& client, std::string folder) -> Task<> {
    struct Case {
      Task<> call;
      ErrorKind kind;
      std::string part;
    };
    auto get = [](s3::Client& from, std::string bucket) -> Task<> { co_await from.get(bucket, "key"); };
    co_await client.create_bucket("bucket");
    std::vector<Case> cases;
    cases.push_back({get(client, "bucket"), ErrorKind::not_found, "NoSuchKey"});
    cases.push_back({get(client, "nowhere"), ErrorKind::not_found, "NoSuchBucket"});
    cases.push_back({client.create_bucket("Bad_Name"), ErrorKind::invalid, "InvalidBucketName"});
    cases.push_back({client.put_file("bucket", "key", folder + "/never"), ErrorKind::not_found, "never"});
    for (auto& test : cases) {
      std::string message;
      try {
        co_await std::move(test.call);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), test.kind) << error.message();
        message = error.message();
      }
      EXPECT_NE(message.find(test.part), std::string::npos) << message;
    }
  });
}

}  // namespace
}  // namespace workflow::objectstore
