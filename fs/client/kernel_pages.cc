#include "fs/client/kernel_pages.h"

#include <algorithm>

namespace rushfs::fs {
namespace {

constexpr std::uint64_t kPage = KernelPages::kPage;

/// [offset, offset + bytes) page by page: the page's number, the place in it, the bytes.
template <class Visit>
void each_page(std::uint64_t offset, std::span<const std::uint8_t> bytes, const Visit& visit) {
  while (!bytes.empty()) {
    const std::uint64_t at = offset % kPage;
    const auto part = bytes.first(std::min<std::uint64_t>(bytes.size(), kPage - at));
    visit(offset / kPage, at, part);
    offset += part.size();
    bytes = bytes.subspan(part.size());
  }
}

}  // namespace

KernelPages::Page* KernelPages::known(std::uint64_t number) {
  const auto found = pages_.find(number);
  return found == pages_.end() ? nullptr : &found->second;
}

KernelPages::Page* KernelPages::make(std::uint64_t number) {
  if (pages_.size() >= kMost && !pages_.contains(number)) return nullptr;
  Page& page = pages_[number];
  page.assign(kPage, 0);
  return &page;
}

void KernelPages::given(std::uint64_t offset, std::uint64_t length,
                        const std::vector<std::span<const std::uint8_t>>& bytes) {
  if (offset % kPage != 0) return;  // the kernel reads whole pages
  for (std::uint64_t at = offset; at < offset + length; at += kPage) make(at / kPage);
  for (const auto& part : bytes) {
    each_page(offset, part, [&](std::uint64_t number, std::uint64_t at, auto piece) {
      if (Page* page = known(number)) std::copy(piece.begin(), piece.end(), page->data() + at);
    });
    offset += part.size();
  }
}

void KernelPages::written(std::uint64_t offset, std::span<const std::uint8_t> bytes) {
  each_page(offset, bytes, [&](std::uint64_t number, std::uint64_t at, auto piece) {
    Page* page = piece.size() == kPage ? make(number) : known(number);
    if (page != nullptr) std::copy(piece.begin(), piece.end(), page->data() + at);
  });
}

void KernelPages::cut(std::uint64_t size) {
  const std::uint64_t last = size / kPage;
  std::erase_if(pages_, [&](const auto& page) { return page.first > last; });
  if (Page* page = known(last)) {
    std::fill(page->begin() + static_cast<std::ptrdiff_t>(size % kPage), page->end(), 0);
  }
}

std::vector<KernelPages::Range> KernelPages::changed(std::uint64_t offset,
                                                     std::span<const std::uint8_t> bytes,
                                                     const OursUntil& ours_until) {
  std::vector<Range> ranges;
  std::uint64_t joins_to = offset;  // what begins here or before goes with the last range
  const auto add = [&](std::uint64_t from, std::uint64_t length) {
    const std::uint64_t end = from + length;
    if (!ranges.empty() && from <= joins_to) {
      from = ranges.back().offset;
      ranges.pop_back();
    }
    ranges.push_back({from, bytes.subspan(from - offset, end - from)});
    if (end > joins_to) joins_to = ours_until(end);
  };
  each_page(offset, bytes, [&](std::uint64_t number, std::uint64_t at, auto piece) {
    const Page* page = known(number);
    const std::uint64_t begin = number * kPage + at;
    if (page == nullptr) {
      if (at == 0) make(number);
      return add(begin, piece.size());
    }
    const auto before = std::span(*page).subspan(at, piece.size());
    for (std::size_t i = 0; i < piece.size(); ++i) {
      if (piece[i] != before[i]) add(begin + i, 1);
    }
  });
  written(offset, bytes);
  return ranges;
}

}  // namespace rushfs::fs
