// docs/file-protocol.md, "Notices": who hears of which change, and how often.
#include "fs/server/promises.h"

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

TEST_CASE("what changes just after something else is told together, a moment or an answer later") {
  Room room;
  room.promises.promise(ben, clip, room.promises.clock());
  room.promises.changed(clip, anna);
  REQUIRE(room.due(ben).size() == 1);
  for (int i = 0; i < 1000; ++i) room.promises.changed(clip, anna);
  CHECK(room.promises.due().empty());
  SECTION("a moment") { room.promises.rested(); }
  SECTION("an answer") { room.promises.answered(ben); }
  CHECK(room.due(ben).size() == 1);
}

TEST_CASE("notices are numbered, and only so many are on their way to one client") {
  Room room;
  room.promises.promise(ben, clip, room.promises.clock());
  for (std::uint64_t number = 1; number <= kMaxUnanswered; ++number) {
    room.promises.changed(clip, anna);
    const auto due = room.promises.due();
    REQUIRE(due.size() == 1);
    CHECK(due[0].notice.number == number);
    room.promises.rested();
  }
  room.promises.changed(clip, anna);
  CHECK(room.promises.due().empty());
  room.promises.answered(ben);
  CHECK(room.due(ben).size() == 1);
}

TEST_CASE("as many notices come as were said to tell of what has changed") {
  Room room;
  const auto change = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      room.promises.promise(ben, {std::to_string(i)}, room.promises.clock());
      room.promises.changed({std::to_string(i)}, anna);
    }
  };
  change(0, 50'000);
  const auto said = room.promises.told_with(ben);
  CHECK(said > 10);
  change(50'000, 70'000);  // too many: one notice tells of everything
  std::uint64_t told = 0;
  for (auto due = room.promises.due(); !due.empty(); due = room.promises.due()) {
    CHECK(due[0].notice.everything == (told == 0));
    told = due[0].notice.number;
    room.promises.rested();
  }
  CHECK(told >= said);
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

Attributes long_as(std::uint64_t size) {
  Attributes attributes;
  attributes.size = size;
  return attributes;
}

/// What may be unheard when asked now.
std::optional<Spans> untold(const Room& room, const ClientTag& who) {
  const auto all = room.promises.untold(who, clip, room.promises.clock());
  if (!all) return std::nullopt;
  CHECK(all->as_of == Moment{room.promises.clock()});
  return all->parts;
}

}  // namespace

TEST_CASE("of a file that is written to, the parts are told, together and with its last size") {
  Room room;
  room.promises.promise(ben, clip, room.promises.clock());
  room.promises.changed(clip, anna, {0, 10}, long_as(100));
  room.promises.changed(clip, anna, {100, 120}, long_as(120));
  ContentChange both{{0, 10}, long_as(120), {2}};
  both.parts.add(100, 120);
  CHECK(room.due(ben) == std::vector<NoticedChange>{{tag_of(clip), "", both}});
}

TEST_CASE("no parts are told of a file that was changed in other ways too, before or after") {
  Room room;
  room.promises.promise(ben, clip, room.promises.clock());
  SECTION("before") { room.promises.changed(clip, std::nullopt); }
  room.promises.changed(clip, anna, {0, 10}, long_as(100));
  SECTION("after") { room.promises.changed(clip, std::nullopt); }
  room.promises.changed(clip, anna, {20, 30}, long_as(100));
  const auto due = room.due(ben);
  REQUIRE(due.size() == 1);
  CHECK(due[0].content.has_value() == false);
}

TEST_CASE("a reader is told of the parts that he may not know of yet") {
  Room room;
  room.promises.promise(ben, clip, room.promises.clock());
  CHECK(untold(room, ben) == std::nullopt);  // nothing
  room.promises.changed(clip, anna, {0, 10}, long_as(100));
  CHECK(untold(room, ben) == Spans(0, 10));
  CHECK(untold(room, anna) == std::nullopt);  // never promised
  REQUIRE(room.due(ben).size() == 1);
  CHECK(untold(room, ben) == Spans(0, 10));  // on its way
  room.promises.changed(clip, anna, {50, 60}, long_as(100));
  room.promises.changing(clip, Spans(80, 90));
  Spans all(0, 10);
  all.add(50, 60);
  all.add(80, 90);
  CHECK(untold(room, ben) == all);
  room.promises.settled(clip);
  SECTION("the first was answered") { room.promises.answered(ben); }
  SECTION("and the second is on its way") {
    room.promises.rested();
    REQUIRE(room.due(ben).size() == 1);
    room.promises.answered(ben);
  }
  CHECK(untold(room, ben) == Spans(50, 60));
}

