// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// What a screen reader meets at a Plot: a chart with one summary sentence, and under it a table of
// the same numbers (up to 60 rows over the range in view, one column a curve).

namespace luthier::ui {

/// Makes Qt ask us for plots; called by the first Plot.
void installPlotAccessibility();

}  // namespace luthier::ui
