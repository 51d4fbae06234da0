#include "transport/messages/credit.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace rushfs::transport {

// A message that loses packets takes two or three round trips to be whole, and its credit another
// to get back to the peer: a window that turns over in fewer than this was the limit itself.
constexpr int kFullSpeedRounds = 6;
constexpr int kSlowRounds = 8;
// An application that never holds much of it shows that sooner: when a part of it turned over.
constexpr std::uint64_t kPart = 4;
constexpr std::uint64_t kPromptPart = 8;

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

bool ReceiveCredit::is_prompt(const Account& account) {
  return account.arrived - account.released <= account.window / kPromptPart;
}

void ReceiveCredit::arrived(CreditWindow window, std::uint64_t charge) {
  Account& account = accounts_[window.index()];
  account.arrived += charge;
  account.prompt = account.prompt && is_prompt(account);
}

void ReceiveCredit::release(CreditWindow window, std::uint64_t charge, Duration round_trip,
                            TimePoint now) {
  Account& account = accounts_[window.index()];
  account.released += charge;
  assert(account.released <= account.charged);
  account.arrived = std::max(account.arrived, account.released);  // cancelled on its way
  tune(account, round_trip, now);
  const std::uint64_t limit = account.released + account.window;
  if (limit <= account.granted) return;
  const bool nothing_outstanding = account.released == account.charged;
  const bool worth_telling = limit - account.granted >= account.window / 4;
  const bool low = account.granted - account.charged < kMinCredit.count;
  if (worth_telling || (nothing_outstanding && low)) news_ |= 1u << window.index();
}

void ReceiveCredit::tune(Account& account, Duration round_trip, TimePoint now) {
  const Since since{account.released, now};
  if (account.whole.start == TimePoint{}) account.whole.start = account.part.start = now;
  const Duration full_speed = kFullSpeedRounds * round_trip;
  bool grow = false;
  if (account.released - account.part.released >= account.window / kPart) {
    grow = account.prompt && kPart * (now - account.part.start) < full_speed;
    account.part = since;
    account.prompt = is_prompt(account);
  }
  if (account.released - account.whole.released >= account.window) {
    const Duration took = now - account.whole.start;
    grow = grow || took < full_speed;
    const bool slow = took > kSlowRounds * round_trip && account.starved;
    if (slow) account.window = std::max(account.window / 2, kMinCredit.count);
    account.whole = since;
    account.starved = false;
  }
  if (!grow || sum_of_windows() + account.window > limit_of_all_) return;
  account.window *= 2;
  account.part = account.whole = since;
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
