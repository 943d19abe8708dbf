#include "engine/node/volumes.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "engine/test_support.h"
#include "lib/base/file.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;

VolumeSources sources() {
  VolumeSources from;
  from.secret = [](const std::string& name) -> std::optional<std::map<std::string, std::string>> {
    if (name != "s") return std::nullopt;
    return std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}};
  };
  from.config_map = from.secret;
  from.field = [](const std::string& path) { return path; };
  from.resource = [](const std::string&, const std::string& resource, const std::string&) { return resource; };
  from.token = [](const std::string& audience) { return "token for " + audience; };
  return from;
}

TEST(VolumeFiles, come_from_secrets_config_maps_the_pod_and_tokens) {
  struct Case {
    const char* volume;
    std::optional<VolumeFiles> files;
  };
  const Case cases[] = {
      {"{secret: {secretName: s}}", VolumeFiles{{"a", {"1", 0644}}, {"b", {"2", 0644}}}},
      {"{secret: {secretName: s, defaultMode: 256, items: [{key: a, path: deep/x}, {key: b, path: y, mode: 288}]}}",
       VolumeFiles{{"deep/x", {"1", 0400}}, {"y", {"2", 0440}}}},
      {"{secret: {secretName: none, optional: true}}", VolumeFiles{}},
      {"{configMap: {name: s, items: [{key: none, path: x}], optional: true}}", VolumeFiles{}},
      {"{downwardAPI: {items: [{path: n, fieldRef: {fieldPath: metadata.name}}]}}",
       VolumeFiles{{"n", {"metadata.name", 0644}}}},
      {"{projected: {sources: [{serviceAccountToken: {path: token, audience: x}}, {configMap: {name: s, items: [{key: "
       "a, path: ca}]}}]}}",
       VolumeFiles{{"token", {"token for x", 0644}}, {"ca", {"1", 0644}}}},
      {"{emptyDir: {}}", std::nullopt}};
  for (const auto& [volume, files] : cases) EXPECT_EQ(volume_files(from_yaml(volume), sources()), files) << volume;
}

TEST(VolumeFiles, that_are_wrong_are_refused) {
  for (const auto* volume : {"{secret: {secretName: none}}", "{configMap: {name: s, items: [{key: none, path: x}]}}",
                             "{secret: {secretName: s, items: [{key: a, path: ../x}]}}",
                             "{secret: {secretName: s, items: [{key: a, path: /etc/x}]}}"}) {
    EXPECT_THROW(volume_files(from_yaml(volume), sources()), Error) << volume;
  }
}

TEST(Volume, switches_all_its_files_at_once) {
  TemporaryFolder folder;
  const auto place = folder.path() / "v";
  write_volume(place, {{"a", {"1", 0644}}, {"deep/b", {"2", 0400}}}, std::nullopt);
  EXPECT_EQ(read_file(place / "a"), "1");
  EXPECT_EQ(read_file(place / "deep/b"), "2");
  EXPECT_TRUE(fs::is_symlink(place / "a"));
  const auto first = fs::read_symlink(place / "..data");
  write_volume(place, {{"a", {"1", 0644}}, {"deep/b", {"2", 0400}}}, std::nullopt);
  EXPECT_EQ(fs::read_symlink(place / "..data"), first);  // nothing to do
  write_volume(place, {{"c", {"3", 0644}}}, std::nullopt);
  EXPECT_EQ(read_file(place / "c"), "3");
  EXPECT_FALSE(fs::exists(place / "a"));
  EXPECT_FALSE(fs::exists(place / first));
}

TEST(Volume, sub_paths_stay_inside) {
  TemporaryFolder folder;
  fs::create_directory_symlink("/etc", folder.path() / "out");
  EXPECT_EQ(inside(folder.path(), "x/y"), folder.path() / "x/y");
  EXPECT_TRUE(fs::is_directory(folder.path() / "x/y"));
  for (const auto* path : {"../x", "/etc", "out/passwd", "x/../../y", ""})
    EXPECT_THROW(inside(folder.path(), path), Error) << path;
  write_volume(folder.path() / "v", {{"f", {"1", 0644}}}, std::nullopt);
  EXPECT_EQ(read_file(inside(folder.path() / "v", "f")), "1");
}

TEST(Volume, host_paths_must_be_what_they_are_said_to_be) {
  TemporaryFolder folder;
  const VolumePlaces places{folder.path() / "pod", folder.path() / "volumes"};
  const auto volume = [&](const char* type) {
    return json::object{{"name", "v"},
                        {"hostPath", json::object{{"path", (folder.path() / "h").string()}, {"type", type}}}};
  };
  EXPECT_THROW(prepare_volume(volume("Directory"), "shop", places, {}), Error);
  EXPECT_EQ(prepare_volume(volume("DirectoryOrCreate"), "shop", places, {}), folder.path() / "h");
  EXPECT_THROW(prepare_volume(volume("File"), "shop", places, {}), Error);
  const auto claim = json::object{{"name", "c"}, {"persistentVolumeClaim", json::object{{"claimName", "data"}}}};
  EXPECT_EQ(prepare_volume(claim, "shop", places, {}), folder.path() / "volumes/shop_data");
}

}  // namespace
}  // namespace workflow::engine
