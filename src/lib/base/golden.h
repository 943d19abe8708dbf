// src/lib/base/golden.h: compares a text with testdata/<name>.golden; WORKFLOW_UPDATE_GOLDEN=1 rewrites the file.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>

#include "lib/base/file.h"

namespace workflow {

inline void expect_golden(const std::string& name, const std::string& text) {
  const auto path = std::filesystem::path(WF_TESTDATA) / (name + ".golden");
  if (std::getenv("WORKFLOW_UPDATE_GOLDEN") != nullptr) write_file_atomically(path, text);
  EXPECT_EQ(find_file(path).value_or("(there is no " + path.string() + ")"), text) << path;
}

}  // namespace workflow
