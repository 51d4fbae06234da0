// What the pages that the kernel caches of a file hold, as far as it is known: of a page that a
// program changed through a mapping the kernel tells all bytes, and only those that differ are
// the program's. docs/semantics.md, "Locks".
//
// Pure. Owner: the file loop.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

namespace rushfs::fs {

class KernelPages {
 public:
  static constexpr std::uint64_t kPage = 4096;
  /// 16 MiB of a file; what is in further pages is not known.
  static constexpr std::size_t kMost = 4096;

  /// The kernel is given `bytes` for pages that it lacked, `length` with the zeros behind them.
  void given(std::uint64_t offset, std::uint64_t length,
             const std::vector<std::span<const std::uint8_t>>& bytes);
  /// write(2) went into them too.
  void written(std::uint64_t offset, std::span<const std::uint8_t> bytes);
  /// The file ends there now.
  void cut(std::uint64_t size);

  struct Range {
    std::uint64_t offset = 0;  // in the file
    std::span<const std::uint8_t> bytes;
  };
  /// The bytes from this one to the one returned nobody else may change now.
  using OursUntil = std::function<std::uint64_t(std::uint64_t byte)>;
  /// What of `bytes`, that the kernel has in its pages, a program has changed; in order. What lies
  /// between and is ours comes along, so that there are fewer. They are known from now on.
  std::vector<Range> changed(std::uint64_t offset, std::span<const std::uint8_t> bytes,
                             const OursUntil& ours_until);

 private:
  using Page = std::vector<std::uint8_t>;
  Page* known(std::uint64_t number);
  Page* make(std::uint64_t number);

  std::unordered_map<std::uint64_t, Page> pages_;  // by number
};

}  // namespace rushfs::fs
