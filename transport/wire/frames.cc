#include "transport/wire/frames.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "transport/wire/varint.h"

namespace rushfs::transport {
namespace {

// A longer delay says nothing about the path; a correct peer acknowledges within milliseconds.
constexpr std::uint64_t kMaxAckDelayMicroseconds = 1 << 20;

constexpr std::uint64_t kMaxLoss = 10'000;  // all of it
constexpr auto kLastPolicy = static_cast<std::uint8_t>(RatePolicy::low);

}  // namespace

bool is_ack_eliciting(const Frame& frame) {
  return !std::holds_alternative<PaddingFrame>(frame) &&
         !std::holds_alternative<AckFrame>(frame) && !std::holds_alternative<CloseFrame>(frame);
}

FrameReader::FrameReader(std::span<const std::uint8_t> payload, std::vector<NumberRange>& scratch)
    : rest_(payload), ranges_(scratch) {}

std::optional<std::uint64_t> FrameReader::integer() { return read_varint(rest_); }

std::optional<std::span<const std::uint8_t>> FrameReader::bytes(std::uint64_t count) {
  if (count > rest_.size()) return std::nullopt;
  auto taken = rest_.first(count);
  rest_ = rest_.subspan(count);
  return taken;
}

std::optional<Frame> FrameReader::fail(std::string_view sentence) {
  error_ = sentence;
  rest_ = {};
  return std::nullopt;
}

std::optional<Frame> FrameReader::next() {
  if (rest_.empty()) return std::nullopt;
  const std::uint8_t type = rest_.front();
  rest_ = rest_.subspan(1);
  switch (type) {
    case frame_type::kPadding: return padding();
    case frame_type::kPing: return PingFrame{};
    case frame_type::kAck: return ack();
    case frame_type::kHandshakeData: return handshake_data();
    case frame_type::kPathChallenge: return path(false);
    case frame_type::kPathResponse: return path(true);
    case frame_type::kClose: return close();
    case frame_type::kHandshakeDone: return handshake_done();
    case frame_type::kRequest: return message(MessageKind::request);
    case frame_type::kReply: return message(MessageKind::reply);
    case frame_type::kCancel: return ending<CancelFrame>();
    case frame_type::kReset: return ending<ResetFrame>();
    case frame_type::kCredit: return credit();
    case frame_type::kRate: return rate();
    case frame_type::kSending: return sending();
    default: return fail("a frame of an unknown type");
  }
}

std::optional<Frame> FrameReader::padding() {
  const auto end = std::find_if(rest_.begin(), rest_.end(), [](std::uint8_t b) { return b != 0; });
  rest_ = rest_.subspan(static_cast<std::size_t>(end - rest_.begin()));
  return PaddingFrame{};
}

std::optional<Frame> FrameReader::ack() {
  const auto largest = integer();
  const auto delay = integer();
  const auto more = integer();
  const auto length = integer();
  if (!largest || !delay || !more || !length) return fail("an ACK that ends early");
  if (*delay > kMaxAckDelayMicroseconds) return fail("an ACK delayed for more than a second");
  if (*more >= kMaxAckRanges) return fail("an ACK of too many ranges");
  if (*length > *largest) return fail("an ACK of packet numbers below zero");
  ranges_.clear();
  ranges_.push_back({*largest - *length, *largest});
  for (std::uint64_t i = 0; i < *more; ++i) {
    const auto gap = integer();
    const auto next_length = integer();
    if (!gap || !next_length) return fail("an ACK that ends early");
    const std::uint64_t above = ranges_.back().first;
    if (above < 2 || *gap > above - 2) return fail("an ACK of packet numbers below zero");
    const std::uint64_t last = above - 2 - *gap;
    if (*next_length > last) return fail("an ACK of packet numbers below zero");
    ranges_.push_back({last - *next_length, last});
  }
  return AckFrame{std::chrono::microseconds(*delay), ranges_};
}

std::optional<Frame> FrameReader::handshake_data() {
  const auto offset = integer();
  const auto length = integer();
  if (!offset || !length) return fail("a HANDSHAKE_DATA frame that ends early");
  const auto data = bytes(*length);
  if (!data) return fail("a HANDSHAKE_DATA frame that ends early");
  return HandshakeDataFrame{*offset, *data};
}

std::optional<Frame> FrameReader::path(bool response) {
  std::array<std::uint8_t, 8> value;
  const auto data = bytes(value.size());
  if (!data) return fail("a path frame that ends early");
  std::copy(data->begin(), data->end(), value.begin());
  if (response) return PathResponseFrame{value};
  return PathChallengeFrame{value};
}

std::optional<Frame> FrameReader::close() {
  const auto code = integer();
  const auto length = integer();
  if (!code || !length) return fail("a CLOSE that ends early");
  if (*code > 0xffff || *length > kMaxCloseText) return fail("a CLOSE out of bounds");
  const auto text = bytes(*length);
  if (!text) return fail("a CLOSE that ends early");
  return CloseFrame{static_cast<CloseCode>(*code),
                    {reinterpret_cast<const char*>(text->data()), text->size()}};
}

std::optional<Frame> FrameReader::handshake_done() {
  HandshakeDoneFrame frame;
  const auto data = bytes(frame.token.size());
  if (!data) return fail("a HANDSHAKE_DONE that ends early");
  std::copy(data->begin(), data->end(), frame.token.begin());
  return frame;
}

std::optional<Frame> FrameReader::message(MessageKind kind) {
  const auto id = integer();
  const auto total = integer();
  const auto offset = integer();
  const auto length = integer();
  if (!id || !total || !offset || !length) return fail("a message that ends early");
  if (*total > kMaxMessage.count) return fail("a message larger than 4 MiB");
  if (*offset > *total || *length > *total - *offset) return fail("a message beyond its own end");
  if (*length == 0 && *total != 0) return fail("a part of a message without any bytes");
  const auto data = bytes(*length);
  if (!data) return fail("a message that ends early");
  return MessageFrame{kind, RequestId{*id}, static_cast<std::uint32_t>(*total),
                      static_cast<std::uint32_t>(*offset), *data};
}

template <class Ending>
std::optional<Frame> FrameReader::ending() {
  const auto id = integer();
  const auto charged = integer();
  if (!id || !charged) return fail("a CANCEL or RESET that ends early");
  if (*charged > kMaxCharge) return fail("a CANCEL or RESET of a message larger than 4 MiB");
  return Ending{RequestId{*id}, static_cast<std::uint32_t>(*charged)};
}

std::optional<Frame> FrameReader::credit() {
  const auto window = bytes(1);
  const auto limit = integer();
  if (!window || !limit) return fail("a CREDIT that ends early");
  if (window->front() >= kCreditWindows) return fail("a CREDIT for an unknown window");
  return CreditFrame{CreditWindow::from_index(window->front()), *limit};
}

std::optional<Frame> FrameReader::rate() {
  const auto number = integer();
  const auto policy = bytes(1);
  const auto rate = integer();
  const auto minimum = integer();
  if (!number || !policy || !rate || !minimum) return fail("a RATE that ends early");
  if (*number == 0) return fail("a RATE without a number");
  if (policy->front() > kLastPolicy) return fail("a RATE of an unknown policy");
  return RateFrame{*number, static_cast<RatePolicy>(policy->front()), *rate, *minimum};
}

std::optional<Frame> FrameReader::sending() {
  const auto limit = bytes(1);
  const auto bandwidth = integer();
  const auto loss = integer();
  if (!limit || !bandwidth || !loss) return fail("a SENDING that ends early");
  if (limit->front() >= kSendLimits || *loss > kMaxLoss) return fail("a SENDING out of bounds");
  return SendingFrame{static_cast<SendLimit>(limit->front()), *bandwidth,
                      static_cast<std::uint32_t>(*loss)};
}

void FrameWriter::put_byte(std::uint8_t byte) { space_[used_++] = byte; }

void FrameWriter::put_integer(std::uint64_t value) {
  std::span<std::uint8_t> output = space_.subspan(used_);
  const bool written = write_varint(output, value);
  assert(written);
  used_ = space_.size() - output.size();
}

void FrameWriter::put_bytes(std::span<const std::uint8_t> bytes) {
  if (!bytes.empty()) std::memcpy(space_.data() + used_, bytes.data(), bytes.size());
  used_ += bytes.size();
}

void FrameWriter::pad_to(std::size_t size) {
  size = std::min(size, space_.size());
  if (used_ >= size) return;
  std::memset(space_.data() + used_, frame_type::kPadding, size - used_);
  used_ = size;
}

bool FrameWriter::ping() {
  if (room() < 1) return false;
  put_byte(frame_type::kPing);
  return true;
}

std::size_t FrameWriter::ack(Duration delay, std::span<const NumberRange> ranges) {
  assert(!ranges.empty());
  const auto microseconds = std::clamp<std::int64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(delay).count(), 0,
      kMaxAckDelayMicroseconds);
  const auto delay_value = static_cast<std::uint64_t>(microseconds);
  const NumberRange& newest = ranges.front();
  std::size_t size = 1 + varint_length(newest.last) + varint_length(delay_value) +
                     varint_length(kMaxAckRanges) + varint_length(newest.last - newest.first);
  if (size > room()) return 0;
  std::size_t count = 1;
  for (; count < std::min(ranges.size(), kMaxAckRanges); ++count) {
    const NumberRange& range = ranges[count];
    assert(range.last + 1 < ranges[count - 1].first);
    size += varint_length(ranges[count - 1].first - range.last - 2) +
            varint_length(range.last - range.first);
    if (size > room()) break;
  }
  put_byte(frame_type::kAck);
  put_integer(newest.last);
  put_integer(delay_value);
  put_integer(count - 1);
  put_integer(newest.last - newest.first);
  for (std::size_t i = 1; i < count; ++i) {
    put_integer(ranges[i - 1].first - ranges[i].last - 2);
    put_integer(ranges[i].last - ranges[i].first);
  }
  return count;
}

