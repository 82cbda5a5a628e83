// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// "Load it elsewhere": the lines with which other programs load what lies in a folder, and whether
// the playground can. Only lines that work for this format and this kind of model are given; a
// format that is not known here has none.

#include <QList>
#include <QString>

namespace luthier::ui {

struct Snippet {
    QString tool, text;
};

struct Elsewhere {
    QList<Snippet> snippets;
    QString limits;       ///< one sentence below the lines
    bool canTry = false;  ///< in the playground, with:
    QString tryModel, tryAdapter;
};

/// What lies in a folder, as its exporter says it.
struct Holds {
    QString what = QStringLiteral("folder");  ///< folder, gguf-model, gguf-adapter
    QString modelFormat;                      ///< export format that writes a base for gguf-adapter
};

/// @param folder where the files lie.
Elsewhere elsewhere(const Holds& holds, const QString& folder, const QString& base);

/// A word for a POSIX shell, quoted where it must be.
QString shellWord(const QString& text);

}  // namespace luthier::ui
