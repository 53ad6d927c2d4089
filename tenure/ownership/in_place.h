// tenure/ownership/in_place.h: functional updates of state, turned into writes where the state lies.
#pragma once

#include <set>
#include <vector>

#include "tenure/ownership/ownership.h"

namespace tenure {

/// torch.export's decompositions make every write a copy: a KV cache that takes one token becomes a whole new cache, copied back at
/// the end of the run. Where the old content is read by nobody afterwards, this rewrites the nodes between a buffer (or a user
/// input that the program changes) and its new content: index_put becomes index_put_, slice_scatter a copy_ into a slice. What
/// cannot be shown to be the same stays as it is, and is copied back. PyTorch's Inductor does the like
/// (torch/_inductor/fx_passes/reinplace.py).
///
/// `may_rewrite`: the inputs that have memory of their own. `facts` (by node) changes along with the graph.
/// Returns the inputs whose new content is now made in their own memory.
std::vector<ValueId> write_in_place(Graph& graph, std::vector<AliasFacts>& facts, const std::set<ValueId>& may_rewrite);

}  // namespace tenure
