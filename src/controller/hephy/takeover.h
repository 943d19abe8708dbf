// src/controller/hephy/takeover.h: what of an original's database this platform takes over.
//   The original's tables are those of Hephy Workflow 2.x (its migrations up to 0028) and of Deis Workflow 2.x, which
//   has fewer columns.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "controller/hephy/dump.h"
#include "lib/json/json.h"
#include "lib/sql/sql.h"

namespace workflow::controller::hephy {

// The tables that are read, with the columns that are; what a dump does not have is null.
const std::map<std::string, std::vector<std::string>, std::less<>>& tables_read();
std::set<std::string, std::less<>> names_of_tables_read();

struct Takeover {
  std::map<std::string, json::array> rows;  // objects, by table: cells as text, and what was computed from them
  std::vector<std::string> slugs;           // objects of the builder's bucket that releases run
  std::vector<std::string> left_out;        // what is not taken over, and why: the rest is
  std::vector<std::string> problems;        // why nothing can be
};
Takeover takeover_of(const Dump& dump);

struct Counts {
  std::int64_t users = 0, keys = 0, apps = 0, releases = 0, domains = 0, certificates = 0;
};
// Writes all rows, in the caller's transaction. Throws unprocessable when the platform has users already.
Counts take_over(sql::Tx& tx, const Takeover& takeover);

}  // namespace workflow::controller::hephy
