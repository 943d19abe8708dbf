#include "lib/base/log.h"

#include <gtest/gtest.h>

namespace workflow::log {

TEST(Log, renders_logfmt) {
  EXPECT_EQ(render(Format::logfmt, Level::info, "controller", "7f3a", "release created",
                   {kv("app", "peachy"), kv("count", 3), kv("ok", true)}),
            "level=info component=controller request=7f3a msg=\"release created\" app=peachy count=3 ok=true");
  EXPECT_EQ(render(Format::logfmt, Level::warn, "", "", "odd", {kv("text", "a=\"b\"\n\x01"), kv("none", "")}),
            "level=warn msg=odd text=\"a=\\\"b\\\"\\n\\u0001\" none=\"\"");
}

TEST(Log, renders_json) {
  EXPECT_EQ(render(Format::json, Level::error, "engine", "", "it broke", {kv("path", "C:\\\"x\"")}),
            R"({"level":"error","component":"engine","msg":"it broke","path":"C:\\\"x\""})");
}

TEST(Log, request_scopes_nest) {
  EXPECT_EQ(current_request(), "");
  {
    const RequestScope outer("a");
    {
      const RequestScope inner("b");
      EXPECT_EQ(current_request(), "b");
    }
    EXPECT_EQ(current_request(), "a");
  }
  EXPECT_EQ(current_request(), "");
}

}  // namespace workflow::log
