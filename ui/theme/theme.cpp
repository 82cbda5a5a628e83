// SPDX-License-Identifier: GPL-3.0-or-later
#include "theme/theme.h"

#include "theme/style.h"

#include <QApplication>
#include <QFile>
#include <QFontDatabase>
#include <QPalette>
#include <QRegularExpression>
#include <QStyleFactory>
#include <QStyleHints>
#include <QTemporaryDir>

static void initResources() { Q_INIT_RESOURCE(luthier); }

namespace luthier::ui {

namespace {

struct TypeSpec {
    int pixels;
    QFont::Weight weight;
    bool mono;
};

TypeSpec specOf(Type type) {
    switch (type) {
        case Type::Hero:
            return {28, QFont::DemiBold, false};
        case Type::Message:
            return {20, QFont::DemiBold, false};
        case Type::Title:
            return {16, QFont::DemiBold, false};
        case Type::Body:
            return {13, QFont::Normal, false};
        case Type::Name:
            return {13, QFont::Medium, false};
        case Type::Strong:
            return {13, QFont::DemiBold, false};
        case Type::Table:
            return {12, QFont::Normal, false};
        case Type::TableStrong:
            return {12, QFont::Medium, false};
        case Type::Caption:
            return {11, QFont::Normal, false};
        case Type::CaptionStrong:
            return {11, QFont::DemiBold, false};
        case Type::Mono:
            return {12, QFont::Normal, true};
        case Type::MonoSmall:
            return {11, QFont::Normal, true};
    }
    return {13, QFont::Normal, false};
}

QPalette paletteOf(const Tokens& t) {
    QPalette p;
    p.setColor(QPalette::Window, t.bg1);
    p.setColor(QPalette::WindowText, t.t1);
    p.setColor(QPalette::Base, t.field);
    p.setColor(QPalette::AlternateBase, t.bg2);
    p.setColor(QPalette::Text, t.t1);
    p.setColor(QPalette::PlaceholderText, t.t3);
    p.setColor(QPalette::Button, t.bg2);
    p.setColor(QPalette::ButtonText, t.t1);
    p.setColor(QPalette::BrightText, t.err);
    p.setColor(QPalette::Highlight, t.isDark ? t.softline : t.softline);
    p.setColor(QPalette::HighlightedText, t.t1);
    p.setColor(QPalette::Link, t.acc);
    p.setColor(QPalette::LinkVisited, t.acc);
    p.setColor(QPalette::ToolTipBase, t.tip);
    p.setColor(QPalette::ToolTipText, t.t1);
    p.setColor(QPalette::Light, t.bg3);
    p.setColor(QPalette::Mid, t.line2);
    p.setColor(QPalette::Dark, t.line);
    p.setColor(QPalette::Shadow, t.bg0);
    for (auto role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText})
        p.setColor(QPalette::Disabled, role, t.dis);
    return p;
}

/// Style-sheet arrows are images; they are written once per colour into a folder that lives as long
/// as the program.
QString arrowFile(const QString& name, const QColor& color) {
    static QTemporaryDir folder;
    const QString path = folder.filePath(name + color.name().mid(1) + ".svg");
    if (QFile::exists(path)) return path;
    QFile source(":/icons/" + name + ".svg");
    QFile target(path);
    if (!source.open(QIODevice::ReadOnly) || !target.open(QIODevice::WriteOnly)) return {};
    target.write(source.readAll().replace("#000", color.name().toLatin1()));
    return path;
}

}  // namespace

Theme& Theme::instance() {
    static Theme theme;
    return theme;
}

void Theme::install(QApplication& app) {
    initResources();
    for (const char* file : {"LuthierSans-Regular", "LuthierSans-Medium", "LuthierSans-SemiBold",
                             "LuthierMono-Regular", "LuthierMono-Medium"})
        QFontDatabase::addApplicationFont(
            QStringLiteral(":/fonts/%1.ttf").arg(QLatin1String(file)));
    app.setStyle(new Style(QStyleFactory::create("Fusion")));
    QFile file(":/themes/luthier.qss");
    if (file.open(QIODevice::ReadOnly)) m_sheet = QString::fromUtf8(file.readAll());
    m_isInstalled = true;
    apply();
}

void Theme::setChoice(ThemeChoice choice) {
    m_choice = choice;
    const bool systemIsDark = QApplication::palette().color(QPalette::Window).lightness() < 128;
    switch (choice) {
        case ThemeChoice::Dark:
            m_tokens = &darkTokens();
            break;
        case ThemeChoice::Light:
            m_tokens = &lightTokens();
            break;
        case ThemeChoice::HighContrast:
            m_tokens = &highContrastTokens();
            break;
        case ThemeChoice::System: {
            static const bool wasDark =
                systemIsDark;  // before our own palette replaced the desktop's
            m_tokens = wasDark ? &darkTokens() : &lightTokens();
            break;
        }
    }
    if (m_isInstalled) apply();
}

void Theme::setTextScale(double scale) {
    m_scale = std::clamp(scale, 0.8, 1.5);
    if (m_isInstalled) apply();
}

void Theme::setDensity(Density density) {
    m_density = density;
    emit changed();
}

QFont Theme::font(Type type) const {
    const TypeSpec spec = specOf(type);
    QFont font(spec.mono ? QStringLiteral("Luthier Mono") : QStringLiteral("Luthier Sans"));
    font.setPixelSize(px(spec.pixels));
    font.setWeight(spec.weight);
    font.setHintingPreference(QFont::PreferNoHinting);
    if (spec.mono) font.setStyleHint(QFont::Monospace);
    return font;
}

QColor Theme::runColor(int index) const {
    return m_tokens->runs[static_cast<std::size_t>(std::max(0, index)) % 10];
}

QList<qreal> Theme::runDash(int index) const {
    static const QList<qreal> dashes[] = {{}, {6, 3}, {2, 3}};
    static const int first[10] = {0, 0, 0, 0, 0, 1, 0, 0, 2, 1};
    const int safe = std::max(0, index);
    return dashes[(first[safe % 10] + safe / 10) % 3];
}

void Theme::apply() {
    QApplication::setPalette(paletteOf(*m_tokens));
    QApplication::setFont(font(Type::Body));
    QString sheet = m_sheet;
    for (const auto& [name, color] : m_tokens->named())
        sheet.replace("%" + name + "%", color.name());
    static const QRegularExpression size("%px(\\d+)%");
    for (auto match = size.match(sheet); match.hasMatch(); match = size.match(sheet))
        sheet.replace(match.captured(0), QString::number(px(match.captured(1).toInt())) + "px");
    for (const char* arrow : {"chevron-down", "chevron-up", "check"}) {
        const QColor color =
            QLatin1String(arrow) == QLatin1String("check") ? QColor(Qt::white) : m_tokens->t2;
        sheet.replace(QStringLiteral("%icon:%1%").arg(QLatin1String(arrow)),
                      arrowFile(QLatin1String(arrow), color));
    }
    static_cast<QApplication*>(QCoreApplication::instance())->setStyleSheet(sheet);
    emit changed();
}

}  // namespace luthier::ui
