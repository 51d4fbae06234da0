// The sending half of UdpSocket: batches become pieces, one message of sendmmsg each. A piece is
// sent segmented by the kernel where that works and datagram by datagram where it does not.

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/udp/socket_address.h"
#include "transport/udp/udp_socket.h"

namespace rushfs::transport {

namespace {

/// Messages per system call.
constexpr std::size_t kSendMessages = 64;
/// UDP_MAX_SEGMENTS of Linux before 6.9; later kernels take 128.
constexpr std::size_t kLargestSegments = 64;
/// 65535 less the larger of the IP headers and the UDP header.
constexpr std::size_t kLargestSend = 65535 - 40 - 8;
/// One peer's path (a tunnel of IPsec) may have spoken for all, and routes change: what does not
/// work is asked for again. Where it never works this costs one refusal a minute.
constexpr Duration kOffloadAgain = std::chrono::minutes(1);

}  // namespace

void UdpSocket::send(std::span<TransmitBatch> batches, TimePoint now) {
  assert(!blocked());
  if (offload_again_ && now >= *offload_again_) {
    offload_again_.reset();
    report_.segmentation_offload = true;
  }
  pieces_.clear();
  for (const TransmitBatch& batch : batches) cut_into_pieces(batch);
  send_pieces(now);
}

void UdpSocket::resume(TimePoint now) {
  if (!blocked()) return;
  const std::vector<TransmitBatch> batches = std::exchange(unsent_, {});
  pieces_.clear();
  for (const TransmitBatch& batch : batches) cut_into_pieces(batch);
  send_pieces(now);
}

void UdpSocket::cut_into_pieces(const TransmitBatch& batch) {
  const std::size_t segment = batch.segment_size;
  assert(segment > 0 && segment <= kLargestSend);
  const std::size_t count =
      report_.segmentation_offload ? std::min(kLargestSegments, kLargestSend / segment) : 1;
  std::span<const std::uint8_t> rest(batch.bytes);
  while (!rest.empty()) {
    const std::size_t size = std::min(rest.size(), count * segment);
    pieces_.push_back({&batch, rest.first(size)});
    rest = rest.subspan(size);
  }
}

void UdpSocket::cut_piece_into_datagrams(std::size_t index) {
  const Piece whole = pieces_[index];
  std::vector<Piece> datagrams;
  for (auto rest = whole.bytes; !rest.empty();) {
    const std::size_t size = std::min(rest.size(), whole.segment_size());
    datagrams.push_back({whole.batch, rest.first(size)});
    rest = rest.subspan(size);
  }
  const auto at = pieces_.erase(pieces_.begin() + static_cast<std::ptrdiff_t>(index));
  pieces_.insert(at, datagrams.begin(), datagrams.end());
}

void UdpSocket::send_pieces(TimePoint now) {
  doubting_offload_ = retried_ = false;
  too_large_.clear();
  for (std::size_t next = 0; next < pieces_.size();) {
    const int sent = send_some(next);
    if (sent > 0) {
      // The kernel refused these datagrams segmented and takes them one by one: it is the
      // offload that does not work here.
      if (doubting_offload_) give_up_offload(now);
      next += static_cast<std::size_t>(sent);
      doubting_offload_ = retried_ = false;
      continue;
    }
    switch (refused(next, errno, now)) {
      case Refusal::blocked:
        keep_unsent(next);
        return;
      case Refusal::retry:
        break;
      case Refusal::dropped:
        ++next;
        doubting_offload_ = retried_ = false;
        break;
    }
  }
}

UdpSocket::Refusal UdpSocket::refused(std::size_t index, int error, TimePoint now) {
  const Piece& piece = pieces_[index];
  if (error == EINTR) return Refusal::retry;
  if (error == EAGAIN) {
    ++report_.send_blocked;
    return Refusal::blocked;
  }
  read_errors(now);
  if (!retried_) {
    // With IP_RECVERR an ICMP error for an earlier datagram, to anybody, is reported here, once.
    retried_ = true;
    return Refusal::retry;
  }
  if (many_addresses_ && (error == EINVAL || error == EADDRNOTAVAIL || error == ENETUNREACH) &&
      return_paths_.forget(piece.to())) {
    return Refusal::retry;
  }
  if (piece.segmented() && (error == EIO || error == EINVAL || error == EMSGSIZE)) {
    // EIO: a device without checksum offload, IPsec. EINVAL, EMSGSIZE: no segmentation here, or
    // segments over the interface's MTU. Sending them singly tells.
    doubting_offload_ = true;
    retried_ = false;
    cut_piece_into_datagrams(index);
    return Refusal::retry;
  }
  if (error == EMSGSIZE) {  // often a probe for a larger path MTU, which has its answer
    ++report_.too_large;
    const TooLarge refused{piece.to(), Bytes{piece.bytes.size()}};
    if (too_large_.empty() || too_large_.back() != refused) too_large_.push_back(refused);
    return Refusal::dropped;
  }
  note_error(error, piece.to(), now);
  return Refusal::dropped;
}

void UdpSocket::give_up_offload(TimePoint now) {
  report_.segmentation_offload = false;
  offload_again_ = now + kOffloadAgain;
}

/// Fills in what the kernel must know beside the bytes; the result is its length.
std::size_t UdpSocket::write_control(const Piece& piece, std::span<std::uint8_t> control) const {
  std::size_t used = 0;
  const auto add = [&](int level, int type, const void* data, std::size_t size) {
    cmsghdr header{};
    header.cmsg_level = level;
    header.cmsg_type = type;
    header.cmsg_len = CMSG_LEN(size);
    assert(used + CMSG_SPACE(size) <= control.size());
    std::memcpy(&control[used], &header, sizeof header);
    std::memcpy(&control[used + CMSG_LEN(0)], data, size);
    used += CMSG_SPACE(size);
  };
  if (piece.segmented()) {
    add(SOL_UDP, UDP_SEGMENT, &piece.batch->segment_size, sizeof piece.batch->segment_size);
  }
  if (!many_addresses_) return used;
  const auto& asked = piece.batch->from;
  const auto local = asked ? asked : return_paths_.find(piece.to());
  if (local && family_ == AF_INET) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, &(*local)[12], sizeof info.ipi_spec_dst);
    add(IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
  } else if (local) {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, local->data(), local->size());
    add(IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
  }
  return used;
}

