// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The current theme: tokens, fonts, text scale and density. Painters ask it while painting; widgets
// that cache colours listen to changed(). Sizes in code are design pixels and go through px(), so
// text size 80..150 % scales them.

#include "theme/tokens.h"

#include <QFont>
#include <QObject>

class QApplication;

namespace luthier::ui {

enum class Type {
    Hero,
    Message,
    Title,
    Body,
    Name,
    Strong,
    Table,
    TableStrong,
    Caption,
    CaptionStrong,
    Mono,
    MonoSmall
};
enum class ThemeChoice { Dark, Light, HighContrast, System };
enum class Density { Compact = 28, Normal = 32, Relaxed = 40 };

class Theme final : public QObject {
    Q_OBJECT
public:
    static Theme& instance();
    static const Tokens& tokens() { return *instance().m_tokens; }

    /// Loads the fonts and sets the style; once, before the first widget.
    void install(QApplication& app);
    void setChoice(ThemeChoice choice);
    void setTextScale(double scale);  ///< 0.8 .. 1.5
    void setDensity(Density density);

    ThemeChoice choice() const { return m_choice; }
    double textScale() const { return m_scale; }
    Density density() const { return m_density; }
    int rowHeight() const { return px(static_cast<int>(m_density)); }
    int px(int design) const { return static_cast<int>(design * m_scale + 0.5); }

    QFont font(Type type) const;
    /// Colour and dash of the run with this creation order; the palette repeats with the next dash.
    QColor runColor(int index) const;
    QList<qreal> runDash(int index) const;  ///< empty = solid

signals:
    void changed();

private:
    Theme() = default;
    void apply();

    const Tokens* m_tokens = &darkTokens();
    ThemeChoice m_choice = ThemeChoice::Dark;
    double m_scale = 1.0;
    Density m_density = Density::Normal;
    QString m_sheet;
    bool m_isInstalled = false;
};

inline int px(int design) { return Theme::instance().px(design); }
inline QFont themeFont(Type type) { return Theme::instance().font(type); }

}  // namespace luthier::ui
