// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/method_help.h"

#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/method_glyph.h"
#include "widgets/model_map.h"

#include <QPainter>
#include <QRegularExpression>
#include <QTextBlock>
#include <QTextBrowser>
#include <QTextDocument>

#include <vector>

namespace luthier::ui {

namespace {

class BigGlyph final : public QWidget {
public:
    explicit BigGlyph(const QString& method) : m_method(method) { setFixedSize(px(72), px(46)); }

protected:
    void paintEvent(QPaintEvent*) override {
        QPainter p(this);
        p.setRenderHint(QPainter::Antialiasing);
        p.scale(width() / 34.0, width() / 34.0);
        drawMethodGlyph(p, methodFacts(m_method).glyph, QPointF(1, 1), true);
    }

private:
    QString m_method;
};

/// Its first heading stands in the dialog's head already.
QString withoutTitle(const QString& markdown) {
    static const QRegularExpression title(QStringLiteral("^# [^\\n]*\\n+"));
    return QString(markdown).remove(title);
}

/// Markdown's bold and code in the weight and the face that we ship; others would be made up or the
/// system's.
void useOurFonts(QTextDocument& document) {
    std::vector<QTextCursor> strong, code;
    for (QTextBlock block = document.begin(); block.isValid(); block = block.next())
        for (auto part = block.begin(); part != block.end(); ++part) {
            const QTextCharFormat format = part.fragment().charFormat();
            if (!format.fontFixedPitch() && format.fontWeight() <= QFont::Normal) continue;
            QTextCursor cursor(&document);
            cursor.setPosition(part.fragment().position());
            cursor.setPosition(part.fragment().position() + part.fragment().length(),
                               QTextCursor::KeepAnchor);
            (format.fontFixedPitch() ? code : strong).push_back(cursor);
        }
    const auto use = [](std::vector<QTextCursor>& cursors, Type type) {
        QTextCharFormat format;
        format.setFont(themeFont(type));
        for (QTextCursor& cursor : cursors) cursor.mergeCharFormat(format);
    };
    use(code, Type::Mono);
    use(strong, Type::Strong);
}

}  // namespace

MethodHelp::MethodHelp(const MethodInfo& info, const ModelMap& map, QWidget* parent)
    : FramedDialog(info.title, {px(760), px(680)}, parent) {
    auto* column = makeColumn(0);
    auto* head = makeRow(16);
    head->setContentsMargins(24, 16, 24, 16);
    auto* words = makeColumn(4);
    words->addWidget(makeLabel(info.title, "title"));
    words->addWidget(makeLabel(info.summary, "body", "t2"));
    head->addWidget(new BigGlyph(info.name));
    head->addLayout(words, 1);
    column->addLayout(head);
    column->addWidget(makeRule());
    if (map.partCount() > 0) {
        auto* figure = new ModelMap;
        figure->showAs(map);
        figure->setFixedHeight(px(248));
        auto* caption =
            makeLabel(tr("Blue is trained, grey is frozen. %1").arg(map.summary()), "table", "t2");
        caption->setContentsMargins(24, 0, 24, 10);
        column->addWidget(figure);
        column->addWidget(caption);
        column->addWidget(makeRule());
    }
    auto* text = new QTextBrowser;
    text->setFrameShape(QFrame::NoFrame);
    text->setOpenExternalLinks(true);
    text->setAccessibleName(tr("About %1").arg(info.title));
    text->document()->setDocumentMargin(px(24));
    text->document()->setDefaultFont(themeFont(Type::Body));
    text->setMarkdown(withoutTitle(info.help) +
                      (info.rateSource.isEmpty()
                           ? QString()
                           : tr("\n\n**Learning rate.** Usually %1: %2.\n")
                                 .arg(format::rate(info.usualRate), info.rateSource)));
    for (QTextBlock block = text->document()->begin(); block.isValid(); block = block.next()) {
        QTextBlockFormat format = block.blockFormat();
        format.setLineHeight(140, QTextBlockFormat::ProportionalHeight);
        format.setBottomMargin(px(10));
        QTextCursor(block).setBlockFormat(format);
    }
    useOurFonts(*text->document());
    column->addWidget(text, 1);
    column->addWidget(makeRule());
    auto* foot = makeRow(8);
    foot->setContentsMargins(24, 12, 24, 12);
    auto* close = makeButton(tr("Close"), "plain", 32);
    foot->addStretch(1);
    foot->addWidget(close);
    column->addLayout(foot);
    setLayout(column);
    connect(close, &QPushButton::clicked, this, &QDialog::accept);
}

}  // namespace luthier::ui
