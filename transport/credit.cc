#include "transport/credit.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace rushfs::transport {

// A message that loses packets takes two or three round trips to be whole, and its credit another
// to get back to the peer: a window that turns over in fewer than this was the limit itself.
constexpr int kFullSpeedRounds = 6;

SendCredit::SendCredit(const std::array<Bytes, kPriorities>& initial) {
  for (std::size_t i = 0; i < kCreditWindows; ++i) {
    const auto priority = static_cast<std::size_t>(CreditWindow::from_index(i).priority);
    accounts_[i].limit = initial[priority].count;
  }
}

bool SendCredit::allows(CreditWindow window, std::uint64_t charge) const {
  const Account& account = accounts_[window.index()];
  return account.charged + charge <= account.limit;
}

void SendCredit::charge(CreditWindow window, std::uint64_t charge) {
  assert(allows(window, charge));
  accounts_[window.index()].charged += charge;
}

void SendCredit::on_credit(const CreditFrame& frame) {
  Account& account = accounts_[frame.window.index()];
  account.limit = std::max(account.limit, frame.limit);
}

ReceiveCredit::ReceiveCredit(Bytes limit_of_all) : limit_of_all_(limit_of_all.count) {}

bool ReceiveCredit::charge(CreditWindow window, std::uint64_t charge) {
  Account& account = accounts_[window.index()];
  account.charged += charge;
  if (account.granted - std::min(account.granted, account.charged) < kMinCredit.count) {
    account.starved = true;
  }
  return account.charged <= account.granted;
}

void ReceiveCredit::release(CreditWindow window, std::uint64_t charge, Duration round_trip,
                            TimePoint now) {
  Account& account = accounts_[window.index()];
  account.released += charge;
  assert(account.released <= account.charged);
  tune(account, round_trip, now);
  const std::uint64_t limit = account.released + account.window;
  if (limit <= account.granted) return;
  const bool nothing_outstanding = account.released == account.charged;
  const bool worth_telling = limit - account.granted >= account.window / 4;
  const bool low = account.granted - account.charged < kMinCredit.count;
  if (worth_telling || (nothing_outstanding && low)) news_ |= 1u << window.index();
}

void ReceiveCredit::tune(Account& account, Duration round_trip, TimePoint now) {
  if (account.epoch_start == TimePoint{}) account.epoch_start = now;
  if (account.released - account.epoch_released < account.window) return;
  const Duration took = now - account.epoch_start;
  if (took < kFullSpeedRounds * round_trip) {
    if (sum_of_windows() + account.window <= limit_of_all_) account.window *= 2;
  } else if (took > 8 * round_trip && account.starved) {
    account.window = std::max(account.window / 2, kMinCredit.count);
  }
  account.epoch_start = now;
  account.epoch_released = account.released;
  account.starved = false;
}

std::optional<CreditFrame> ReceiveCredit::take_news() {
  if (news_ == 0) return std::nullopt;
  const auto index = static_cast<std::size_t>(std::countr_zero(news_));
  news_ &= news_ - 1;
  Account& account = accounts_[index];
  account.granted = std::max(account.granted, account.released + account.window);
  return CreditFrame{CreditWindow::from_index(index), account.granted};
}

std::uint64_t ReceiveCredit::outstanding() const {
  std::uint64_t sum = 0;
  for (const Account& account : accounts_) sum += account.charged - account.released;
  return sum;
}

std::uint64_t ReceiveCredit::sum_of_windows() const {
  std::uint64_t sum = 0;
  for (const Account& account : accounts_) sum += account.window;
  return sum;
}

}  // namespace rushfs::transport
