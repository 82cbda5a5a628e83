// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Where a method trains, drawn: one block of the chosen model with its projections, the residual
// line, embedding and head, and a strip of layers. Laid out from `map` of `inspect` (roles, sizes),
// so families with fused projections or no gate look as they are. A click on a projection is the
// same as typing its name into target_modules.

#include <QJsonObject>
#include <QSet>
#include <QWidget>

#include <vector>

namespace luthier::ui {

class ModelMap final : public QWidget {
    Q_OBJECT
public:
    struct Part {
        QString name, label, role;  ///< name "self_attn.q_proj", label "q_proj"
        qint64 in = 0, out = 0, parameters = 0;
        QRectF box;
    };

    ModelMap();
    void setModel(const QJsonObject& inspect);
    /// What trains: labels of modules, the layers (empty = all), a method's extra shapes
    /// (MethodInfo::marks); `added` counts per part over all layers.
    void setTrained(const QStringList& marks, const QSet<QString>& labels, const QSet<int>& layers,
                    const QHash<QString, qint64>& added);
    void showAs(
        const ModelMap& other);  ///< the same model with the same parts trained, only to look at
    void setEditable(bool modules, bool layers);
    int layerCount() const { return m_layers; }
    /// Labels of all projections inside a block, for presets.
    QStringList projections() const;
    QStringList projectionsWithRole(const QStringList& roles) const;
    QSize minimumSizeHint() const override { return {420, 224}; }

    // The parts as a screen reader and the keyboard see them.
    int partCount() const { return static_cast<int>(m_parts.size()); }
    QString partWords(int index) const;  ///< "q_proj, trained, 65,536 per layer"
    QRect partBox(int index) const { return m_parts[static_cast<std::size_t>(index)].box.toRect(); }
    bool isPartTrained(int index) const {
        return isTrained(m_parts[static_cast<std::size_t>(index)]);
    }
    bool canToggle(int index) const;
    void toggle(int index);
    QString summary() const;  ///< one sentence: how many parts of how many layers train

signals:
    void partToggled(const QString& label, bool trained);
    void layersChosen(const QSet<int>& layers);

protected:
    void paintEvent(QPaintEvent*) override;
    void resizeEvent(QResizeEvent*) override { layOut(); }
    void mouseMoveEvent(QMouseEvent*) override;
    void mousePressEvent(QMouseEvent*) override;
    void mouseReleaseEvent(QMouseEvent*) override;
    void keyPressEvent(QKeyEvent*) override;
    void leaveEvent(QEvent*) override;
    bool event(QEvent*) override;

private:
    static void installAccessibility();
    void layOut();
    void paintPart(QPainter& p, const Part& part, bool isHovered) const;
    void paintLayers(QPainter& p) const;
    bool isTrained(const Part& part) const { return m_trained.contains(part.label); }
    int partAt(QPointF point) const;
    int layerAt(QPointF point) const;
    QString describe(const Part& part) const;

    std::vector<Part> m_parts;
    int m_layers = 0;
    QStringList m_marks;
    QSet<QString> m_trained;
    QSet<int> m_trainedLayers;
    QHash<QString, qint64> m_added;
    bool m_canToggle = false, m_canPickLayers = false;
    int m_hover = -1, m_hoverLayer = -1, m_focus = -1, m_dragLayer = -1;
    bool m_dragTrains = true;

    // geometry of the fixed shapes
    QRectF m_frame, m_norm1, m_norm2, m_attention, m_normOut, m_embedding, m_head, m_strip;
    QPointF m_plus1, m_plus2, m_times;
    double m_residualY = 0;
    bool m_hasGate = false;
};

}  // namespace luthier::ui
