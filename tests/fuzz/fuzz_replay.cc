// Stands in for libFuzzer where the compiler has none: runs the seeds, then a fixed number of
// mutations of them. Usage: fuzz_X FOLDER... [--seed N] [--runs N]
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

constexpr std::size_t kMaxInput = 4096;  // bytes, as in the libFuzzer runs

std::vector<Input> read_seeds(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry);
  std::sort(files.begin(), files.end());
  std::vector<Input> seeds;
  for (const auto& file : files) {
    std::ifstream stream(file, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return seeds;
}

void mutate(Input& input, const std::vector<Input>& seeds, std::mt19937_64& random) {
  const std::size_t at = input.empty() ? 0 : random() % input.size();
  const auto position = input.begin() + static_cast<std::ptrdiff_t>(at);
  switch (random() % 6) {
    case 0:
      if (!input.empty()) input[at] ^= static_cast<std::uint8_t>(1 << random() % 8);
      break;
    case 1:
      if (!input.empty()) input[at] = static_cast<std::uint8_t>(random());
      break;
    case 2:
      input.insert(position, 1 + random() % 8, static_cast<std::uint8_t>(random()));
      break;
    case 3:
      input.erase(position, position + static_cast<std::ptrdiff_t>(
                                           std::min<std::size_t>(random() % 9, input.size() - at)));
      break;
    case 4:
      input.resize(at);
      break;
    default: {
      const Input& other = seeds[random() % seeds.size()];
      input.insert(position, other.begin(), other.end());
    }
  }
  input.resize(std::min(input.size(), kMaxInput));
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seed = 1;
  std::uint64_t runs = 20000;
  std::vector<Input> seeds{{}};
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--seed" && i + 1 < argc) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (word == "--runs" && i + 1 < argc) {
      runs = std::strtoull(argv[++i], nullptr, 10);
    } else {
      const auto more = read_seeds(word);
      seeds.insert(seeds.end(), more.begin(), more.end());
    }
  }
  std::printf("%zu seeds, %llu mutations, --seed %llu\n", seeds.size(),
              static_cast<unsigned long long>(runs), static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  for (const Input& input : seeds) LLVMFuzzerTestOneInput(input.data(), input.size());
  std::mt19937_64 random(seed);
  for (std::uint64_t run = 0; run < runs; ++run) {
    Input input = seeds[random() % seeds.size()];
    for (std::uint64_t edits = 1 + random() % 5; edits > 0; --edits) mutate(input, seeds, random);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
}
