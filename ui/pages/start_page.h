// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Start: three entries and the recent runs.

#include "pages/page.h"

namespace luthier::ui {

class EmptyState;
class SimpleTable;

class StartPage final : public Page {
    Q_OBJECT
public:
    explicit StartPage(Workbench& bench);
    QString title() const override { return tr("Start"); }
    QString context() const override { return tr("Fit a language model to your own work, on this computer"); }
    void enter() override { fill(); }
    bool isSettled() const override { return m_bench.runs.isLoaded(); }

private:
    void fill();
    SimpleTable* m_table;
    EmptyState* m_empty;
};

}  // namespace luthier::ui
