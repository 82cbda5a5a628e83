// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rows of token ids: input_ids, and labels, attention_mask and token_type_ids where they are given.
// Positions that the mask leaves out leave the row: padding, on either side.

#include "data/row_format.h"

namespace luthier {

Result<MappedRow> mapTokenized(const Json& row, RowTask task, bool wantsValues,
                               const TextEncoder& encoder, const std::string& place);

}  // namespace luthier
