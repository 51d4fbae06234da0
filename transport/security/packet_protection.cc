#include "transport/security/packet_protection.h"

#include <cassert>
#include <utility>

#include "transport/wire/packet_number.h"

namespace rushfs::transport {
namespace {

constexpr std::uint8_t kLongForm = 0x80;
constexpr std::uint8_t kKeyPhase = 0x04;
constexpr std::uint8_t kReservedLong = 0x0c;
constexpr std::uint8_t kReservedShort = 0x18;

/// Until the round trip is known.
constexpr Duration kInitialProbeTimeout = std::chrono::seconds(1);
/// For how long old keys stay, and how soon after one update the next may come (RFC 9001, 6.5).
constexpr int kProbeTimeoutsBetweenUpdates = 3;

}  // namespace

/// A generation is the number of updates a direction has seen; its lowest bit is the key phase.
struct PacketProtection::State {
  State(CipherSuite suite, Secret send, Secret receive, bool has_phases, TimePoint now)
      : suite_(suite),
        has_phases_(has_phases),
        send_secret_(std::move(send)),
        receive_secret_(std::move(receive)),
        send_(packet_keys(suite, send_secret_), PacketCipher::Direction::seal),
        send_header_(packet_keys(suite, send_secret_)),
        receive_(packet_keys(suite, receive_secret_), PacketCipher::Direction::open),
        receive_header_(packet_keys(suite, receive_secret_)),
        generation_start_(now),
        next_update_(now) {
    if (has_phases_) prepare_next_receive_key();
  }

  void prepare_next_receive_key() {
    receive_secret_ = next_secret(suite_, receive_secret_);
    next_receive_.emplace(packet_keys(suite_, receive_secret_), PacketCipher::Direction::open);
  }

  void update_send_key(TimePoint now) {
    send_secret_ = next_secret(suite_, send_secret_);
    send_ = PacketCipher(packet_keys(suite_, send_secret_), PacketCipher::Direction::seal);
    ++send_generation_;
    generation_start_ = now;
    generation_first_ = next_number_;
    generation_acknowledged_ = false;
    ++counters_.key_updates;
  }

  void update_receive_key(std::uint64_t number, TimePoint now) {
    previous_receive_ = std::exchange(receive_, std::move(*next_receive_));
    previous_expiry_ = now + kProbeTimeoutsBetweenUpdates * probe_timeout_;
    ++receive_generation_;
    lowest_of_generation_ = number;
    prepare_next_receive_key();
    if (send_generation_ < receive_generation_) update_send_key(now);
  }

  bool may_update() const {
    return has_phases_ && updates_allowed_ && generation_acknowledged_ &&
           send_generation_ == receive_generation_;
  }

  bool is_update_due(TimePoint now) const {
    return now >= next_update_ && (next_number_ - generation_first_ >= kKeyUpdatePackets ||
                                   now - generation_start_ >= kKeyUpdateAge);
  }

  /// The key that a packet of this number and phase must be under. Null: it is gone, or the peer
  /// updates before it can have heard from us under the present key.
  PacketCipher* receive_key(std::uint64_t number, bool phase) {
    if (!has_phases_ || phase == (receive_generation_ % 2 == 1)) return &receive_;
    if (number < lowest_of_generation_) {
      return previous_receive_ ? &*previous_receive_ : nullptr;
    }
    const bool peer_starts = send_generation_ == receive_generation_;
    if (peer_starts && next_number_ == generation_first_) return nullptr;
    return &*next_receive_;
  }

  CipherSuite suite_;
  bool has_phases_;
  bool updates_allowed_ = false;
  Secret send_secret_;     // of the present key
  Secret receive_secret_;  // of the next key
  PacketCipher send_;
  HeaderCipher send_header_;
  PacketCipher receive_;
  HeaderCipher receive_header_;
  std::optional<PacketCipher> next_receive_;      // made ahead, so that an update takes no time
  std::optional<PacketCipher> previous_receive_;  // for packets that were overtaken
  TimePoint previous_expiry_;

  std::uint64_t next_number_ = 0;
  std::optional<std::uint64_t> largest_opened_;

  std::uint64_t send_generation_ = 0;
  TimePoint generation_start_;
  std::uint64_t generation_first_ = 0;    // first packet number sealed under the present key
  bool generation_acknowledged_ = false;  // the peer has one of them
  TimePoint next_update_;                 // not before
  Duration probe_timeout_ = kInitialProbeTimeout;

  std::uint64_t receive_generation_ = 0;
  std::uint64_t lowest_of_generation_ = 0;  // lowest number opened under the present key

