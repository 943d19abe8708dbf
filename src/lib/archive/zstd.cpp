#include "lib/archive/zstd.h"

#include <zstd.h>

#include "lib/base/error.h"

namespace workflow::archive {
namespace {

constexpr int level = 1;

}  // namespace

struct ZstdStream::State {
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context{ZSTD_createCCtx(), ZSTD_freeCCtx};
};

ZstdStream::ZstdStream() : state_(std::make_unique<State>()) {
  if (!state_->context) throw Error(ErrorKind::unavailable, "no memory to compress with");
  ZSTD_CCtx_setParameter(state_->context.get(), ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(state_->context.get(), ZSTD_c_checksumFlag, 1);
}

ZstdStream::~ZstdStream() = default;

std::string ZstdStream::compress(std::string_view bytes, int directive) {
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  std::string out;
  for (;;) {
    const auto had = out.size();
    out.resize(had + ZSTD_CStreamOutSize());
    ZSTD_outBuffer to{out.data() + had, out.size() - had, 0};
    const auto left = ZSTD_compressStream2(state_->context.get(), &to, &in, static_cast<ZSTD_EndDirective>(directive));
    if (ZSTD_isError(left))
      throw Error(ErrorKind::internal, "cannot compress: " + std::string(ZSTD_getErrorName(left)));
    out.resize(had + to.pos);
    const bool done = directive == ZSTD_e_end ? left == 0 : in.pos == in.size;
    if (done) return out;
  }
}

std::string ZstdStream::add(std::string_view bytes) { return compress(bytes, ZSTD_e_continue); }

std::string ZstdStream::end() { return compress({}, ZSTD_e_end); }

}  // namespace workflow::archive
