// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/settings_page.h"

#include "settings/settings.h"
#include "widgets/basics.h"
#include "widgets/controls.h"

namespace luthier::ui {

SettingsPage::SettingsPage(Workbench& bench) : Page(bench) {
    auto* column = makeColumn(16, 24);
    column->addWidget(makeLabel(tr("Appearance"), "message"));
    const auto choice = [&](const QString& name, const QStringList& words, const QString& key, const QList<QVariant>& values, const QVariant& fallback) {
        auto* row = makeRow(16);
        auto* label = makeLabel(name, "strong");
        label->setFixedWidth(200);
        auto* control = new SegmentedControl(words);
        control->setAccessibleName(name);
        const QString now = Settings::value(key, fallback).toString();
        for (int i = 0; i < values.size(); ++i) if (values[i].toString() == now) control->setCurrent(i);
        connect(control, &SegmentedControl::changed, this, [key, values](int index) {
            Settings::set(key, values[index]);
            Settings::applyAppearance();
        });
        row->addWidget(label);
        row->addWidget(control);
        row->addStretch(1);
        column->addLayout(row);
        column->addWidget(makeRule());
    };
    choice(tr("Theme"), {tr("Dark"), tr("Light"), tr("High contrast"), tr("Follow the system")}, "appearance/theme", {"dark", "light", "contrast", "system"}, "dark");
    choice(tr("Text size"), {"80 %", "90 %", "100 %", "110 %", "125 %", "150 %"}, "appearance/textSize", {80, 90, 100, 110, 125, 150}, 100);
    choice(tr("Row height"), {tr("Compact 28"), tr("Normal 32"), tr("Relaxed 40")}, "appearance/density", {28, 32, 40}, 32);
    choice(tr("Names from PEFT"), {tr("Shown"), tr("Hidden")}, "appearance/peftNames", {true, false}, true);
    column->addStretch(1);
    setLayout(column);
}

}  // namespace luthier::ui
