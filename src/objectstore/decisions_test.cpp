#include <gtest/gtest.h>

#include <random>

#include "lib/base/encoding.h"
#include "objectstore/checksums.h"
#include "objectstore/conditions.h"
#include "objectstore/listing.h"
#include "objectstore/operation.h"

namespace workflow::objectstore {
namespace {

using namespace std::chrono_literals;

TEST(Range, takes_what_rfc_9110_allows) {
  using Range = std::variant<WholeObject, ByteRange, UnsatisfiableRange>;
  struct Case {
    std::optional<std::string> header;
    std::uint64_t size;
    Range range;
  };
  const Case cases[] = {
      {std::nullopt, 10, WholeObject()},       {"bytes=0-4", 10, ByteRange{0, 5}},
      {"bytes=5-", 10, ByteRange{5, 5}},       {"bytes=-3", 10, ByteRange{7, 3}},
      {"bytes=-30", 10, ByteRange{0, 10}},     {"bytes=9-100", 10, ByteRange{9, 1}},
      {"bytes=10-", 10, UnsatisfiableRange()}, {"bytes=-0", 10, UnsatisfiableRange()},
      {"bytes=0-0", 0, UnsatisfiableRange()},  {"bytes=5-4", 10, WholeObject()},
      {"bytes=0-1,3-4", 10, WholeObject()},    {"bytes=a-b", 10, WholeObject()},
      {"bytes=-", 10, WholeObject()},          {"bytes=--1", 10, WholeObject()},
      {"lines=0-4", 10, WholeObject()},        {"bytes=99999999999999999999-", 10, WholeObject()},
  };
  for (const auto& [header, size, range] : cases) EXPECT_EQ(range_of(header, size), range) << header.value_or("none");
}

TEST(Conditions, follow_their_precedence) {
  const Time modified = *parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") + 500ms;
  const std::string same = "Sun, 06 Nov 1994 08:49:37 GMT", before = "Sun, 06 Nov 1994 08:49:36 GMT";
  struct Case {
    http::Headers headers;
    Verdict verdict;
  };
  const Case cases[] = {
      {{}, Verdict::go_on},
      {{{"If-Match", "\"e\""}}, Verdict::go_on},
      {{{"If-Match", "\"a\", \"e\""}}, Verdict::go_on},
      {{{"If-Match", "*"}}, Verdict::go_on},
      {{{"If-Match", "\"a\""}}, Verdict::failed},
      {{{"If-None-Match", "\"e\""}}, Verdict::not_modified},
      {{{"If-None-Match", "W/\"e\""}}, Verdict::not_modified},
      {{{"If-None-Match", "\"a\""}}, Verdict::go_on},
      {{{"If-Modified-Since", same}}, Verdict::not_modified},
      {{{"If-Modified-Since", before}}, Verdict::go_on},
      {{{"If-Unmodified-Since", same}}, Verdict::go_on},
      {{{"If-Unmodified-Since", before}}, Verdict::failed},
      {{{"If-Match", "\"e\""}, {"If-Unmodified-Since", before}}, Verdict::go_on},
      {{{"If-None-Match", "\"a\""}, {"If-Modified-Since", same}}, Verdict::go_on},
      {{{"If-Modified-Since", "nonsense"}}, Verdict::go_on},
  };
  for (const auto& [headers, verdict] : cases) {
    EXPECT_EQ(check_conditions(headers, "", "e", modified), verdict) << headers.begin()->first;
  }
}

TEST(Operation, is_known_by_method_path_and_query) {
  struct Case {
    std::string method, path, query, name;
    http::Headers headers{};
  };
  const Case cases[] = {
      {"GET", "/", "", "ListBuckets"},
      {"POST", "/", "", "MethodNotAllowed"},
      {"PUT", "/b", "", "CreateBucket"},
      {"PUT", "/b/", "", "CreateBucket"},
      {"HEAD", "/b", "", "HeadBucket"},
      {"DELETE", "/b", "", "DeleteBucket"},
      {"GET", "/b", "", "ListObjects"},
      {"GET", "/b", "list-type=2&prefix=x", "ListObjectsV2"},
      {"GET", "/b", "location", "GetBucketLocation"},
      {"GET", "/b", "uploads", "ListMultipartUploads"},
      {"GET", "/b", "policy", "GetConfiguration"},
      {"PUT", "/b", "policy", "NotImplemented"},
      {"PUT", "/b", "versioning", "NotImplemented"},
      {"DELETE", "/b", "lifecycle", "NotImplemented"},
      {"POST", "/b", "delete", "DeleteObjects"},
      {"POST", "/b", "", "MethodNotAllowed"},
      {"PUT", "/b/k", "", "PutObject"},
      {"PUT", "/b/k", "", "CopyObject", {{"x-amz-copy-source", "/b/l"}}},
      {"PUT", "/b/k", "uploadId=1&partNumber=2", "UploadPart"},
      {"PUT", "/b/k", "uploadId=1&partNumber=2", "UploadPartCopy", {{"x-amz-copy-source", "/b/l"}}},
      {"PUT", "/b/k", "tagging", "NotImplemented"},
      {"GET", "/b/k/l", "", "GetObject"},
      {"GET", "/b/k", "versionId=x", "GetObject"},
      {"HEAD", "/b/k", "", "HeadObject"},
      {"DELETE", "/b/k", "", "DeleteObject"},
      {"DELETE", "/b/k", "uploadId=1", "AbortMultipartUpload"},
      {"POST", "/b/k", "uploads", "CreateMultipartUpload"},
      {"POST", "/b/k", "uploadId=1", "CompleteMultipartUpload"},
      {"GET", "/b/k", "uploadId=1", "ListParts"},
      {"POST", "/b/k", "select&select-type=2", "NotImplemented"},
      {"PATCH", "/b/k", "", "MethodNotAllowed"},
  };
  for (const auto& test : cases) {
    http::Request request;
    request.method = test.method;
    request.query = *http::Query::parse(test.query);
    request.headers = test.headers;
    EXPECT_EQ(name_of(operation_of(request, target_of(test.path))), test.name)
        << test.method << test.path << test.query;
  }
}

// The published check values of "123456789".
TEST(Checksum, matches_the_catalogue) {
  struct Case {
    std::string name, hex;
  };
  const Case cases[] = {{"crc32", "cbf43926"},
                        {"crc32c", "e3069283"},
                        {"crc64nvme", "ae8b14860a799888"},
                        {"sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"}};
  for (const auto& [name, hex] : cases) {
    for (const std::size_t cut : {0u, 3u, 8u}) {
      auto checksum = Checksum::of(name);
      ASSERT_TRUE(checksum) << name;
      checksum->update(std::string_view("123456789").substr(0, cut));
      checksum->update(std::string_view("123456789").substr(cut));
      EXPECT_EQ(checksum->base64(), to_base64(*from_hex(hex))) << name;
    }
  }
  EXPECT_EQ(Checksum::of("md4"), nullptr);
}

// Slow and obviously right: all that a listing shows, in order.
std::vector<std::string> expected_listing(const Index& index, const std::string& prefix, const std::string& delimiter) {
  std::vector<std::string> all;
  for (const auto& [key, entry] : index) {
    if (!key.starts_with(prefix)) continue;
    const auto cut = delimiter.empty() ? std::string::npos : key.find(delimiter, prefix.size());
    const auto shown = cut == std::string::npos ? key : key.substr(0, cut + delimiter.size());
    if (all.empty() || all.back() != shown) all.push_back(shown);
  }
  return all;
}

TEST(Listing, shows_everything_once_whatever_the_page_size) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    Index index;
    for (int i = 0; i < 40; ++i) {
      std::string key;
      const auto length = 1 + random() % 6;
      for (std::size_t k = 0; k < length; ++k) key += "ab//\xff"[random() % 5];
      index[key] = {};
    }
    for (const std::string prefix : {"", "a", "a/", "/"}) {
      for (const std::string delimiter : {"", "/", "//", "b"}) {
        for (const std::size_t limit : {1u, 2u, 7u, 1000u}) {
          std::vector<std::string> shown;
          ListQuery query{.prefix = prefix, .delimiter = delimiter, .limit = limit};
          for (;;) {
            const auto page = list(index, query);
            for (const auto& [key, entry] : page.objects) shown.push_back(key);
            shown.insert(shown.end(), page.common_prefixes.begin(), page.common_prefixes.end());
            EXPECT_LE(page.objects.size() + page.common_prefixes.size(), limit);
            if (!page.truncated) break;
            query.after = page.last;
          }
          std::ranges::sort(shown);
          EXPECT_EQ(shown, expected_listing(index, prefix, delimiter)) << prefix << " " << delimiter << " " << limit;
        }
      }
    }
  }
}

TEST(Listing, of_nothing_is_never_truncated) {
  Index index;
  index["a"] = {};
  EXPECT_FALSE(list(index, {.limit = 0}).truncated);
  EXPECT_TRUE(list(index, {.after = "a"}).objects.empty());
  EXPECT_EQ(list(index, {.prefix = "a", .after = "0"}).objects.size(), 1u);
}

}  // namespace
}  // namespace workflow::objectstore
