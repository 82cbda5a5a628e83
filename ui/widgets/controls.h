// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Painted controls that a style sheet cannot do: segmented control, toggle,
// stat tile, chips, unit field, focus ring.

#include <QAbstractButton>
#include <QLineEdit>
#include <QStringList>
#include <QWidget>

class QLabel;

namespace luthier::ui {

/// Exclusive choice; arrow keys move it. Width is that of its words.
class SegmentedControl final : public QWidget {
    Q_OBJECT
public:
    explicit SegmentedControl(const QStringList& items = {}, int height = 28);
    void setItems(const QStringList& items);
    void setCurrent(int index);
    int current() const { return m_current; }
    void setStretched(bool on) {
        m_isStretched = on;
        updateGeometry();
    }
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override { return sizeHint(); }

signals:
    void changed(int index);

protected:
    void paintEvent(QPaintEvent*) override;
    void mousePressEvent(QMouseEvent*) override;
    void mouseMoveEvent(QMouseEvent*) override;
    void leaveEvent(QEvent*) override;
    void keyPressEvent(QKeyEvent*) override;

private:
    QRectF rectOf(int index) const;
    int indexAt(QPointF point) const;
    void choose(int index);

    QStringList m_items;
    int m_height;
    int m_current = 0;
    int m_hover = -1;
    bool m_isStretched = false;
};

class Toggle final : public QAbstractButton {
    Q_OBJECT
public:
    explicit Toggle(const QString& accessibleName = {});
    QSize sizeHint() const override { return {28, 24}; }

protected:
    void paintEvent(QPaintEvent*) override;
};

/// Caption above, value with a unit in t3 below.
class StatTile final : public QWidget {
    Q_OBJECT
public:
    explicit StatTile(const QString& caption);
    void set(const QString& value, const QString& unit = {});
    void setCaption(const QString& caption);

private:
    QLabel* m_caption;
    QLabel* m_value;
    QLabel* m_unit;
};

/// A quiet rounded word; kind: plain soft ok warn err.
class Chip final : public QWidget {
    Q_OBJECT
public:
    explicit Chip(const QString& text = {}, const char* kind = "plain", const QString& icon = {});
    void set(const QString& text, const char* kind, const QString& icon = {});
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override { return sizeHint(); }

protected:
    void paintEvent(QPaintEvent*) override;

private:
    QString m_text, m_kind, m_icon;
};

/// Look of a run's status: words, chip kind, icon.
struct StatusLook {
    QString words;
    const char* kind;
    QString icon;
};
StatusLook statusLook(const QString& status);

/// A line edit with its unit at the right in t3.
class UnitField final : public QLineEdit {
    Q_OBJECT
public:
    explicit UnitField(const QString& unit = {});
    void setUnit(const QString& unit);

protected:
    void paintEvent(QPaintEvent*) override;

private:
    QString m_unit;
};

/// A small grey key cap: "Ctrl K".
class KeyCap final : public QWidget {
    Q_OBJECT
public:
    explicit KeyCap(const QString& text) : m_text(text) {
        setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
    }
    QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent*) override;

private:
    QString m_text;
};

/// One ring for whatever has the keyboard focus: 2 px accent, 1 px off. Install once per window.
class FocusRing final : public QWidget {
    Q_OBJECT
public:
    explicit FocusRing(QWidget* window);

protected:
    void paintEvent(QPaintEvent*) override;
    bool eventFilter(QObject* object, QEvent* event) override;

private:
    void follow(QWidget* old, QWidget* now);
    void place();
    QWidget* m_target = nullptr;
};

}  // namespace luthier::ui
