#include "fs/server/reply_log.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <fstream>
#include <iterator>
#include <system_error>

namespace rushfs::fs {
namespace {

// A record: length of what follows the checksum (4), checksum of it (8), kind (1), client (16),
// incarnation (8), number (8), body. docs/file-protocol.md, "The reply file".
constexpr std::uint8_t kIntent = 1;
constexpr std::uint8_t kAnswer = 2;
constexpr std::uint8_t kForget = 3;
constexpr std::size_t kHead = 4 + 8;
constexpr std::size_t kFixed = 1 + 16 + 8 + 8;
constexpr std::size_t kLargestRecord = 1 << 20;      // bytes; answers to changes are far smaller
constexpr std::uint64_t kCompactAbove = 8ULL << 20;  // bytes; some 20,000 calls
constexpr std::uint64_t kCompactGrowth = 2;          // and when it has grown so many times

template <class T>
void put(std::uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof(T));
}
template <class T>
T get(const std::uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

struct Record {
  std::uint8_t kind = 0;
  CallName call;
  std::span<const std::uint8_t> body;
};

/// The record at the front; none at the end, or where a kill or a full disk tore one.
std::optional<Record> next_record(std::span<const std::uint8_t>& in) {
  if (in.size() < kHead + kFixed) return std::nullopt;
  const auto length = get<std::uint32_t>(in.data());
  if (length < kFixed || length > kLargestRecord || length > in.size() - kHead) return std::nullopt;
  const auto payload = in.subspan(kHead, length);
  if (get<std::uint64_t>(in.data() + 4) != XXH3_64bits(payload.data(), payload.size())) {
    return std::nullopt;
  }
  Record record;
  record.kind = payload[0];
  std::memcpy(record.call.client.bytes.data(), payload.data() + 1, 16);
  record.call.incarnation = get<std::uint64_t>(payload.data() + 17);
  record.call.number = get<std::uint64_t>(payload.data() + 25);
  record.body = payload.subspan(kFixed);
  in = in.subspan(kHead + length);
  return record;
}

Buffer encode_intent(const Intent& intent) {
  Buffer out;
  for (const auto* node : {&intent.first, &intent.second}) {
    const std::string bytes = *node ? (*node)->bytes : std::string();
    out.push_back(static_cast<std::uint8_t>(bytes.size()));
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

Intent decode_intent(std::span<const std::uint8_t> in) {
  Intent intent;
  for (auto* node : {&intent.first, &intent.second}) {
    if (in.empty() || in[0] > in.size() - 1) break;
    const auto bytes = in.subspan(1, in[0]);
    if (!bytes.empty()) node->emplace(NodeId{std::string(bytes.begin(), bytes.end())});
    in = in.subspan(1 + bytes.size());
  }
  return intent;
}

}  // namespace

ReplyFile::ReplyFile(const std::filesystem::path& path)
    : fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
  struct stat status {};
  if (!fd_ || ::fstat(fd_.get(), &status) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot open " + path.string());
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

void ReplyFile::append(std::uint8_t kind, const CallName& call,
                       std::span<const std::uint8_t> body) {
  Buffer record(kHead + kFixed + body.size());
  std::uint8_t* payload = record.data() + kHead;
  payload[0] = kind;
  std::memcpy(payload + 1, call.client.bytes.data(), call.client.bytes.size());
  put(payload + 17, call.incarnation);
  put(payload + 25, call.number);
  std::copy(body.begin(), body.end(), payload + kFixed);
  const std::size_t length = kFixed + body.size();
  put(record.data(), static_cast<std::uint32_t>(length));
  put(record.data() + 4, static_cast<std::uint64_t>(XXH3_64bits(payload, length)));
  const ssize_t put_bytes = ::write(fd_.get(), record.data(), record.size());
  if (put_bytes > 0) size_ += static_cast<std::uint64_t>(put_bytes);
  if (put_bytes == static_cast<ssize_t>(record.size())) return;
  const int error = put_bytes < 0 ? errno : ENOSPC;
  if (error_.exchange(error) == 0) {
    spdlog::error("cannot remember all answers over a restart: write to the reply file: {}",
                  std::strerror(error));
  }
}

void ReplyFile::intend(const CallName& call, const Intent& intent) {
  append(kIntent, call, encode_intent(intent));
}
void ReplyFile::answer(const CallName& call, std::span<const std::uint8_t> reply) {
  append(kAnswer, call, reply);
}
void ReplyFile::forget(const ClientTag& client, std::uint64_t incarnation) {
  append(kForget, {client, incarnation, 0}, {});
}

ReplyLog::ReplyLog(std::filesystem::path path) : path_(std::move(path)) {
  if (path_.empty()) return;
  load();
  compact();
}

void ReplyLog::load() {
  std::ifstream file(path_, std::ios::binary);
  const Buffer all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::span<const std::uint8_t> rest(all);
  while (!rest.empty()) {
    const auto record = next_record(rest);
    if (!record) {
      rest = rest.subspan(1);  // what is behind a torn one is whole
      continue;
    }
    Client& client = clients_[record->call.client];
    if (record->kind == kForget || client.incarnation != record->call.incarnation) {
      client = Client();
      client.incarnation = record->call.incarnation;
    }
    if (record->kind == kForget) continue;
    Call& call = client.calls[record->call.number];
    if (record->kind == kIntent) {
      call.intent = decode_intent(record->body);
    } else {
      call.answered = call.former = true;
      call.reply.assign(record->body.begin(), record->body.end());
    }
    if (client.calls.size() > kMaxCalls) client.calls.erase(client.calls.begin());
  }
}

/// Goes on with a new file of what is still needed; with the old one where that cannot be written.
/// A call that runs meanwhile keeps the old one: if the server is killed before it ends, its
/// intent, copied to the new one, is what is known of it.
void ReplyLog::compact() {
  try {
    file_ = write_anew();
  } catch (const std::system_error& error) {
    spdlog::error("cannot shorten the reply file: {}", error.what());
    if (!file_) file_ = std::make_shared<ReplyFile>(path_);
  }
  compact_above_ = std::max(kCompactAbove, kCompactGrowth * file_->size());
}

std::shared_ptr<ReplyFile> ReplyLog::write_anew() const {
  const std::filesystem::path fresh_path = path_.string() + ".new";
  std::filesystem::remove(fresh_path);
  auto fresh = std::make_shared<ReplyFile>(fresh_path);
  for (const auto& [tag, client] : clients_) {
    fresh->forget(tag, client.incarnation);
    for (const auto& [number, call] : client.calls) {
      const CallName call_name{tag, client.incarnation, number};
      if (call.intent) fresh->intend(call_name, *call.intent);
      if (call.answered) fresh->answer(call_name, call.reply);
      if (fresh->error() != 0) break;
    }
    if (fresh->error() == 0) continue;
    std::filesystem::remove(fresh_path);
    throw std::system_error(fresh->error(), std::generic_category(),
                            "cannot write " + fresh_path.string());
  }
  std::filesystem::rename(fresh_path, path_);
  return fresh;
}

void ReplyLog::attach(const ClientTag& tag, std::uint64_t incarnation) {
  Client& client = clients_[tag];
  if (client.incarnation == incarnation) return;
  client = Client();
  client.incarnation = incarnation;
  if (file_) file_->forget(tag, incarnation);
}

void ReplyLog::forget(const ClientTag& tag) {
  if (clients_.erase(tag) != 0 && file_) file_->forget(tag, 0);
}

std::vector<std::pair<ClientTag, std::uint64_t>> ReplyLog::known() const {
  std::vector<std::pair<ClientTag, std::uint64_t>> out;
  for (const auto& [tag, client] : clients_) out.emplace_back(tag, client.incarnation);
  return out;
}

ReplyLog::Begun ReplyLog::begin(const ClientTag& tag, const CallNumber& number,
                                Responder& respond) {
  Client& client = clients_[tag];
  if (number.lowest_unanswered > client.lowest_unanswered) {
    client.lowest_unanswered = number.lowest_unanswered;
    client.calls.erase(client.calls.begin(), client.calls.lower_bound(number.lowest_unanswered));
  }
  Begun begun;
  const bool known = client.calls.contains(number.number);
  if (number.number < client.lowest_unanswered || (!known && client.calls.size() >= kMaxCalls)) {
    begun.state = State::refused;
    return begun;
  }
  Call& call = client.calls[number.number];
  if (call.answered && !call.former) {
    begun.state = State::answered;
    begun.reply = call.reply;
    return begun;
  }
  call.waiting.push_back(std::move(respond));
  begun.state = call.running ? State::running : call.former ? State::former : State::fresh;
  begun.reply = call.reply;
  begun.interrupted = call.intent;
  call.running = true;
  return begun;
}

void ReplyLog::intend(const ClientTag& tag, std::uint64_t number, const Intent& intent) {
  const auto client = clients_.find(tag);
  if (client == clients_.end()) return;
  const auto call = client->second.calls.find(number);
  if (call != client->second.calls.end()) call->second.intent = intent;
}

std::vector<Responder> ReplyLog::finish(const ClientTag& tag, std::uint64_t number,
                                        const Buffer& reply) {
  const auto client = clients_.find(tag);
  if (client == clients_.end()) return {};
  const auto call = client->second.calls.find(number);
  if (call == client->second.calls.end()) return {};  // the client began anew meanwhile
  call->second.answered = true;
  call->second.running = call->second.former = false;
  call->second.reply = reply;
  std::vector<Responder> waiting = std::move(call->second.waiting);
  call->second.waiting.clear();
  if (file_ && file_->size() > compact_above_) compact();
  return waiting;
}

CallName ReplyLog::name(const ClientTag& tag, std::uint64_t number) const {
  const auto client = clients_.find(tag);
  return {tag, client == clients_.end() ? 0 : client->second.incarnation, number};
}

}  // namespace rushfs::fs
