// docs/file-protocol.md: what is said arrives as it was said, and nothing else is understood.
#include "fs/protocol/messages.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <random>

#include "fs/mount/replay_process.h"
#include "fs/protocol/notices.h"

using namespace rushfs::fs;

namespace {

const std::vector<std::uint8_t> kData = {1, 2, 3, 250, 0, 7};

NodeId node(char c) {
  return {std::string(40, c)};
}

Attributes attributes() {
  Attributes a;
  a.version = {0x1122334455667788};
  a.inode = 1ULL << 63 | 12345;
  a.mode = 0100644;
  a.links = 2;
  a.uid = 1000;
  a.gid = 4294967294;
  a.device_major = 8;
  a.device_minor = 1;
  a.size = 1ULL << 40;
  a.blocks = 77;
  a.block_size = 4096;
  a.atime = {-1, 999'999'999};
  a.mtime = {1700000000, 1};
  a.ctime = {std::numeric_limits<std::int64_t>::min(), 0};
  a.btime = {std::numeric_limits<std::int64_t>::max(), 5};
  a.traits = kHasXattrs | kNoXattrSupport;
  return a;
}

/// One of each, every optional part present.
std::vector<Request> samples() {
  const CallNumber call{300, 299};
  const Caller caller{1000, 100, 022};
  Attach attach;
  attach.export_name = "footage";
  attach.subpath = "day 1/cam A";
  attach.client.bytes.fill(0xAB);
  attach.incarnation = 42;
  attach.hostname = "cutting-room";
  SetAttributes set{call, node('s'), 0644, 1, 2, 3, TimeChange{true, {}}, TimeChange{false, {5, 6}},
                    true};
  SetAttributes queued = set;
  queued.order = QueuePosition{9, 8, 7};
  return {attach,
          Detach{},
          Lookup{node('a'), "clip \xff.mov"},
          GetAttributes{node('b')},
          Readlink{node('c')},
          ReadDirectory{node('d'), ~0ULL, 1 << 20, true},
          StatFs{node('e')},
          Open{node('f'), true, 1 << 20, 4096},
          Release{node('g')},
          Read{node('h'), 1ULL << 33, 1 << 20},
          Write{node('i'), {3, 2, 1}, 77, true, kData},
          Commit{node('j'), 12, true},
          set,
          queued,
          Create{call, node('k'), "n", caller, 0600, true, true, true},
          MakeDirectory{call, node('l'), "n", caller, 0700},
          MakeNode{call, node('m'), "n", caller, 020600, 5, 1},
          Symlink{call, node('n'), "n", caller, "../target"},
          Link{call, node('o'), node('p'), "n"},
          Unlink{call, node('q'), "n", true},
          RemoveDirectory{call, node('r'), "n"},
          Rename{call, node('s'), "n", node('t'), "m", RenameMode::exchange, true},
          Measure{100, kData},
          ListXattrs{node('a')},
          GetXattr{node('b'), "user.reel"},
          SetXattr{call, node('c'), "user.reel", std::string("\0A", 2), XattrMode::replace},
          SetXattr{QueuePosition{9, 8, 7}, node('c'), "user.reel", std::nullopt, XattrMode::any},
          Allocate{QueuePosition{9, 8, 7}, node('d'), 3, 1ULL << 40, 4096},
          DataRanges{node('e'), 1ULL << 40, 100},
          CopyRange{call, node('f'), 1, node('g'), 2, 3},
          Append{node('h'), {3, 2, 1}, 77, true, kData},
          CreateUnnamed{call, node('i'), caller, 0600},
          FileFlags{call, node('j'), 0x10},
          Touch{node('k')}};
}

Buffer bytes_of(const Request& request) {
  return std::visit([](const auto& r) { return encode(r); }, request);
}

template <class Reply>
void check_reply(const Reply& reply) {
  const Buffer bytes = encode_reply(reply);
  auto back = decode_reply<Reply>(bytes);
  REQUIRE(back.has_value());
  CHECK(encode_reply(*back) == bytes);
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    CHECK(!decode_reply<Reply>(std::span(bytes).first(cut)).has_value());
  }
  Buffer longer = bytes;
  longer.push_back(0);
  CHECK(decode_reply<Reply>(longer).error().value() == EBADMSG);
}

}  // namespace

