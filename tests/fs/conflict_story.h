// Two versions of a file meet: a mount that knows a file, is cut off, and later comes back. What
// others do is done on the server's disk.
#pragma once

#include "client_world.h"

namespace rushfs::fs::test {

using testing::read_file;
using testing::write_file;

struct Story {
  explicit Story(const WorldOptions& options = {}, std::size_t bytes = 300'000)
      : world(options), size(bytes) {
    std::filesystem::create_directory(world.exported() / "reel");
    write_file(file, std::string(size, 'o'));
    REQUIRE(world.read_file("reel/clip.mov"));
    world.run_for(std::chrono::seconds(3));
  }
  void cut() {
    world.silence_link(true);
    world.cut_link();
    world.run_for(std::chrono::seconds(5));
  }
  void come_back() {
    world.silence_link(false);
    world.run_for(std::chrono::seconds(30));
    REQUIRE(world.drain());
  }
  void patch(std::uint64_t offset, const std::string& text) {
    const auto opened = world.open("reel/clip.mov", {.read = true, .write = true}).value();
    REQUIRE(world.write(opened.handle, offset, text));
    REQUIRE(world.close(opened.handle));
  }
  /// The copies there are, by name.
  std::map<std::string, std::string> copies(const std::filesystem::path& folder) const {
    std::map<std::string, std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const auto name = entry.path().filename().string();
      if (name.find("(conflict editor ") == std::string::npos) continue;
      found[name] = read_file(entry.path());
    }
    return found;
  }
  /// Theirs has the name, and ours is complete beside it.
  void check_both_kept(const std::string& theirs = "theirs") const {
    CHECK(read_file(file) == theirs);
    const auto kept = copies(file.parent_path());
    REQUIRE(kept.size() == 1);
    CHECK((kept.begin()->second == ours()));
  }
  std::string ours() const {
    std::string text(size, 'o');
    return text.replace(1000, 4, "OURS");
  }

  World world;
  std::size_t size;
  std::filesystem::path file = world.exported() / "reel" / "clip.mov";
};

}  // namespace rushfs::fs::test
