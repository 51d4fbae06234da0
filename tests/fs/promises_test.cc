// docs/file-protocol.md, "Notices": who hears of which change, and how often.
#include "fs/promises.h"

#include <catch2/catch.hpp>

using namespace rushfs::fs;

namespace {

ClientTag client(std::uint8_t number) {
  ClientTag tag;
  tag.bytes.fill(number);
  return tag;
}
const ClientTag anna = client(1), ben = client(2);
const NodeId clip{"clip"}, reel{"reel"};

struct Room {
  Promises promises;
  Room() {
    promises.begin(anna);
    promises.begin(ben);
  }
  std::vector<NoticedChange> due(const ClientTag& who) {
    std::vector<NoticedChange> out;
    for (auto& each : promises.due()) {
      if (each.client == who) out = each.notice.changes;
    }
    return out;
  }
};

}  // namespace

TEST_CASE("whoever was told of a node hears of its change, but not from itself") {
  Room room;
  room.promises.promise(anna, clip, room.promises.clock());
  room.promises.promise(ben, clip, room.promises.clock());
  room.promises.changed(clip, anna);
  const auto due = room.promises.due();
  REQUIRE(due.size() == 1);
  CHECK(due[0].client == ben);
  CHECK(due[0].notice.changes == std::vector<NoticedChange>{{tag_of(clip), ""}});
}

TEST_CASE("whoever was never told of a node hears nothing of it") {
  Room room;
  room.promises.promise(ben, reel, room.promises.clock());
  room.promises.changed(clip, anna);
  CHECK(room.promises.due().empty());
}

TEST_CASE("a change between the look and the telling is told") {
  Room room;
  const auto asked = room.promises.clock();
  SECTION("by another") {
    room.promises.changed(clip, anna);
    room.promises.promise(ben, clip, asked);
    CHECK(room.due(ben).size() == 1);
  }
  SECTION("by another, and then by the asker") {
    room.promises.changed(clip, anna);
    room.promises.changed(clip, ben);
    room.promises.promise(ben, clip, asked);
    CHECK(room.due(ben).size() == 1);
  }
  SECTION("not by the asker alone") {
    room.promises.changed(clip, ben);
    room.promises.promise(ben, clip, asked);
    CHECK(room.due(ben).empty());
  }
  SECTION("by one nobody remembers any more") {
    room.promises.changed(clip, anna);
    for (int i = 0; i < 100'000; ++i) room.promises.changed({std::to_string(i)}, anna);
    room.promises.promise(ben, clip, asked);
    CHECK(room.due(ben).size() == 1);
  }
}

TEST_CASE("changes wait while a notice is unanswered, each once") {
  Room room;
  room.promises.promise(ben, clip, room.promises.clock());
  room.promises.changed(clip, anna);
  REQUIRE(room.due(ben).size() == 1);
  for (int i = 0; i < 1000; ++i) room.promises.changed(clip, anna);
  CHECK(room.promises.due().empty());
  room.promises.answered(ben);
  CHECK(room.due(ben).size() == 1);
}

TEST_CASE("who is behind by too much is told to trust nothing") {
  Room room;
  for (int i = 0; i < 70'000; ++i) {
    const NodeId node{std::to_string(i)};
    room.promises.promise(ben, node, room.promises.clock());
    room.promises.changed(node, anna);
  }
  const auto due = room.promises.due();
  REQUIRE(due.size() == 1);
  CHECK(due[0].notice.everything);
}

namespace {

ContentChange written(std::uint64_t from, std::uint64_t to, std::uint64_t size) {
  ContentChange change{{from, to}, {}};
  change.after.size = size;
  return change;
}

}  // namespace

TEST_CASE("of a file that is written to, the parts are told, together and with its last size") {
  Room room;
  room.promises.promise(ben, clip, room.promises.clock());
  room.promises.changed(clip, anna, written(0, 10, 100));
  room.promises.changed(clip, anna, written(100, 120, 120));
  auto both = written(0, 10, 120);
  both.spans.add(100, 120);
  CHECK(room.due(ben) == std::vector<NoticedChange>{{tag_of(clip), "", both}});
}

TEST_CASE("no parts are told of a file that was changed in other ways too, before or after") {
  Room room;
  room.promises.promise(ben, clip, room.promises.clock());
  SECTION("before") { room.promises.changed(clip, std::nullopt); }
  room.promises.changed(clip, anna, written(0, 10, 100));
  SECTION("after") { room.promises.changed(clip, std::nullopt); }
  room.promises.changed(clip, anna, written(20, 30, 100));
  const auto due = room.due(ben);
  REQUIRE(due.size() == 1);
  CHECK(due[0].content.has_value() == false);
}

TEST_CASE("a reader is told of the parts that he may not know of yet") {
  Room room;
  room.promises.promise(ben, clip, room.promises.clock());
  CHECK(room.promises.untold(ben, clip) == Spans());
  room.promises.changed(clip, anna, written(0, 10, 100));
  CHECK(room.promises.untold(ben, clip) == Spans(0, 10));
  CHECK(room.promises.untold(anna, clip) == std::nullopt);  // never promised
  REQUIRE(room.due(ben).size() == 1);
  CHECK(room.promises.untold(ben, clip) == Spans(0, 10));  // on its way
  room.promises.changed(clip, anna, written(50, 60, 100));
  room.promises.changing(clip, Spans(80, 90));
  Spans all(0, 10);
  all.add(50, 60);
  all.add(80, 90);
  CHECK(room.promises.untold(ben, clip) == all);
  room.promises.settled(clip);
  room.promises.answered(ben);
  CHECK(room.promises.untold(ben, clip) == Spans(50, 60));
}

TEST_CASE("what cannot be told in parts leaves nothing certain for a reader") {
  Room room;
  room.promises.promise(ben, clip, room.promises.clock());
  SECTION("while it waits, and until it is answered") {
    room.promises.changed(clip, anna);
    CHECK(room.promises.untold(ben, clip) == std::nullopt);
    REQUIRE(room.due(ben).size() == 1);
    CHECK(room.promises.untold(ben, clip) == std::nullopt);
    room.promises.answered(ben);
  }
  SECTION("while it is being done") {
    room.promises.changing(clip, std::nullopt);
    CHECK(room.promises.untold(ben, clip) == std::nullopt);
    room.promises.settled(clip);
  }
  SECTION("when it is everything") {
    room.promises.changed_everything();
    CHECK(room.promises.untold(ben, clip) == std::nullopt);
    room.promises.due();
    CHECK(room.promises.untold(ben, clip) == std::nullopt);
    room.promises.answered(ben);
  }
  CHECK(room.promises.untold(ben, clip) == Spans());
}

TEST_CASE("one of 100,000 files that a client knows changes: it hears of one") {
  Room room;
  for (int i = 0; i < 100'000; ++i) {
    room.promises.promise(ben, {std::to_string(i)}, room.promises.clock());
  }
  room.promises.changed({"777"}, anna);
  CHECK(room.due(ben) == std::vector<NoticedChange>{{tag_of({"777"}), ""}});
}
