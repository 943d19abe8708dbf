#include "router/acme/answers.h"

#include <gtest/gtest.h>

#include "lib/base/utf8.h"
#include "router/acme/keys.h"

namespace workflow::router::acme {
namespace {

using namespace std::chrono_literals;

TEST(AcmeAnswers, a_directory_has_three_addresses_of_https) {
  const auto directory = parse_directory(
      R"({"newNonce":"https://ca/n","newAccount":"https://ca/a","newOrder":"https://ca/o","meta":{"x":1}})");
  ASSERT_TRUE(directory);
  EXPECT_EQ(directory->new_order, "https://ca/o");
  for (const char* bad : {"", "[]", "{}", R"({"newNonce":"https://ca/n","newAccount":"https://ca/a"})",
                          R"({"newNonce":"https://ca/n","newAccount":"http://ca/a","newOrder":"https://ca/o"})"})
    EXPECT_FALSE(parse_directory(bad)) << bad;
}

TEST(AcmeAnswers, an_order_has_its_authorizations) {
  const auto order = parse_order(R"({"status":"invalid","finalize":"https://ca/f","authorizations":["https://ca/1"],)"
                                 R"("error":{"type":"urn:ietf:params:acme:error:caa","detail":"forbidden by CAA"}})");
  ASSERT_TRUE(order);
  EXPECT_EQ(order->authorizations, std::vector<std::string>{"https://ca/1"});
  ASSERT_TRUE(order->problem);
  EXPECT_EQ(order->problem->type, "caa");
  EXPECT_EQ(order->problem->detail, "forbidden by CAA");
  for (const char* bad : {"{}", R"({"status":"ready","finalize":"https://ca/f"})",
                          R"({"status":"ready","finalize":"https://ca/f","authorizations":["file:///etc/passwd"]})",
                          R"({"status":"ready","finalize":"https://ca/f","authorizations":[7]})"})
    EXPECT_FALSE(parse_order(bad)) << bad;
  std::string many = R"({"status":"ready","finalize":"https://ca/f","authorizations":[)";
  for (int i = 0; i < 1000; ++i) many += R"("https://ca/1",)";
  many.back() = ']';
  EXPECT_FALSE(parse_order(many + "}")) << "too many";
}

TEST(AcmeAnswers, a_challenge_whose_token_is_no_token_is_left_out) {
  const auto authorization =
      parse_authorization(R"({"status":"pending","identifier":{"type":"dns","value":"A.example.com"},"challenges":[)"
                          R"({"type":"http-01","url":"https://ca/c","token":"abc_-9","status":"pending"},)"
                          R"({"type":"http-01","url":"https://ca/c","token":"../../etc","status":"pending"},)"
                          R"({"type":"http-01","url":"http://ca/c","token":"abc","status":"pending"},)"
                          R"({"type":"new-02","url":"https://ca/c"}]})");
  ASSERT_TRUE(authorization);
  EXPECT_EQ(authorization->domain, "a.example.com");
  ASSERT_EQ(authorization->challenges.size(), 1u);
  EXPECT_EQ(authorization->challenges[0].token, "abc_-9");
}

TEST(AcmeAnswers, words_are_cut_and_valid) {
  const auto problem = parse_problem(R"({"type":"urn:ietf:params:acme:error:badNonce","detail":")" +
                                     std::string(100'000, 'x') + "\xc3\xa9" + R"("})");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->type, "badNonce");
  EXPECT_LE(problem->detail.size(), 500u);
  EXPECT_TRUE(is_valid_utf8(problem->detail));
}

TEST(AcmeAnswers, patience_has_bounds) {
  const Time now = *parse_rfc3339("2026-06-01T12:00:00Z");
  struct Case {
    std::optional<std::string> value;
    std::chrono::milliseconds wait;
  };
  const Case cases[] = {{std::nullopt, 1s},           {"3", 3s},      {"0", 1s}, {"-5", 1s},
                        {"99999999999999999999", 1s}, {"86400", 60s}, {"x", 1s}, {http_date(now + 7s), 7s},
                        {http_date(now - 7s), 1s}};
  for (const auto& [value, wait] : cases) EXPECT_EQ(parse_retry_after(value, now), wait) << value.value_or("none");
}

TEST(AcmeAnswers, a_certificate_must_be_for_the_name_and_for_our_key_and_for_now) {
  const auto pair = make_challenge_certificate("www.example.com", "answer");
  const auto now = std::chrono::system_clock::now();
  const auto issued = check_issued(pair.certificate_pem, {"www.example.com", pair.key_pem, now});
  ASSERT_TRUE(issued) << issued.error();
  EXPECT_GT(issued->expires, now);
  EXPECT_EQ(check_issued(pair.certificate_pem, {"www.example.org", pair.key_pem, now}).error(),
            "it is not for www.example.org");
  EXPECT_EQ(check_issued(pair.certificate_pem, {"www.example.com", make_key_pem(), now}).error(),
            "it is for another key");
  EXPECT_EQ(check_issued(pair.certificate_pem, {"www.example.com", pair.key_pem, now + 365 * 24h}).error(),
            "it is not valid now");
  EXPECT_FALSE(check_issued("junk", {"www.example.com", pair.key_pem, now}));
}

}  // namespace
}  // namespace workflow::router::acme
