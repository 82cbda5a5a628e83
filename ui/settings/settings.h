// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// What the window remembers, under the user's configuration folder: one QSettings file, keys spelt
// once. Saved at once.

#include <QSettings>
#include <QString>

class QSplitter;
class QWidget;

namespace luthier::ui {

class Settings final {
public:
    static QSettings& store();

    static QVariant value(const QString& key, const QVariant& fallback = {}) {
        return store().value(key, fallback);
    }
    static void set(const QString& key, const QVariant& value) { store().setValue(key, value); }

    /// Restores the sizes of `splitter` and keeps them from then on.
    static void keepSplitter(QSplitter* splitter, const QString& name);
    static bool showPeftNames() { return value("appearance/peftNames", true).toBool(); }
    static void applyAppearance();  ///< theme, text size and density to Theme
};

}  // namespace luthier::ui
