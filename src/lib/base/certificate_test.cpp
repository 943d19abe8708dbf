#include "lib/base/certificate.h"

#include <gtest/gtest.h>

#include "lib/base/file.h"

namespace workflow {
namespace {

// A certificate that openssl made, and its key.
const std::string pair = read_file(WF_TESTDATA "/certificate_fuzz_corpus/pair");
const std::string other_key = R"(-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIBh+AZLHVjtmrucVc5RHWu1d/ckcya565IRUJxCmJGra
-----END PRIVATE KEY-----
)";

TEST(Certificate, says_what_openssl_says_of_it) {
  const auto chain = read_certificates(pair);
  ASSERT_TRUE(chain) << chain.error();
  ASSERT_EQ(chain->size(), 1u) << "the key is skipped";
  const auto facts = facts_of(chain->front().get());
  EXPECT_EQ(facts.common_name, "foo.com");
  EXPECT_EQ(facts.organizations, (std::vector<std::string>{"first", "second"}));
  EXPECT_EQ(facts.san, (std::vector<std::string>{"foo.com", "www.foo.com"}));
  EXPECT_EQ(facts.fingerprint,
            "74:AA:2A:BC:7D:EB:0D:BA:54:3C:3A:CD:92:51:07:89:9A:EF:8C:B9:E2:B3:3D:71:1E:71:D8:FA:96:F1:53:2E");
  EXPECT_EQ(rfc3339(facts.starts), "2026-11-30T21:24:37Z");
  EXPECT_EQ(rfc3339(facts.expires), "2036-11-27T21:24:37Z");
  EXPECT_EQ(facts.subject, "/C=US/O=first/O=second/CN=foo.com");
  EXPECT_EQ(facts.issuer, facts.subject);
}

TEST(Certificate, belongs_to_its_own_key_alone) {
  const auto chain = read_certificates(pair);
  const auto own = read_private_key(pair), ed25519 = read_private_key(other_key);
  ASSERT_TRUE(chain && own && ed25519);
  EXPECT_TRUE(is_pair(chain->front().get(), own->get()));
  EXPECT_FALSE(is_pair(chain->front().get(), ed25519->get()));
}

TEST(Certificate, every_one_of_a_chain_is_read) {
  const auto chain = read_certificates(pair + "words between\n" + pair);
  ASSERT_TRUE(chain) << chain.error();
  EXPECT_EQ(chain->size(), 2u);
  const auto broken = read_certificates(read_file(WF_TESTDATA "/certificate_fuzz_corpus/broken_chain"));
  ASSERT_FALSE(broken);
  EXPECT_TRUE(broken.error().starts_with("certificate 2 of the chain: ")) << broken.error();
}

TEST(Certificate, what_cannot_be_read_has_a_reason) {
  for (const std::string text : {"", "junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}) {
    const auto chain = read_certificates(text);
    ASSERT_FALSE(chain) << text;
    EXPECT_NE(chain.error(), "") << text;
    EXPECT_FALSE(read_private_key(text)) << text;
  }
  EXPECT_FALSE(read_certificates(other_key)) << "a key is no certificate";
  // Nobody is asked for its passphrase: this would wait for a terminal.
  EXPECT_FALSE(read_private_key(read_file(WF_TESTDATA "/certificate_fuzz_corpus/encrypted_key")));
}

}  // namespace
}  // namespace workflow
