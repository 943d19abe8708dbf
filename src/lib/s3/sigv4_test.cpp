#include "lib/s3/sigv4.h"

#include <gtest/gtest.h>

#include "lib/base/encoding.h"

namespace workflow::s3 {
namespace {

using namespace std::chrono_literals;

// The examples of "Authenticating Requests (AWS Signature Version 4)" in Amazon's S3 API reference.
const Credentials example{"AKIAIOSFODNN7EXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")};
const std::string empty_hash = to_hex(sha256(""));
const std::string day = "20130524T000000Z";
const Time noted = *parse_basic_iso8601(day);

std::optional<Secret> find_example(const std::string& key) {
  if (key != example.access_key) return std::nullopt;
  return example.secret_key;
}

struct Vector {
  std::string method, path, query;
  http::Headers headers;
  std::string hash, signature;
};

std::vector<Vector> published_vectors() {
  const std::string host = "examplebucket.s3.amazonaws.com";
  const std::string put_hash = to_hex(sha256("Welcome to Amazon S3."));
  auto headers = [&](const std::string& hash, http::Headers more) {
    http::Headers all{{"Host", host}, {"x-amz-content-sha256", hash}, {"x-amz-date", day}};
    for (const auto& [name, value] : more) all.add(name, value);
    return all;
  };
  return {
      {"GET", "/test.txt", "", headers(empty_hash, {{"Range", "bytes=0-9"}}), empty_hash,
       "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
      {"PUT", "/test%24file.text", "",
       headers(put_hash, {{"Date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}}),
       put_hash, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
      {"GET", "/", "lifecycle", headers(empty_hash, {}), empty_hash,
       "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
      {"GET", "/", "max-keys=2&prefix=J", headers(empty_hash, {}), empty_hash,
       "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
  };
}

SignInput input_of(const Vector& vector) {
  return {vector.method, vector.path, vector.query, vector.headers, vector.hash};
}

TEST(Endpoint, is_read_from_the_settings) {
  Env env({{"S3_ENDPOINT", "http://store:9000"}, {"S3_ACCESS_KEY", "me"}, {"S3_SECRET_KEY", "hidden"}});
  const auto endpoint = Endpoint::from(env);
  env.done();
  EXPECT_EQ(endpoint.url.host, "store");
  EXPECT_EQ(endpoint.region, "us-east-1");
  EXPECT_EQ(endpoint.credentials.access_key, "me");
  EXPECT_EQ(endpoint.credentials.secret_key.reveal(), "hidden");

  Env bad({{"S3_ENDPOINT", "store:9000"}});
  Endpoint::from(bad);
  try {
    bad.done();
    FAIL() << "accepted";
  } catch (const Error& error) {
    for (const std::string name : {"S3_ENDPOINT", "S3_ACCESS_KEY_FILE", "S3_SECRET_KEY_FILE"}) {
      EXPECT_TRUE(error.fields().contains(name)) << name;
    }
  }
}

TEST(Authorization, matches_the_published_examples) {
  for (const auto& vector : published_vectors()) {
    const auto header = authorization(input_of(vector), example, "us-east-1", noted);
    EXPECT_TRUE(header.ends_with("Signature=" + vector.signature)) << vector.path << "\n" << header;
  }
}

TEST(Verify, accepts_the_published_examples) {
  for (const auto& vector : published_vectors()) {
    auto input = input_of(vector);
    input.headers.add("Authorization", authorization(input, example, "us-east-1", noted));
    const auto verified = verify(input, "us-east-1", noted + 5min, find_example);
    EXPECT_TRUE(verified.ok) << verified.error_code;
    EXPECT_EQ(verified.access_key, example.access_key);
  }
}

TEST(Presign, matches_the_published_example) {
  const auto url = presign("GET", *http::Url::parse("https://examplebucket.s3.amazonaws.com/test.txt"), example,
                           "us-east-1", noted, 86400s);
  EXPECT_TRUE(url.ends_with("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")) << url;
}

TEST(Verify, refuses_what_is_wrong_with_the_code_that_S3_gives) {
  const auto vector = published_vectors().front();
  struct Case {
    std::string what, code;
    std::function<void(SignInput&)> spoil;
    Time now = noted;
    std::string region = "us-east-1";
  };
  auto signature = [](SignInput& input) {
    auto header = input.headers.get("Authorization");
    header.back() = header.back() == '0' ? '1' : '0';
    input.headers.set("Authorization", header);
  };
  const Case cases[] = {
      {"signature", "SignatureDoesNotMatch", signature},
      {"method", "SignatureDoesNotMatch", [](SignInput& i) { i.method = "PUT"; }},
      {"path", "SignatureDoesNotMatch", [](SignInput& i) { i.raw_path = "/other"; }},
      {"query", "SignatureDoesNotMatch", [](SignInput& i) { i.raw_query = "acl"; }},
      {"payload", "SignatureDoesNotMatch", [](SignInput& i) { i.payload_hash = unsigned_payload; }},
      {"header", "SignatureDoesNotMatch", [](SignInput& i) { i.headers.set("Range", "bytes=0-10"); }},
      {"payload hash", "InvalidRequest", [](SignInput& i) { i.payload_hash = "abc"; }},
      {"unsigned header", "AccessDenied", [](SignInput& i) { i.headers.set("x-amz-copy-source", "/b/k"); }},
      {"no auth", "AccessDenied", [](SignInput& i) { i.headers.remove("Authorization"); }},
      {"old way", "InvalidRequest", [](SignInput& i) { i.headers.set("Authorization", "AWS AK:sig"); }},
      {"malformed", "AuthorizationHeaderMalformed",
       [](SignInput& i) { i.headers.set("Authorization", "AWS4-HMAC-SHA256 Credential=x"); }},
      {"late", "RequestTimeTooSkewed", [](SignInput&) {}, noted + 16min},
      {"early", "RequestTimeTooSkewed", [](SignInput&) {}, noted - 16min},
      {"region", "AuthorizationHeaderMalformed", [](SignInput&) {}, noted, "eu-west-1"},
      {"key", "InvalidAccessKeyId",
       [](SignInput& i) {
         auto header = i.headers.get("Authorization");
         i.headers.set("Authorization", header.replace(header.find("AKIA"), 4, "BKIA"));
       }},
  };
  for (const auto& test : cases) {
    auto input = input_of(vector);
    input.headers.add("Authorization", authorization(input, example, "us-east-1", noted));
    test.spoil(input);
    const auto verified = verify(input, test.region, test.now, find_example);
    EXPECT_FALSE(verified.ok) << test.what;
    EXPECT_EQ(verified.error_code, test.code) << test.what;
  }
}

TEST(Verify, holds_presigned_urls_to_their_time) {
  const auto url = *http::Url::parse(
      presign("GET", *http::Url::parse("http://store:9000/b/a%20key"), example, "us-east-1", noted, 3600s));
  auto check = [&](Time now, const std::string& method) {
    const SignInput input{method, url.path, url.query, {{"Host", "store:9000"}}, std::string(unsigned_payload)};
    return verify(input, "us-east-1", now, find_example).error_code;
  };
  EXPECT_EQ(check(noted, "GET"), "");
  EXPECT_EQ(check(noted + 3600s, "GET"), "");
  EXPECT_EQ(check(noted + 3601s, "GET"), "AccessDenied");
  EXPECT_EQ(check(noted - 1h, "GET"), "AccessDenied");
  EXPECT_EQ(check(noted, "PUT"), "SignatureDoesNotMatch");
  EXPECT_THROW(presign("GET", url, example, "us-east-1", noted, longest_presign + 1s), Error);
}

// The chunked upload of the same reference: 64 KiB, then 1 KiB of "a".
const std::string seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";

TEST(Verify, prepares_the_chunk_decoder) {
  SignInput input{.method = "PUT", .raw_path = "/examplebucket/chunkObject.txt", .raw_query = ""};
  input.payload_hash = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
  input.headers = {{"Host", "s3.amazonaws.com"},
                   {"x-amz-date", day},
                   {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
                   {"x-amz-content-sha256", input.payload_hash},
                   {"Content-Encoding", "aws-chunked"},
                   {"x-amz-decoded-content-length", "66560"},
                   {"Content-Length", "66824"}};
  input.headers.add("Authorization", authorization(input, example, "us-east-1", noted));
  const auto verified = verify(input, "us-east-1", noted, find_example);
  ASSERT_TRUE(verified.ok && verified.streaming);
  EXPECT_EQ(verified.streaming->seed_signature, seed);
  EXPECT_TRUE(verified.streaming->has_signatures);
  EXPECT_FALSE(verified.streaming->has_trailer);
}

Verified::Streaming streaming(bool signatures, bool trailer, const std::string& from) {
  const Scope scope{"20130524", "us-east-1"};
  return {from, signing_key(example.secret_key, scope), scope.text(), day, signatures, trailer};
}

std::string signed_upload() {
  auto chunk = [](const char* size, const char* signature, std::size_t count) {
    return std::string(size) + ";chunk-signature=" + signature + "\r\n" + std::string(count, 'a') + "\r\n";
  };
  return chunk("10000", "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648", 65536) +
         chunk("400", "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497", 1024) +
         chunk("0", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9", 0);
}

TEST(ChunkDecoder, accepts_the_published_example_in_pieces_of_any_size) {
  const auto upload = signed_upload();
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{1000}, upload.size()}) {
    ChunkDecoder decoder(streaming(true, false, seed));
    std::string out;
    for (std::size_t at = 0; at < upload.size(); at += piece) {
      ASSERT_TRUE(decoder.feed(std::string_view(upload).substr(at, piece), out)) << decoder.error();
    }
    EXPECT_TRUE(decoder.finished());
    EXPECT_TRUE(out == std::string(66560, 'a'));
  }
}

TEST(ChunkDecoder, refuses_changed_bytes_anywhere) {
  const auto upload = signed_upload();
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{30}, std::size_t{1000}, std::size_t{65'700}, upload.size() - 10}) {
    auto spoiled = upload;
    spoiled[at] = spoiled[at] == 'b' ? 'c' : 'b';
    ChunkDecoder decoder(streaming(true, false, seed));
    std::string out;
    EXPECT_FALSE(decoder.feed(spoiled, out) && decoder.finished()) << at;
  }
}

TEST(ChunkDecoder, checks_trailers) {
  // "Trailer headers" of the same reference.
  const std::string trailer_seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
  auto upload = [](const std::string& checksum) {
    return "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" +
           std::string(65536, 'a') +
           "\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" +
           std::string(1024, 'a') +
           "\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n"
           "x-amz-checksum-crc32c:" +
           checksum +
           "\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n";
  };
  ChunkDecoder decoder(streaming(true, true, trailer_seed));
  std::string out;
  EXPECT_TRUE(decoder.feed(upload("sOO8/Q=="), out)) << decoder.error();
  EXPECT_TRUE(decoder.finished());
  EXPECT_EQ(decoder.trailers().at("x-amz-checksum-crc32c"), "sOO8/Q==");
  ChunkDecoder wrong(streaming(true, true, trailer_seed));
  EXPECT_FALSE(wrong.feed(upload("sOO8/A=="), out));
}

TEST(ChunkDecoder, takes_unsigned_chunks_and_refuses_malformed_ones) {
  struct Case {
    std::string text;
    bool ok;
  };
  const Case cases[] = {{"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n", true},
                        {"3\r\nabc\r\n0\r\n\r\n", true},
                        {"3\r\nabc\r\n0\r\n", false},
                        {"4\r\nabc\r\n0\r\n\r\n", false},
                        {"-1\r\nabc\r\n0\r\n\r\n", false},
                        {"3\nabc\r\n0\r\n\r\n", false},
                        {"3\r\nabc\r\n0\r\n\r\nmore", false},
                        {"fffffffffffff\r\n", false},
                        {"0\r\nno colon\r\n\r\n", false}};
  for (const auto& [text, ok] : cases) {
    ChunkDecoder decoder(streaming(false, true, ""));
    std::string out;
    const bool fed = decoder.feed(text, out);
    EXPECT_EQ(fed && decoder.finished(), ok) << text;
  }
}

}  // namespace
}  // namespace workflow::s3