  Counters counters_;
};

PacketProtection::PacketProtection(std::unique_ptr<State> state) : state_(std::move(state)) {}
PacketProtection::PacketProtection(PacketProtection&&) noexcept = default;
PacketProtection& PacketProtection::operator=(PacketProtection&&) noexcept = default;
PacketProtection::~PacketProtection() = default;

PacketProtection PacketProtection::for_handshake(const ConnectionId& original_destination,
                                                 Role role, std::span<const std::uint8_t> salt) {
  TrafficSecrets secrets = handshake_secrets(original_destination.bytes, salt);
  if (role == Role::server) std::swap(secrets.client, secrets.server);
  return PacketProtection(std::make_unique<State>(CipherSuite::aes_128_gcm, secrets.client,
                                                  secrets.server, false, TimePoint{}));
}

PacketProtection PacketProtection::for_data(CipherSuite suite, const TrafficSecrets& secrets,
                                            Role role, TimePoint now) {
  const bool is_client = role == Role::client;
  return PacketProtection(
      std::make_unique<State>(suite, is_client ? secrets.client : secrets.server,
                              is_client ? secrets.server : secrets.client, true, now));
}

std::uint64_t PacketProtection::next_packet_number() const {
  return state_->next_number_;
}

std::uint64_t PacketProtection::skip_packet_number() {
  return state_->next_number_++;
}

std::uint64_t PacketProtection::seal(std::span<std::uint8_t> packet, const PacketLayout& layout,
                                     TimePoint now) {
  State& state = *state_;
  if (state.may_update() && state.is_update_due(now)) state.update_send_key(now);
  const std::uint64_t number = state.next_number_++;
  for (std::size_t i = 0; i < layout.packet_number_length; ++i) {
    packet[layout.payload_offset() - 1 - i] = static_cast<std::uint8_t>(number >> (8 * i));
  }
  if (state.has_phases_) {
    packet[0] = static_cast<std::uint8_t>(packet[0] & ~kKeyPhase);
    if (state.send_generation_ % 2 == 1) packet[0] |= kKeyPhase;
  }
  state.send_.seal(number, packet, layout.payload_offset());
  state.send_header_.protect(packet, layout);
  ++state.counters_.sealed;
  return number;
}

std::optional<PacketProtection::Opened> PacketProtection::open(std::span<std::uint8_t> packet,
                                                               std::size_t packet_number_offset,
                                                               TimePoint now) {
  State& state = *state_;
  if (packet.size() < packet_number_offset + kMinProtectedLength) {
    ++state.counters_.failed;
    return std::nullopt;
  }
  if (state.previous_receive_ && now >= state.previous_expiry_) state.previous_receive_.reset();

  const PacketLayout layout = state.receive_header_.unprotect(packet, packet_number_offset);
  std::uint64_t truncated = 0;
  for (std::size_t i = 0; i < layout.packet_number_length; ++i) {
    truncated = truncated << 8 | packet[packet_number_offset + i];
  }
  const std::uint64_t number =
      decode_packet_number(state.largest_opened_, truncated, layout.packet_number_length);

  PacketCipher* const key = state.receive_key(number, (packet[0] & kKeyPhase) != 0);
  if (!key || !key->open(number, packet, layout.payload_offset())) {
    ++state.counters_.failed;
    return std::nullopt;
  }
  // Authentic. Reserved bits are checked only now, so that they tell a forger nothing.
  if (packet[0] & (packet[0] & kLongForm ? kReservedLong : kReservedShort)) {
    ++state.counters_.failed;
    return std::nullopt;
  }
  if (state.next_receive_ && key == &*state.next_receive_) state.update_receive_key(number, now);
  if (key == &state.receive_ && number < state.lowest_of_generation_) {
    state.lowest_of_generation_ = number;
  }
  if (!state.largest_opened_ || number > *state.largest_opened_) state.largest_opened_ = number;
  ++state.counters_.opened;
  return Opened{number, packet.subspan(layout.payload_offset(),
                                       packet.size() - layout.payload_offset() - kTagLength)};
}

void PacketProtection::on_acknowledged(std::uint64_t packet_number, Duration probe_timeout,
                                       TimePoint now) {
  State& state = *state_;
  state.probe_timeout_ = probe_timeout;
  if (state.generation_acknowledged_ || packet_number < state.generation_first_) return;
  state.generation_acknowledged_ = true;
  state.next_update_ = now;
  if (state.send_generation_ > 0) {
    state.next_update_ += kProbeTimeoutsBetweenUpdates * probe_timeout;
  }
}

void PacketProtection::allow_key_updates() {
  state_->updates_allowed_ = true;
}

bool PacketProtection::update_key(TimePoint now) {
  if (!state_->may_update()) return false;
  state_->update_send_key(now);
  return true;
}

bool PacketProtection::is_worn_out() const {
  const std::uint64_t integrity_limit = state_->suite_ == CipherSuite::chacha20_poly1305
                                            ? kIntegrityLimitChaCha20
                                            : kIntegrityLimitAes;
  return state_->next_number_ - state_->generation_first_ >= kConfidentialityLimit ||
         state_->counters_.failed >= integrity_limit;
}

const PacketProtection::Counters& PacketProtection::counters() const {
  return state_->counters_;
}

}  // namespace rushfs::transport
