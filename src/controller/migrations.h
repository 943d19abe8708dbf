// src/controller/migrations.h: migrations/*.sql, in the order of their names, compiled in by CMake.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace workflow::controller {

const std::vector<std::pair<std::string, std::string>>& migrations();

}  // namespace workflow::controller