TEST_CASE("every request is understood as it was said") {
  for (const Request& request : samples()) {
    const Buffer bytes = bytes_of(request);
    INFO(operation_name(bytes));
    const auto back = decode_request(bytes);
    REQUIRE(std::holds_alternative<Request>(back));
    CHECK(std::get<Request>(back).index() == request.index());
    CHECK(bytes_of(std::get<Request>(back)) == bytes);
  }
}

TEST_CASE("a request cut short anywhere, or with a byte too many, is malformed") {
  for (const Request& request : samples()) {
    Buffer bytes = bytes_of(request);
    INFO(operation_name(bytes));
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
      const auto outcome = decode_request(std::span(bytes).first(cut));
      REQUIRE(std::holds_alternative<DecodeError>(outcome));
      CHECK(std::get<DecodeError>(outcome) == DecodeError::malformed);
    }
    bytes.push_back(0);
    CHECK(std::holds_alternative<DecodeError>(decode_request(bytes)));
  }
}

TEST_CASE("an operation of the future is unknown, not malformed") {
  const Buffer future = {77, 1, 2, 3};
  CHECK(std::get<DecodeError>(decode_request(future)) == DecodeError::unknown_operation);
}

TEST_CASE("every reply is understood as it was said, and nothing shorter or longer is") {
  const Entry entry{node('e'), attributes()};
  const Change change{{5}, attributes()};
  check_reply(AttachReply{node('r'), attributes(), {99}, 1 << 20, 1 << 20, true, true, 1, 2, 3, 4});
  check_reply(EmptyReply{});
  check_reply(LookupReply{entry, attributes()});
  check_reply(LookupReply{std::nullopt, attributes()});
  check_reply(AttributesReply{attributes()});
  check_reply(ReadlinkReply{"target", attributes()});
  check_reply(ReadDirectoryReply{attributes(), true, {{1, 2, 8, "a", entry}, {3, 4, 4, "..", {}}}});
  check_reply(StatFsReply{4096, 1, 2, 3, 4, 5, 6, 255});
  check_reply(OpenReply{attributes(), kData, 7, 100, kData});
  check_reply(ReadReply{attributes(), true, kData});
  check_reply(ReadReply{attributes(), false, kData, 4096, std::uint64_t{10} << 30});
  check_reply(WriteReply{change});
  check_reply(CommitReply{{7}, 8, attributes()});
  check_reply(ChangeReply{change});
  check_reply(EntryReply{entry, true, change});
  check_reply(RemoveReply{change, entry});
  check_reply(RenameReply{change, change, entry, entry});
  check_reply(MeasureReply{kData});
  check_reply(ListXattrsReply{attributes(), {{"user.a", "value"}, {"user.b", std::nullopt}}});
  check_reply(GetXattrReply{attributes(), std::string("\0", 1)});
  check_reply(DataRangesReply{attributes(), 99, {{1, 2}, {3, 1ULL << 40}}});
  check_reply(CopyRangeReply{1ULL << 30, change});
  check_reply(AppendReply{change, 1ULL << 40});
  check_reply(AppendReply{change, std::nullopt});
  check_reply(FileFlagsReply{0x10, change});
}

TEST_CASE("data that was appended where no file reaches is malformed") {
  const Change change{{5}, attributes()};
  CHECK(decode_reply<AppendReply>(encode_reply(AppendReply{change, kMaxOffset})).has_value());
  CHECK(decode_reply<AppendReply>(encode_reply(AppendReply{change, kMaxOffset + 1})).has_error());
}

