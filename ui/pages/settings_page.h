// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Settings: appearance; saved at once.

#include "pages/page.h"

namespace luthier::ui {

class SettingsPage final : public Page {
    Q_OBJECT
public:
    explicit SettingsPage(Workbench& bench);
    QString title() const override { return tr("Settings"); }
    QString context() const override { return tr("saved as you change them"); }
};

}  // namespace luthier::ui
