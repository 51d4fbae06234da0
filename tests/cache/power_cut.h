// What a disk may hold after the power failed, for everything this process did to one folder.
//
// Replaces the system calls that change files (pwrite, ftruncate, fallocate, fsync, unlink, ...) in
// the whole program by ones that also write down what was done, in order. From that record it
// builds possible images: what was synced before the cut is there; of what was not, any subset is,
// and a write may be torn between sectors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

namespace rushfs::cache {

class PowerCutRecorder {
 public:
  // Records from now on, this folder only. One at a time.
  explicit PowerCutRecorder(const std::filesystem::path& folder);
  ~PowerCutRecorder();
  PowerCutRecorder(const PowerCutRecorder&) = delete;
  PowerCutRecorder& operator=(const PowerCutRecorder&) = delete;

  std::size_t event_count() const { return events_.size(); }
  // Fills the empty folder with what may be left if the power fails after the first `events`.
  void build_image(const std::filesystem::path& image, std::size_t events,
                   std::mt19937_64& random) const;

  enum class Kind { create, write, truncate, punch, remove, sync, sync_folder };
  void record(Kind kind, const std::string& path, std::uint64_t offset, std::uint64_t length,
              const void* bytes);

 private:
  struct Event {
    Kind kind;
    std::string path;  // below the folder
    std::uint64_t offset;
    std::uint64_t length;
    std::vector<std::uint8_t> bytes;
  };
  static void apply(const Event& event, bool torn, std::mt19937_64& random,
                    std::vector<std::uint8_t>& content);
  std::size_t synced_until(const std::string& path, std::size_t events, Kind kind) const;

  std::string folder_;
  std::vector<Event> events_;
};

}  // namespace rushfs::cache
