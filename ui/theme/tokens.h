// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The colours of a theme. One table per theme fills QPalette, the
// style sheet's %token% words and every painter, so a colour is written down once.

#include <QColor>
#include <QString>

#include <array>
#include <vector>

namespace luthier::ui {

struct Tokens {
    QString name;
    bool isDark = true;
    QColor bg0, bg1, bg2, bg3, tip, line, line2, ctl, t1, t2, t3, dis, acc, fill, fillHover,
        fillPressed, soft, softline, ok, oksoft, warn, warnsoft, err, errsoft, frozen, frozensoft,
        act, logit, field, segmentOn, knob;
    std::array<QColor, 10> runs;  ///< in order of creation

    /// All colours with their names, for the style sheet.
    std::vector<std::pair<QString, QColor>> named() const;
};

const Tokens& darkTokens();
const Tokens& lightTokens();
const Tokens& highContrastTokens();

/// Linear mix in sRGB: 0 gives `a`, 1 gives `b`.
QColor mix(const QColor& a, const QColor& b, double share);
QColor withAlpha(QColor color, double alpha);

}  // namespace luthier::ui