std::size_t FrameWriter::handshake_data(std::uint64_t offset, std::span<const std::uint8_t> data) {
  const std::size_t header =
      1 + varint_length(offset) + varint_length(std::min(data.size(), room()));
  if (data.empty() || room() <= header) return 0;
  data = data.first(std::min(data.size(), room() - header));
  put_byte(frame_type::kHandshakeData);
  put_integer(offset);
  put_integer(data.size());
  put_bytes(data);
  return data.size();
}

bool FrameWriter::path_challenge(const std::array<std::uint8_t, 8>& data) {
  if (room() < 1 + data.size()) return false;
  put_byte(frame_type::kPathChallenge);
  put_bytes(data);
  return true;
}

bool FrameWriter::path_response(const std::array<std::uint8_t, 8>& data) {
  if (room() < 1 + data.size()) return false;
  put_byte(frame_type::kPathResponse);
  put_bytes(data);
  return true;
}

bool FrameWriter::close(CloseCode code, std::string_view text) {
  text = text.substr(0, kMaxCloseText);
  const auto value = static_cast<std::uint64_t>(code);
  if (room() < 1 + varint_length(value) + varint_length(text.size()) + text.size()) return false;
  put_byte(frame_type::kClose);
  put_integer(value);
  put_integer(text.size());
  put_bytes({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  return true;
}

bool FrameWriter::handshake_done(const ResetToken& token) {
  if (room() < 1 + token.size()) return false;
  put_byte(frame_type::kHandshakeDone);
  put_bytes(token);
  return true;
}

std::optional<std::size_t> FrameWriter::message(const MessageFrame& frame) {
  const std::size_t header = 1 + varint_length(frame.id.value) + varint_length(frame.total) +
                             varint_length(frame.offset) +
                             varint_length(std::min(frame.data.size(), room()));
  if (room() < header + (frame.data.empty() ? 0 : 1)) return std::nullopt;
  const auto data = frame.data.first(std::min(frame.data.size(), room() - header));
  put_byte(frame.kind == MessageKind::request ? frame_type::kRequest : frame_type::kReply);
  put_integer(frame.id.value);
  put_integer(frame.total);
  put_integer(frame.offset);
  put_integer(data.size());
  put_bytes(data);
  return data.size();
}

bool FrameWriter::cancel(const CancelFrame& frame) {
  if (room() < 1 + varint_length(frame.id.value) + varint_length(frame.charged)) return false;
  put_byte(frame_type::kCancel);
  put_integer(frame.id.value);
  put_integer(frame.charged);
  return true;
}

bool FrameWriter::reset(const ResetFrame& frame) {
  if (room() < 1 + varint_length(frame.id.value) + varint_length(frame.charged)) return false;
  put_byte(frame_type::kReset);
  put_integer(frame.id.value);
  put_integer(frame.charged);
  return true;
}

bool FrameWriter::credit(const CreditFrame& frame) {
  if (room() < 2 + varint_length(frame.limit)) return false;
  put_byte(frame_type::kCredit);
  put_byte(static_cast<std::uint8_t>(frame.window.index()));
  put_integer(frame.limit);
  return true;
}

bool FrameWriter::rate(const RateFrame& frame) {
  if (room() < 2 + varint_length(frame.number) + varint_length(frame.rate) +
                   varint_length(frame.minimum)) {
    return false;
  }
  put_byte(frame_type::kRate);
  put_integer(frame.number);
  put_byte(static_cast<std::uint8_t>(frame.policy));
  put_integer(frame.rate);
  put_integer(frame.minimum);
  return true;
}

bool FrameWriter::sending(const SendingFrame& frame) {
  if (room() < 2 + varint_length(frame.bandwidth) + varint_length(frame.loss)) return false;
  put_byte(frame_type::kSending);
  put_byte(static_cast<std::uint8_t>(frame.limit));
  put_integer(frame.bandwidth);
  put_integer(frame.loss);
  return true;
}

}  // namespace rushfs::transport
