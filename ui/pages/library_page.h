// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Library: models and data found, what each is, and whether Luthier can train it.

#include "pages/page.h"

namespace luthier::ui {

class SimpleTable;

class LibraryPage final : public Page {
    Q_OBJECT
public:
    explicit LibraryPage(Workbench& bench);
    QString title() const override { return tr("Library"); }
    QString context() const override { return tr("Models and data on this computer"); }
    bool isSettled() const override { return m_bench.catalogue.modelsLoaded(); }

private:
    void fill();
    SimpleTable *m_models, *m_datasets;
};

}  // namespace luthier::ui
