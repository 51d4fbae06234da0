// Programs that watch with inotify(7) are told what others do. Notices say where something has
// changed; what has is found by comparing what was known with what the server says now.
// docs/semantics.md, "Watching". Owner: the file loop.
#pragma once

#include <deque>
#include <memory>

#include "fs/client/kernel_side.h"
#include "fs/client/known.h"
#include "fs/client/questions.h"

namespace rushfs::fs {

class Watchers {
 public:
  struct Comparison;

  Watchers(Known& known, KernelSide& kernel, Questions& questions)
      : known_(known), kernel_(kernel), questions_(questions) {}

  /// At every attach: the server's promises ended with the connection, and nobody asks for what is
  /// only watched. Of what happened meanwhile nothing is told.
  void attached();
  /// Before Known hears of the notice: what is known of what it names. Null: nobody is to be told.
  std::shared_ptr<Comparison> remember(const Notice& notice);
  /// Afterwards: asks how it is now, and tells the kernel what is different. One after the other:
  /// what the next one starts from is what the one before has told.
  void compare(const std::shared_ptr<Comparison>& seen);

 private:
  void begin();
  void answered(Comparison& seen);
  void tell_names(Comparison& seen);
  void tell_file(const InodeRef& inode, const Attributes& before, const Attributes& now);

  Known& known_;
  KernelSide& kernel_;
  Questions& questions_;
  std::deque<std::shared_ptr<Comparison>> comparisons_;  // the first is under way
};

}  // namespace rushfs::fs
