#include "tests/sim/puppet.h"

#include <algorithm>

namespace rushfs::sim {
namespace {

std::array<std::uint8_t, 32> key_of(std::uint64_t seed) {
  std::array<std::uint8_t, 32> key;
  Chance(seed ^ 0x70757070).fill(key);
  return key;
}

}  // namespace

Puppet::Puppet(Endpoint& server, TimePoint start, std::uint64_t seed)
    : Puppet(server, start, seed, seed) {}

Puppet::Puppet(Endpoint& server, TimePoint start, std::uint64_t seed, std::uint64_t key_seed)
    : now(start),
      server_(server),
      chance_(seed),
      identity_(Identity::from_seed(key_of(key_seed))),
      context_(Role::client, identity_) {
  address.ip[15] = 200;
  address.port = static_cast<std::uint16_t>(1000 + seed);
  chance_.fill(own_id_.bytes);
  chance_.fill(original_.bytes);
  TransportParameters parameters;
  parameters.original_destination = original_;
  parameters.source = own_id_;
  parameters.initial_credit.fill(16_MiB);
  tls_.emplace(context_, encode(parameters), [](const PublicKey&) { return true; });
  channel_.emplace(original_, Role::client);
}

void Puppet::send_handshake() {
  std::vector<std::uint8_t> datagram(kMinInitialDatagram);
  for (;;) {
    datagram.resize(kMinInitialDatagram);
    const std::size_t size = channel_->transmit(datagram, server_id_.value_or(original_), own_id_,
                                                cookie_, now);
    if (size == 0) return;
    server_.receive(std::span(datagram).first(size), address, now);
  }
}

bool Puppet::connect() {
  advance_tls();
  for (int turn = 0; turn < 10 && !done_ && !closed; ++turn) {
    send_handshake();
    listen();
  }
  return done_;
}

void Puppet::advance_tls() {
  channel_->send(tls_->take_output());
  if (tls_->state() != TlsHandshake::State::complete || protection) return;
  const auto secrets = tls_->export_secrets(own_id_, *server_id_, kVersion);
  protection = PacketProtection::for_data(tls_->cipher_suite(), secrets, Role::client, now);
}

void Puppet::listen() {
  TransmitBatch batch;
  while (server_.transmit(batch, now)) {
    bytes_from_server += batch.bytes.size();
    const std::span<std::uint8_t> bytes = batch.bytes;
    for (std::size_t at = 0; at < bytes.size(); at += batch.segment_size) {
      take(bytes.subspan(at, std::min<std::size_t>(batch.segment_size, bytes.size() - at)));
    }
  }
}

void Puppet::take(std::span<std::uint8_t> datagram) {
  const auto header = parse_packet_header(datagram);
  if (!header) return;
  if (const auto* retry = std::get_if<RetryHeader>(&*header)) {
    cookie_.assign(retry->token.begin(), retry->token.end());
    channel_->start_over();
  } else if (const auto* handshake = std::get_if<HandshakeHeader>(&*header)) {
    server_id_ = handshake->source;
    auto received = channel_->receive(datagram.first(handshake->packet_end),
                                      handshake->packet_number_offset, now);
    tls_->feed(received.stream);
    advance_tls();
    if (received.close) closed = CloseReason{*received.close, true, ""};
  } else if (const auto* data = std::get_if<DataHeader>(&*header)) {
    take_data(datagram, *data);
  }
}

void Puppet::take_data(std::span<std::uint8_t> datagram, const DataHeader& header) {
  if (!protection) return;
  const auto opened = protection->open(datagram, header.packet_number_offset, now);
  if (!opened) return;
  numbers.push_back(opened->packet_number);
  FrameReader reader(opened->payload, scratch_);
  while (const auto frame = reader.next()) take_frame(*frame);
}

void Puppet::take_frame(const Frame& frame) {
  if (std::holds_alternative<HandshakeDoneFrame>(frame)) {
    done_ = true;
    protection->allow_key_updates();
  } else if (const auto* close = std::get_if<CloseFrame>(&frame)) {
    closed = CloseReason{close->code, true, std::string(close->text)};
  } else if (const auto* challenge = std::get_if<PathChallengeFrame>(&frame)) {
    challenges.push_back(challenge->data);
  } else if (const auto* reset = std::get_if<ResetFrame>(&frame)) {
    resets.push_back(*reset);
  } else if (const auto* message = std::get_if<MessageFrame>(&frame)) {
    replies.insert(message->id);
    reply_bytes += message->data.size();
  } else if (const auto* ack = std::get_if<AckFrame>(&frame)) {
    protection->on_acknowledged(ack->ranges.front().last, std::chrono::milliseconds(100), now);
  }
}

void Puppet::send(const std::function<void(FrameWriter&)>& write) {
  std::vector<std::uint8_t> payload(1400);
  FrameWriter writer(payload);
  write(writer);
  writer.pad_to(4);
  send_payload(std::span(payload).first(writer.size()));
}

void Puppet::send_payload(std::span<const std::uint8_t> payload) {
  constexpr std::size_t kNumberLength = 4;
  const std::size_t header = data_header_length(kNumberLength);
  std::vector<std::uint8_t> packet(header + payload.size() + kTagLength);
  const PacketLayout layout = write_data_header(packet, *server_id_, kNumberLength);
  std::copy(payload.begin(), payload.end(), packet.begin() + static_cast<long>(header));
  protection->seal(packet, layout, now);
  server_.receive(packet, address, now);
  listen();
}

void Puppet::acknowledge() {
  if (numbers.empty()) return;
  RangeSet seen(1024);
  for (const std::uint64_t number : numbers) seen.add(number);
  std::vector<NumberRange> newest_first(seen.ranges().rbegin(), seen.ranges().rend());
  send([&](FrameWriter& writer) { writer.ack({}, newest_first); });
}

}  // namespace rushfs::sim
