#include "transport/path/path_validation.h"

namespace rushfs::transport {
namespace {

// Challenges to an address that does not answer; each waits twice as long as the one before.
constexpr int kMaxAttempts = 4;
// A challenge must not be larger than this multiple of what came from the address.
constexpr std::size_t kAmplification = 3;
// Challenges are this large if the limit allows, to show that the path carries full datagrams.
constexpr std::size_t kChallengeSize = 1200;
constexpr std::size_t kSmallestChallenge = 64;

}  // namespace

void PathValidation::on_packet(const Address& address, std::size_t size,
                               const RandomSource& random, TimePoint now) {
  if (!candidate_ || candidate_->address != address) {
    candidate_ = Candidate{.address = address, .next = now};
    random(candidate_->challenge);
  }
  candidate_->received += size;
}

std::optional<PathValidation::Due> PathValidation::due(TimePoint now) const {
  if (!candidate_ || candidate_->attempts >= kMaxAttempts || candidate_->next > now) return {};
  const std::size_t allowed = kAmplification * candidate_->received;
  if (allowed < candidate_->sent + kSmallestChallenge) return {};
  return Due{candidate_->address, candidate_->challenge,
             std::min(kChallengeSize, allowed - candidate_->sent)};
}

void PathValidation::on_challenge_sent(std::size_t size, Duration probe_timeout, TimePoint now) {
  candidate_->sent += size;
  candidate_->next = now + probe_timeout * (1 << candidate_->attempts);
  ++candidate_->attempts;
}

std::optional<Address> PathValidation::on_response(const Challenge& response) {
  if (!candidate_ || candidate_->attempts == 0 || response != candidate_->challenge) return {};
  const Address address = candidate_->address;
  candidate_.reset();
  return address;
}

std::optional<TimePoint> PathValidation::deadline() const {
  if (!candidate_) return std::nullopt;
  return candidate_->next;
}

void PathValidation::tick(TimePoint now) {
  if (!candidate_ || candidate_->next > now) return;
  const bool starved =
      kAmplification * candidate_->received < candidate_->sent + kSmallestChallenge;
  if (candidate_->attempts >= kMaxAttempts || starved) candidate_.reset();
}

}  // namespace rushfs::transport
