#include "engine/node/pause_image.h"

#include <cstdio>

#include "lib/base/encoding.h"
#include "lib/json/json.h"

// The program's bytes, from pause.c by way of the build.
asm(R"(
.section .rodata
.balign 16
.global wf_pause_begin, wf_pause_end
wf_pause_begin:
.incbin ")" WF_PAUSE_PROGRAM R"("
wf_pause_end:
.text
)");
extern "C" const char wf_pause_begin[], wf_pause_end[];

namespace workflow::engine {
namespace {

// A regular file of a ustar archive (POSIX.1, pax), owned by root, from the beginning of time.
std::string member(const std::string& name, const std::string& data, const char* mode) {
  std::string header(512, '\0');
  auto put = [&](std::size_t at, const std::string& text) { header.replace(at, text.size(), text); };
  char size[12];
  std::snprintf(size, sizeof size, "%011zo", data.size());
  put(0, name);
  put(100, mode);
  put(108, "0000000");
  put(116, "0000000");
  put(124, size);
  put(136, "00000000000");
  put(148, "        ");
  header[156] = '0';
  put(257, std::string("ustar\0"
                       "00",
                       8));
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  char checksum[8];
  std::snprintf(checksum, sizeof checksum, "%06o", sum);
  put(148, std::string(checksum, 7));
  std::string body = data;
  body.resize((data.size() + 511) / 512 * 512, '\0');
  return header + body;
}

const std::string end_of_archive(1024, '\0');

}  // namespace

std::string pause_image_archive(const std::string& name) {
  const auto layer = member("pause", std::string(wf_pause_begin, wf_pause_end), "0000755") + end_of_archive;
  auto digest = [](const std::string& bytes) { return to_hex(sha256(bytes)); };
  auto descriptor = [&](const char* kind, const std::string& bytes) {
    return json::object{{"mediaType", std::string("application/vnd.oci.image.") + kind},
                        {"digest", "sha256:" + digest(bytes)},
                        {"size", bytes.size()}};
  };
  const auto config =
      print_json(json::object{{"architecture", "amd64"},
                              {"os", "linux"},
                              {"config", {{"Entrypoint", {"/pause"}}}},
                              {"rootfs", {{"type", "layers"}, {"diff_ids", {"sha256:" + digest(layer)}}}}});
  const auto manifest = print_json(json::object{{"schemaVersion", 2},
                                                {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                                                {"config", descriptor("config.v1+json", config)},
                                                {"layers", json::array{descriptor("layer.v1.tar", layer)}}});
  auto entry = descriptor("manifest.v1+json", manifest);
  entry["annotations"] = json::object{{"io.containerd.image.name", name}};
  const auto index = print_json(json::object{{"schemaVersion", 2}, {"manifests", json::array{std::move(entry)}}});
  std::string out =
      member("oci-layout", R"({"imageLayoutVersion": "1.0.0"})", "0000644") + member("index.json", index, "0000644");
  for (const auto* blob : {&manifest, &config, &layer})
    out += member("blobs/sha256/" + digest(*blob), *blob, "0000644");
  return out + end_of_archive;
}

}  // namespace workflow::engine
