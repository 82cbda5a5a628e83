// SPDX-License-Identifier: GPL-3.0-or-later
// What a screen reader meets at the ModelMap: one check box a part, "q_proj, trained, 65,536 per
// layer".
#include "widgets/model_map.h"

#include <QAccessible>
#include <QAccessibleWidget>

#include <map>

namespace luthier::ui {

namespace {

class MapPart final : public QAccessibleInterface, public QAccessibleActionInterface {
public:
    MapPart(QAccessibleInterface& parent, ModelMap& map, int index)
        : m_parent(parent), m_map(map), m_index(index) {}

    bool isValid() const override { return m_parent.isValid() && m_index < m_map.partCount(); }
    QObject* object() const override { return nullptr; }
    QAccessibleInterface* parent() const override { return &m_parent; }
    QAccessibleInterface* child(int) const override { return nullptr; }
    int childCount() const override { return 0; }
    int indexOfChild(const QAccessibleInterface*) const override { return -1; }
    QAccessibleInterface* childAt(int, int) const override { return nullptr; }
    QString text(QAccessible::Text kind) const override {
        return kind == QAccessible::Name && isValid() ? m_map.partWords(m_index) : QString();
    }
    void setText(QAccessible::Text, const QString&) override {}
    QRect rect() const override {
        if (!isValid()) return {};
        const QRect box = m_map.partBox(m_index);
        return {m_map.mapToGlobal(box.topLeft()), box.size()};
    }
    QAccessible::Role role() const override { return QAccessible::CheckBox; }
    QAccessible::State state() const override {
        QAccessible::State state;
        state.checkable = isValid() && m_map.canToggle(m_index);
        state.checked = isValid() && m_map.isPartTrained(m_index);
        state.disabled = !state.checkable;
        return state;
    }
    void* interface_cast(QAccessible::InterfaceType type) override {
        return type == QAccessible::ActionInterface ? static_cast<QAccessibleActionInterface*>(this)
                                                    : nullptr;
    }
    QStringList actionNames() const override {
        return isValid() && m_map.canToggle(m_index) ? QStringList{toggleAction()} : QStringList();
    }
    void doAction(const QString& name) override {
        if (name == toggleAction() && isValid()) m_map.toggle(m_index);
    }
    QStringList keyBindingsForAction(const QString&) const override { return {}; }
    int index() const { return m_index; }

private:
    QAccessibleInterface& m_parent;
    ModelMap& m_map;
    int m_index;
};

class MapParts final : public QAccessibleWidget {
public:
    explicit MapParts(ModelMap* map)
        : QAccessibleWidget(map, QAccessible::Grouping, map->accessibleName()) {}
    ~MapParts() override {
        for (const auto& [index, id] : m_parts) QAccessible::deleteAccessibleInterface(id);
    }
    ModelMap* map() const { return static_cast<ModelMap*>(widget()); }
    int childCount() const override { return map() ? map()->partCount() : 0; }
    QAccessibleInterface* child(int index) const override {
        if (index < 0 || index >= childCount()) return nullptr;
        if (const auto found = m_parts.find(index); found != m_parts.end())
            return QAccessible::accessibleInterface(found->second);
        auto* part = new MapPart(const_cast<MapParts&>(*this), *map(), index);
        m_parts[index] = QAccessible::registerAccessibleInterface(part);
        return part;
    }
    int indexOfChild(const QAccessibleInterface* child) const override {
        const auto* part = dynamic_cast<const MapPart*>(child);
        return part ? part->index() : -1;
    }
    QString text(QAccessible::Text kind) const override {
        return kind == QAccessible::Description && map() ? map()->summary()
                                                         : QAccessibleWidget::text(kind);
    }

private:
    mutable std::map<int, QAccessible::Id> m_parts;
};

QAccessibleInterface* make(const QString&, QObject* object) {
    auto* map = qobject_cast<ModelMap*>(object);
    return map ? new MapParts(map) : nullptr;
}

}  // namespace

void ModelMap::installAccessibility() {
    static const bool isInstalled = [] {
        QAccessible::installFactory(make);
        return true;
    }();
    Q_UNUSED(isInstalled)
}

}  // namespace luthier::ui
