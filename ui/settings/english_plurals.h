// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The source texts are English with "%n row(s)"; without a translation Qt would show them so. This
// gives "1 row", "2 rows".

#include <QTranslator>

namespace luthier::ui {

class EnglishPlurals final : public QTranslator {
public:
    using QTranslator::QTranslator;
    bool isEmpty() const override { return false; }
    QString translate(const char*, const char* source, const char*, int n) const override {
        if (n < 0) return {};
        QString text = QString::fromUtf8(source);
        return text.contains("(s)") ? text.replace("(s)", n == 1 ? QString() : QStringLiteral("s"))
                                    : QString();
    }
};

}  // namespace luthier::ui