TEST_CASE("what a server calls a name and leads out of the folder is malformed") {
  const Entry entry{node('e'), attributes()};
  const auto page = [&](const std::string& name, const std::optional<Entry>& of) {
    const ReadDirectoryReply reply{attributes(), true, {{1, 2, 8, name, of}}};
    return decode_reply<ReadDirectoryReply>(encode_reply(reply)).has_value();
  };
  const auto notice = [](const std::string& name) {
    return decode_notice(encode(Notice{1, false, {{NodeTag{7}, name}}})).has_value();
  };
  ReplayOrder order;
  const auto replay = [&] {
    const auto bytes = encode(order);
    return decode_replay_order(bytes.data(), bytes.size()).has_value();
  };
  for (const std::string& name : {std::string("a"), std::string("..."), std::string(".a\n")}) {
    CAPTURE(name);
    CHECK(page(name, entry));
    CHECK(notice(name));
    order.name = order.to_name = name;
    CHECK(replay());
  }
  for (const std::string& name : {std::string(".."), std::string("."), std::string("a/b"),
                                  std::string("/"), std::string("../a"), std::string("a\0b", 3)}) {
    CAPTURE(name);
    CHECK(!page(name, entry));
    CHECK(page(name, std::nullopt) == (name == "." || name == ".."));
    CHECK(!notice(name));
    if (name.find('\0') != std::string::npos) continue;
    order.what = ReplayOrder::What::remove;
    order.name = name;
    CHECK(!replay());
    order.what = ReplayOrder::What::rename;
    order.name = "a";
    order.to_name = name;
    CHECK(!replay());
  }
  CHECK(!page("", entry));
  CHECK(notice(""));  // the node itself has changed
}

TEST_CASE("ranges of data that are not in order, and a tail beyond all files, are malformed") {
  const auto ranges = [](std::vector<Span> all) {
    return decode_reply<DataRangesReply>(encode_reply(DataRangesReply{attributes(), 99, all}))
        .has_value();
  };
  CHECK(ranges({{1, 2}, {2, 2}, {5, kMaxOffset}}));
  CHECK(!ranges({{5, 6}, {1, 2}}));
  CHECK(!ranges({{1, 5}, {4, 6}}));
  CHECK(!ranges({{6, 5}}));
  CHECK(!ranges({{1, kMaxOffset + 1}}));
  const OpenReply beyond{attributes(), kData, 7, kMaxOffset + 1, kData};
  CHECK(!decode_reply<OpenReply>(encode_reply(beyond)).has_value());
}

TEST_CASE("an error arrives as the errno it was") {
  CHECK(decode_reply<ReadReply>(encode_error(ENOSPC)).error().value() == ENOSPC);
  CHECK(decode_reply<EmptyReply>(encode_error(ESTALE)).error().value() == ESTALE);
}

TEST_CASE("attributes keep every value, before 1970 too") {
  const auto back = decode_reply<AttributesReply>(encode_reply(AttributesReply{attributes()}));
  CHECK(back->attributes == attributes());
}

TEST_CASE("a read reply that was filled in place is an ordinary one, also when short") {
  for (const std::size_t zeros : {0, 50}) {  // before the data
    auto draft = begin_read_reply(100);
    const auto data = draft.room().subspan(zeros, kData.size());
    std::copy(kData.begin(), kData.end(), data.begin());
    Buffer bytes =
        finish_read_reply(std::move(draft), ReadReply{attributes(), true, data, zeros, 9});
    CHECK(bytes == encode_reply(ReadReply{attributes(), true, kData, zeros, 9}));
    const Untold untold{{7}, {4096, 8192}};
    add_untold(bytes, untold);
    CHECK(bytes == encode_reply(ReadReply{attributes(), true, kData, zeros, 9, untold}));
  }
}

