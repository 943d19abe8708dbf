// src/controller/hephy/dump.h: the tables of a PostgreSQL dump in plain text, as pg_dump writes it.
#pragma once
#include <expected>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace workflow::controller::hephy {

struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<std::optional<std::string>>> rows;  // a cell per column; nullopt is NULL
};
using Dump = std::map<std::string, Table, std::less<>>;  // by name, without the schema

// The COPY sections of the tables that are wanted; else what is wrong with the text, and in which line. Text that is
// not UTF-8 is an error, as is a table that is there twice.
std::expected<Dump, std::string> read_dump(std::string_view text, const std::set<std::string, std::less<>>& wanted);

}  // namespace workflow::controller::hephy
