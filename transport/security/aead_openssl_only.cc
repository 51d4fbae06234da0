// For processors that libipsec-mb is not made for.
#include "transport/security/aead.h"

namespace rushfs::transport {

std::unique_ptr<Aead> make_multi_buffer_aead(const PacketKeys&) { return nullptr; }

}  // namespace rushfs::transport