TEST_CASE("what would lead a client astray is malformed: a node of no name, no bytes at a time") {
  CHECK(std::holds_alternative<DecodeError>(decode_request(encode(GetAttributes{{""}}))));
  Attributes endless = attributes();
  endless.size = kMaxOffset + 1;
  CHECK(decode_reply<AttributesReply>(encode_reply(AttributesReply{endless})).has_error());
  for (const std::uint32_t bytes : {0u, kMinTransfer - 1}) {
    AttachReply reply{node('r'), attributes(), {99}, bytes, 1 << 20, false, false, 0, 0, 0, 0};
    CHECK(decode_reply<AttachReply>(encode_reply(reply)).has_error());
    std::swap(reply.max_read, reply.max_write);
    CHECK(decode_reply<AttachReply>(encode_reply(reply)).has_error());
  }
}

TEST_CASE("names and node ids beyond their limits are malformed") {
  CHECK(std::holds_alternative<Request>(
      decode_request(encode(Lookup{{std::string(160, 'n')}, std::string(255, 'x')}))));
  CHECK(std::holds_alternative<DecodeError>(
      decode_request(encode(Lookup{{std::string(160, 'n')}, std::string(256, 'x')}))));
  CHECK(std::holds_alternative<DecodeError>(
      decode_request(encode(GetAttributes{{std::string(161, 'n')}}))));
}

TEST_CASE("a number has one form only") {
  // GetAttributes with a node id of one byte, its length written as 81 00 instead of 01.
  CHECK(std::holds_alternative<Request>(decode_request(Buffer{4, 1, 'n'})));
  CHECK(std::holds_alternative<DecodeError>(decode_request(Buffer{4, 0x81, 0, 'n'})));
}

TEST_CASE("no bit flip makes the decoder read what is not there") {
  std::mt19937 random(1);
  for (const Request& request : samples()) {
    const Buffer bytes = bytes_of(request);
    for (int i = 0; i < 2000; ++i) {
      Buffer hurt = bytes;
      const int flips = 1 + static_cast<int>(random() % 4);
      for (int f = 0; f < flips; ++f) {
        hurt[random() % hurt.size()] ^= static_cast<std::uint8_t>(1u << (random() % 8));
      }
      const auto outcome = decode_request(hurt);
      if (const auto* understood = std::get_if<Request>(&outcome)) {
        CHECK(bytes_of(*understood) == hurt);  // whatever is accepted has one form
      }
    }
  }
}

TEST_CASE("a directory listing cannot claim more entries than it has bytes for") {
  Buffer hostile = encode_reply(ReadDirectoryReply{attributes(), true, {}});
  hostile.pop_back();
  for (const int byte : {0xff, 0xff, 0xff, 0xff, 0x7f})
    hostile.push_back(static_cast<std::uint8_t>(byte));
  CHECK(decode_reply<ReadDirectoryReply>(hostile).error().value() == EBADMSG);
}

TEST_CASE("the worked examples of docs/file-protocol.md are what the code sends") {
  std::ifstream file(std::string(RUSHFS_DOCS) + "/file-protocol.md");
  const std::string document((std::istreambuf_iterator<char>(file)), {});
  const auto hex = [](const Buffer& bytes) {
    std::string out;
    for (const std::uint8_t byte : bytes) {
      constexpr const char* kDigits = "0123456789abcdef";
      out += std::string(out.empty() ? "" : " ") + kDigits[byte >> 4] + kDigits[byte & 15];
    }
    return out;
  };
  Attributes a;
  a.version = {0x0102030405060708};
  a.inode = 300;
  a.mode = 0100644;
  a.links = 1;
  a.uid = a.gid = 1000;
  a.size = 5;
  a.blocks = 8;
  a.block_size = 4096;
  a.atime = a.mtime = a.ctime = {-1, 1000};
  const Buffer data = {'h', 'e', 'l', 'l', 'o'};
  const NodeId id{"node"};
  CHECK(document.find(hex(encode(Lookup{id, "clip.mov"}))) != std::string::npos);
  CHECK(document.find(hex(encode(Write{id, {130, 129, 0}, 0, false, data}))) != std::string::npos);
  CHECK(document.find(hex(encode_reply(ReadReply{a, true, data}))) != std::string::npos);
  CHECK(document.find(hex(encode_error(ENOSPC))) != std::string::npos);
}
