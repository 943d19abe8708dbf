#include "engine/node/volumes.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

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
       VolumeFiles{{"token", {"token for x", 0644, true}}, {"ca", {"1", 0644}}}},
      {"{emptyDir: {}}", std::nullopt}};
  for (const auto& [volume, files] : cases) EXPECT_EQ(volume_files(from_yaml(volume), sources()), files) << volume;
}

TEST(VolumeFiles, that_are_wrong_are_refused) {
  for (const auto* volume : {"{secret: {secretName: none}}", "{configMap: {name: s, items: [{key: none, path: x}]}}",
                             "{secret: {secretName: s, items: [{key: a, path: ../x}]}}",
                             "{secret: {secretName: s, items: [{key: a, path: /etc/x}]}}",
                             "{secret: {secretName: s, items: [{key: a, path: ..data}]}}"}) {
    EXPECT_THROW(volume_files(from_yaml(volume), sources()), Error) << volume;
  }
}

TEST(Volume, switches_all_its_files_at_once) {
  TemporaryFolder folder;
  const auto place = folder.path() / "v";
  write_volume(place, {{"a", {"1", 0644}}, {"deep/b", {"2", 0400}}}, {});
  EXPECT_EQ(read_file(place / "a"), "1");
  EXPECT_EQ(read_file(place / "deep/b"), "2");
  EXPECT_TRUE(fs::is_symlink(place / "a"));
  const auto first = fs::read_symlink(place / "..data");
  write_volume(place, {{"a", {"1", 0644}}, {"deep/b", {"2", 0400}}}, {});
  EXPECT_EQ(fs::read_symlink(place / "..data"), first);  // nothing to do
  write_volume(place, {{"c", {"3", 0644}}}, {});
  EXPECT_EQ(read_file(place / "c"), "3");
  EXPECT_FALSE(fs::exists(place / "a"));
  EXPECT_FALSE(fs::exists(place / first));
}

TEST(Volume, files_have_the_mode_that_their_readers_need) {
  const auto old = ::umask(077);
  TemporaryFolder folder;
  const auto mode_of = [](const fs::path& path) {
    struct stat info{};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 07777;
  };
  const VolumeFiles files{{"deep/key", {"1", 0400}}, {"open", {"2", 0644}}, {"token", {"3", 0644, true}}};
  const auto place = folder.path() / "v";
  write_volume(place, files, {});
  EXPECT_EQ(mode_of(place), 0755u);
  EXPECT_EQ(mode_of(place / "deep"), 0755u);
  EXPECT_EQ(mode_of(place / "deep/key"), 0400u);
  EXPECT_EQ(mode_of(place / "open"), 0644u);
  EXPECT_EQ(mode_of(place / "token"), 0644u);  // nobody knows as whom the pod runs
  const auto grouped = folder.path() / "g";
  write_volume(grouped, files, {.group = ::getgid(), .user = ::getuid()});
  EXPECT_EQ(mode_of(grouped / "deep/key"), 0440u);
  EXPECT_EQ(mode_of(grouped / "token"), 0640u);
  const auto own = folder.path() / "o";
  write_volume(own, files, {.group = std::nullopt, .user = ::getuid()});
  EXPECT_EQ(mode_of(own / "token"), 0600u);
  ::umask(old);
}

TEST(Volume, follows_no_link_of_somebody_elses_making) {
  TemporaryFolder folder;
  fs::create_directory(folder.path() / "outside");
  write_file_atomically(folder.path() / "outside/kept", "kept");
  const auto place = folder.path() / "v";
  fs::create_directory(place);
  fs::create_directory_symlink(folder.path() / "outside", place / "..data");
  write_volume(place, {{"a", {"1", 0644}}}, {});
  EXPECT_EQ(read_file(place / "a"), "1");
  EXPECT_EQ(read_file(folder.path() / "outside/kept"), "kept");
}

TEST(Volume, a_full_disk_leaves_what_was_there) {
  TemporaryFolder folder;
  const auto place = folder.path() / "v";
  write_volume(place, {{"a", {"1", 0644}}}, {});
  const std::string long_name(300, 'n');  // stands for whatever keeps a file from being written
  EXPECT_THROW(write_volume(place, {{"a", {"2", 0644}}, {long_name, {"2", 0644}}}, {}), Error);
  EXPECT_EQ(read_file(place / "a"), "1");
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator(place)) count += entry.exists() ? 1 : 0;
  EXPECT_EQ(count, 3u);  // ..data, where it leads, and a
}

// What a subPath may name, by what the volume holds. The mount itself needs root.
TEST(Volume, sub_paths_stay_inside) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounts need root";
  TemporaryFolder folder;
  const auto volume = folder.path() / "v";
  fs::create_directory(volume);
  fs::permissions(volume, fs::perms::all);
  fs::create_directory(folder.path() / "outside");
  write_file_atomically(folder.path() / "outside/secret", "secret");
  for (const auto* name : {"out", "..data", "sub"})
    fs::create_directory_symlink(folder.path() / "outside", volume / name);
  const auto place = folder.path() / "pod/subpaths/c/0";
  for (const auto* path :
       {"../x", "/etc", "out/secret", "out", "..data", "..data/secret", "sub/deep", "x/../../y", "secret/../out", ""})
    EXPECT_THROW(bind_sub_path(volume, path, VolumeKind::folder, place), Error) << path;
  EXPECT_THROW(bind_sub_path(volume, std::string(300, 's'), VolumeKind::folder, place), Error);
  bind_sub_path(volume, "x/y", VolumeKind::folder, place);
  struct stat info{};
  EXPECT_EQ(::stat((volume / "x/y").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0777u);  // as open as the volume is
  write_file_atomically(place / "file", "written through the mount");
  EXPECT_EQ(read_file(volume / "x/y/file"), "written through the mount");
  // Files of a secret lie behind links of our own.
  const auto files = folder.path() / "f";
  write_volume(files, {{"deep/f", {"1", 0644}}}, {});
  bind_sub_path(files, "deep/f", VolumeKind::files, folder.path() / "pod/subpaths/c/1");
  EXPECT_EQ(read_file(folder.path() / "pod/subpaths/c/1"), "1");
  // What is mounted is not removed with the pod.
  remove_volumes(folder.path() / "pod");
  EXPECT_FALSE(fs::exists(folder.path() / "pod"));
  EXPECT_EQ(read_file(volume / "x/y/file"), "written through the mount");
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
  const json::object below_a_file{{"name", "v"}, {"hostPath", json::object{{"path", "/etc/passwd/x"}}}};
  EXPECT_THROW(prepare_volume(below_a_file, "shop", places, {}), Error);
  const auto claim = json::object{{"name", "c"}, {"persistentVolumeClaim", json::object{{"claimName", "data"}}}};
  EXPECT_EQ(prepare_volume(claim, "shop", places, {}), folder.path() / "volumes/shop_data");
}

}  // namespace
}  // namespace workflow::engine
