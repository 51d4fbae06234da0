// Byte credit: how much a receiver lets its peer have under way, so that a slow application or disk
// holds the sender back and never becomes loss. docs/protocol.md, "Credit".
//
// Every message is charged in full when it starts (body + kMessageOverhead); a limit is cumulative
// since the connection began and never falls. Pure; owner: Exchange.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "transport/units.h"
#include "transport/wire/frames.h"

namespace rushfs::transport {

/// What each window grants before the first CREDIT: 1.3 Gbit/s at 100 ms.
inline constexpr Bytes kInitialCredit = 16_MiB;
/// A smaller window could not hold the largest message.
inline constexpr Bytes kMinCredit{kMaxCharge};

/// The sender's side: what the peer granted and what was used of it.
class SendCredit {
 public:
  explicit SendCredit(const std::array<Bytes, kPriorities>& initial);
  bool allows(CreditWindow window, std::uint64_t charge) const;
  void charge(CreditWindow window, std::uint64_t charge);
  /// Limits only grow; a lower one is an old frame.
  void on_credit(const CreditFrame& frame);

 private:
  struct Account {
    std::uint64_t limit = 0;
    std::uint64_t charged = 0;
  };
  std::array<Account, kCreditWindows> accounts_;
};

/// The receiver's side: what was granted, what came, what the application is done with.
///
/// A window that is used up and freed again within six round trips is doubled, because then the
/// window and not the application was the limit (where the application holds next to nothing, that
/// is known after a quarter of it); one that the application takes eight round trips to free while
/// the peer waits for credit is halved. All windows together stay under the limit.
class ReceiveCredit {
 public:
  explicit ReceiveCredit(Bytes limit_of_all);

  /// The peer started a message. False: it had no credit for it, a protocol violation.
  bool charge(CreditWindow window, std::uint64_t charge);
  /// All of a message is here: the application has it.
  void arrived(CreditWindow window, std::uint64_t charge);
  /// The application is done with a message, or it was cancelled on its way.
  void release(CreditWindow window, std::uint64_t charge, Duration round_trip, TimePoint now);

  bool has_news() const { return news_ != 0; }
  /// A CREDIT frame that is due; it counts as sent.
  std::optional<CreditFrame> take_news();
  /// A CREDIT frame was lost: the present limit goes out again.
  void on_lost(CreditWindow window) { news_ |= 1u << window.index(); }

  /// Charged and not yet released: what the peer makes us hold.
  std::uint64_t outstanding() const;
  std::uint64_t window(CreditWindow window) const { return accounts_[window.index()].window; }

 private:
  struct Since {
    std::uint64_t released = 0;
    TimePoint start{};
  };
  struct Account {
    std::uint64_t window = kInitialCredit.count;
    std::uint64_t granted = kInitialCredit.count;  // limit last told to the peer
    std::uint64_t charged = 0;
    std::uint64_t arrived = 0;
    std::uint64_t released = 0;
    Since part, whole;     // the present measurements, of a part of the window and of all of it
    bool prompt = true;    // the application held little in the former
    bool starved = false;  // the peer came close to the limit in the latter
  };
  static bool is_prompt(const Account& account);
  void tune(Account& account, Duration round_trip, TimePoint now);
  std::uint64_t sum_of_windows() const;

  std::uint64_t limit_of_all_;
  std::array<Account, kCreditWindows> accounts_;
  unsigned news_ = 0;  // bit per window
};

}  // namespace rushfs::transport
