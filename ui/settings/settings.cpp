// SPDX-License-Identifier: GPL-3.0-or-later
#include "settings/settings.h"

#include "theme/theme.h"

#include <QSplitter>

namespace luthier::ui {

QSettings& Settings::store() {
    static QSettings settings(QSettings::IniFormat, QSettings::UserScope, "luthier", "luthier");
    return settings;
}

void Settings::keepSplitter(QSplitter* splitter, const QString& name) {
    const QString key = "splitters/" + name;
    splitter->setChildrenCollapsible(false);
    const QByteArray state = store().value(key).toByteArray();
    if (!state.isEmpty()) splitter->restoreState(state);
    QObject::connect(splitter, &QSplitter::splitterMoved, splitter,
                     [splitter, key] { store().setValue(key, splitter->saveState()); });
}

void Settings::applyAppearance() {
    Theme& theme = Theme::instance();
    const QString name = value("appearance/theme", "dark").toString();
    const int density = value("appearance/density", 32).toInt();
    theme.setDensity(density == 28   ? Density::Compact
                     : density == 40 ? Density::Relaxed
                                     : Density::Normal);
    theme.setTextScale(value("appearance/textSize", 100).toInt() / 100.0);
    theme.setChoice(name == "light"      ? ThemeChoice::Light
                    : name == "contrast" ? ThemeChoice::HighContrast
                    : name == "system"   ? ThemeChoice::System
                                         : ThemeChoice::Dark);
}

}  // namespace luthier::ui
