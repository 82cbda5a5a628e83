// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
#include "pages/page.h"
namespace luthier::ui {
class StartPage final : public Page {
    Q_OBJECT
public:
    explicit StartPage(Workbench& bench) : Page(bench) {}
    QString title() const override { return "start"; }
    void open(const QString&, const QString& = {}) {}
    void showRun(const QString&) {}
    void select(const QString&) {}
};
}  // namespace luthier::ui
