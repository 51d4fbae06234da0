// A UDP socket at speed: many datagrams per system call (sendmmsg, recvmmsg), many per trip through
// the kernel's stack (UDP_SEGMENT, UDP_GRO), both families, never fragmented on the way. Knows
// nothing of what the datagrams mean. Never blocks. Owner: the network loop.
#pragma once

#include <sys/socket.h>

#include <absl/functional/function_ref.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "transport/endpoint.h"
#include "transport/udp/return_paths.h"
#include "transport/udp/udp_report.h"

namespace rushfs::transport {

struct UdpOptions {
  std::optional<Address> listen;     // none: any address of both families, a port of the system's
  Bytes receive_buffer = 16_MiB;     // asked of the kernel; UdpReport says what was granted
  Bytes send_buffer = 4_MiB;
  bool segmentation_offload = true;  // UDP_SEGMENT; given up for a while where it does not work
  bool receive_offload = true;       // UDP_GRO
  bool force_buffers = true;         // try SO_RCVBUFFORCE first (needs CAP_NET_ADMIN)
  std::uint8_t dscp = 0;             // differentiated services code point, 0 to 63 (RFC 2474)
};

class UdpSocket {
 public:
  /// Takes a datagram, and may write to it. `at`: the address of ours that it was sent to, if that
  /// may be one of several. True: `from` is a peer, which shall hear from us from there.
  using Sink = absl::FunctionRef<bool(std::span<std::uint8_t> datagram, const Address& from,
                                      const std::optional<LocalIp>& at)>;

  /// Opens and binds. Throws std::system_error naming the address when it cannot.
  explicit UdpSocket(const UdpOptions& options);
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  int descriptor() const { return fd_; }
  const Address& local_address() const { return local_; }

  /// One system call: hands each datagram to `sink`. False when there was nothing left to read.
  bool receive(TimePoint now, Sink sink);

  /// Sends the batches in order. What the kernel cannot take now is kept by the socket and sent by
  /// resume(). Datagrams the network refuses are dropped and reported. Only when !blocked().
  void send(std::span<TransmitBatch> batches, TimePoint now);
  /// The send buffer was full: wait until the descriptor is writable, then resume().
  bool blocked() const { return !unsent_.empty(); }
  void resume(TimePoint now);

  /// Datagrams that the last send() or resume() could not send because the interface takes none of
  /// their size. Until the next call.
  struct TooLarge {
    Address to;
    Bytes size;
    bool operator==(const TooLarge&) const = default;
  };
  std::span<const TooLarge> too_large() const { return too_large_; }

  const UdpReport& report() const { return report_; }

 private:
  struct Received;  // buffers and headers of one recvmmsg
  /// Bytes of equal datagrams for one address, to be sent as one message.
  struct Piece {
    const TransmitBatch* batch;  // that it is of
    std::span<const std::uint8_t> bytes;
    const Address& to() const { return batch->to; }
    std::size_t segment_size() const { return batch->segment_size; }
    bool segmented() const { return bytes.size() > segment_size(); }
  };
  enum class Refusal : std::uint8_t { blocked, retry, dropped };

  void open(const UdpOptions& options);
  void open_descriptor(const Address& listen);
  void set_options(const UdpOptions& options);
  SocketBuffer set_buffer(int force_option, int option, Bytes asked, bool force);
  /// What the kernel tells beside a message: size of its datagrams (0: it is one), our address.
  struct Told {
    std::uint16_t segment_size = 0;
    std::optional<LocalIp> local;
  };
  Told read_control(const msghdr& header);
  void read_errors(TimePoint now);
  void note_error(int error, const Address& to, TimePoint now);

  std::size_t write_control(const Piece& piece, std::span<std::uint8_t> control) const;
  void cut_into_pieces(const TransmitBatch& batch);
  void cut_piece_into_datagrams(std::size_t index);
  void send_pieces(TimePoint now);
  int send_some(std::size_t first);
  Refusal refused(std::size_t index, int error, TimePoint now);
  void keep_unsent(std::size_t first);
  void give_up_offload(TimePoint now);

  int fd_ = -1;
  int family_ = 0;
  Address local_;
  bool many_addresses_ = false;  // a server on any address: answer from the one that was asked
  ReturnPaths return_paths_;
  UdpReport report_;
  std::uint32_t kernel_drops_ = 0;  // as last reported; wraps
  std::unique_ptr<Received> received_;
  std::vector<Piece> pieces_;  // of the send() under way
  std::vector<TransmitBatch> unsent_;
  std::vector<TooLarge> too_large_;
  bool retried_ = false;           // this piece, after an error that may not be its own
  bool doubting_offload_ = false;  // the datagrams of a refused segmented piece are on trial
  std::optional<TimePoint> offload_again_;  // when it was given up: until then
  bool errors_left_ = false;                // the error queue may hold some
};

}  // namespace rushfs::transport
