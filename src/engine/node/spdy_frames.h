// src/engine/node/spdy_frames.h: the frames of SPDY/3.1, in which kubectl and Go's client library open several streams
//   on one connection for exec, attach and port-forward (draft-mbelshe-httpbis-spdy-00, and 3.1's session window).
//   Rules  header blocks of a direction are one zlib stream, so frames are read and written in the order of the wire.
//          What a peer can make us hold is bounded: a control frame, its unpacked headers; data is handed on in pieces.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace workflow::engine::spdy {

using Headers = std::vector<std::pair<std::string, std::string>>;  // names in lower case

struct Open {  // SYN_STREAM
  std::uint32_t stream = 0;
  Headers headers;
  bool last = false;
};
struct Data {  // a piece of a data frame
  std::uint32_t stream = 0;
  std::string bytes;
  bool last = false;
};
struct Reset {
  std::uint32_t stream = 0;
};
struct HeadersEnd {  // a HEADERS or SYN_REPLY that ends its stream
  std::uint32_t stream = 0;
};
struct Ping {
  std::uint32_t id = 0;
};
struct GoAway {};
struct Violation {  // nothing can be read any more
  std::string why;
};
using Frame = std::variant<Open, Data, Reset, HeadersEnd, Ping, GoAway, Violation>;

constexpr std::size_t most_control_bytes = 64u << 10, most_header_bytes = 64u << 10, most_headers = 64;

// Bytes in, frames out; what is of no concern (SETTINGS, WINDOW_UPDATE, frames unknown) is passed over.
class Decoder {
 public:
  Decoder();
  ~Decoder();
  void feed(std::string_view bytes);
  std::optional<Frame> next();  // nullopt: more bytes are needed. After a Violation: it again

 private:
  struct Inflater;
  std::optional<Frame> control(std::uint16_t type, std::uint8_t flags, std::string_view body);
  std::optional<Headers> headers(std::string_view block);

  std::unique_ptr<Inflater> inflater_;
  std::string buffer_;
  std::size_t used_ = 0;
  std::uint32_t data_stream_ = 0;
  std::size_t data_left_ = 0;
  bool data_last_ = false;
  std::optional<Violation> violation_;
};

// Frames to the peer, in the order in which they are sent.
class Encoder {
 public:
  Encoder();
  ~Encoder();
  std::string open(const Open& frame);         // what a client begins a stream with
  std::string reply(std::uint32_t stream);     // to an Open, without headers
  static std::string data(const Data& frame);  // at most 2^24 - 1 bytes
  static std::string reset(std::uint32_t stream);
  static std::string ping(std::uint32_t id);
  static std::string go_away(std::uint32_t last_stream);
  static std::string window_update(std::uint32_t stream, std::uint32_t bytes);

 private:
  struct Deflater;
  std::unique_ptr<Deflater> deflater_;
};

}  // namespace workflow::engine::spdy
