// src/router/encode.h: the model as a routing table.
#pragma once
#include <cstdint>
#include <string>

#include "router/model.h"

namespace workflow::router {

struct TableVersion {
  std::uint64_t generation = 0;
  std::uint64_t seed = 0;  // of the table's hashes: secret, so that nobody chooses names that collide
};
// Equal models and versions make equal tables.
std::string encode_table(const Model& model, TableVersion version);
// What the model has at the places, for a reader of table `base`; of the names that are touched nothing else is left.
std::string encode_amendment(const Model& model, const Touched& touched, std::uint64_t base, TableVersion version);

}  // namespace workflow::router