int UdpSocket::send_some(std::size_t first) {
  struct Control {
    alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(std::uint16_t)) +
                                                  CMSG_SPACE(sizeof(in6_pktinfo))> bytes;
  };
  std::array<mmsghdr, kSendMessages> messages;
  std::array<iovec, kSendMessages> parts;
  std::array<sockaddr_storage, kSendMessages> addresses;
  std::array<Control, kSendMessages> controls;
  const std::size_t count = std::min(kSendMessages, pieces_.size() - first);
  for (std::size_t i = 0; i < count; ++i) {
    const Piece& piece = pieces_[first + i];
    msghdr& header = messages[i].msg_hdr;
    header = {};
    parts[i] = {const_cast<std::uint8_t*>(piece.bytes.data()), piece.bytes.size()};
    header.msg_iov = &parts[i];
    header.msg_iovlen = 1;
    header.msg_name = &addresses[i];
    header.msg_namelen = to_sockaddr(piece.to(), family_, addresses[i]);
    header.msg_control = controls[i].bytes.data();
    header.msg_controllen = write_control(piece, controls[i].bytes);
  }
  ++report_.send_calls;
  const int sent = ::sendmmsg(fd_, messages.data(), static_cast<unsigned>(count), MSG_DONTWAIT);
  // What stopped it half-way is not told. It may have been an ICMP error, which is gone by now.
  if (sent > 0 && static_cast<std::size_t>(sent) < count) errors_left_ = true;
  for (int i = 0; i < sent; ++i) {
    const Piece& piece = pieces_[first + static_cast<std::size_t>(i)];
    report_.bytes_sent += Bytes{piece.bytes.size()};
    const std::size_t segment = piece.segment_size();
    report_.datagrams_sent += (piece.bytes.size() + segment - 1) / segment;
  }
  return sent;
}

void UdpSocket::keep_unsent(std::size_t first) {
  std::vector<TransmitBatch> kept;
  for (std::size_t i = first; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    kept.push_back({piece.to(),
                    piece.batch->segment_size,
                    {piece.bytes.begin(), piece.bytes.end()},
                    piece.batch->from});
  }
  unsent_ = std::move(kept);
}

}  // namespace rushfs::transport