TEST_CASE("what cannot be told in parts leaves nothing certain for a reader") {
  Room room;
  room.promises.promise(ben, clip, room.promises.clock());
  SECTION("while it waits, and until it is answered") {
    room.promises.changed(clip, anna);
    CHECK(untold(room, ben) == std::nullopt);
    REQUIRE(room.due(ben).size() == 1);
    CHECK(untold(room, ben) == std::nullopt);
    room.promises.answered(ben);
  }
  SECTION("while it is being done") {
    room.promises.changing(clip, std::nullopt);
    CHECK(untold(room, ben) == std::nullopt);
    room.promises.settled(clip);
  }
  SECTION("when it is everything") {
    room.promises.changed_everything();
    CHECK(untold(room, ben) == std::nullopt);
    room.promises.due();
    CHECK(untold(room, ben) == std::nullopt);
    room.promises.answered(ben);
  }
  room.promises.changed(clip, anna, {0, 10}, long_as(100));
  CHECK(untold(room, ben) == Spans(0, 10));
}

TEST_CASE("one of 100,000 files that a client knows changes: it hears of one") {
  Room room;
  for (int i = 0; i < 100'000; ++i) {
    room.promises.promise(ben, {std::to_string(i)}, room.promises.clock());
  }
  room.promises.changed({"777"}, anna);
  CHECK(room.due(ben) == std::vector<NoticedChange>{{tag_of({"777"}), ""}});
}

TEST_CASE("of many who never answer, those with most waiting are told to trust nothing") {
  Promises promises;
  promises.begin(ben);
  promises.promise(ben, clip, promises.clock());
  for (std::uint8_t number = 10; number < 18; ++number) promises.begin(client(number));
  for (int i = 0; i < 40'000; ++i) {
    const NodeId node{std::to_string(i)};
    for (std::uint8_t number = 10; number < 18; ++number) {
      promises.promise(client(number), node, promises.clock());
    }
    promises.changed(node, anna);
  }
  promises.changed(clip, anna);
  std::size_t doubting = 0;
  for (const auto& due : promises.due()) {
    if (due.client == ben) CHECK(due.notice.changes.size() == 1);
    doubting += due.notice.everything ? 1 : 0;
  }
  CHECK(doubting >= 1);
  CHECK(doubting < 8);
}

TEST_CASE("of many who know much, those who know most are told of every change") {
  Promises promises({.promised_to_all = 1000});
  for (const ClientTag& who : {anna, ben}) promises.begin(who);
  for (int i = 0; i < 900; ++i) promises.promise(anna, {std::to_string(i)}, 0);
  for (int i = 0; i < 200; ++i) promises.promise(ben, {std::to_string(i)}, 0);
  promises.changed(reel, std::nullopt);
  const auto due = promises.due();
  REQUIRE(due.size() == 1);
  CHECK(due[0].client == anna);
  promises.end(anna);
  promises.begin(anna);  // and what others know counts no more
  for (int i = 0; i < 800; ++i) promises.promise(anna, {std::to_string(i)}, promises.clock());
  promises.changed(clip, std::nullopt);
  CHECK(promises.due().empty());
}

TEST_CASE("a notice that is not answered counts as waiting") {
  Promises promises({.waiting_for_all = 100});
  for (const ClientTag& who : {anna, ben}) promises.begin(who);
  promises.promise(ben, clip, 0);
  const auto change = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      promises.promise(anna, {std::to_string(i)}, promises.clock());
      promises.changed({std::to_string(i)}, ben);
    }
  };
  change(0, 60);
  CHECK(promises.due().size() == 1);
  SECTION("until it is") {
    promises.answered(anna);
    change(60, 120);
    CHECK_FALSE(promises.due()[0].notice.everything);
    return;
  }
  change(60, 120);
  promises.changed(clip, anna);
  const auto due = promises.due();
  REQUIRE(due.size() == 1);
  CHECK(due[0].client == ben);
  CHECK(due[0].notice.changes.size() == 1);
  promises.answered(anna);
  CHECK(promises.due()[0].notice.everything);
}
