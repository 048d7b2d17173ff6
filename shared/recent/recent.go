// Package recent is a bounded memory: a map that keeps at least the newest half of its limit and
// whatever is in use. It has two generations, the older dropped when the newer is full, and so
// needs no clock and no sweep.
package recent

import "sync"

// Map remembers values by a hash. It is safe for concurrent use.
type Map[V any] struct {
	mu         sync.Mutex
	newer, old map[[32]byte]V
	half       int
}

// New returns a Map of at most limit entries.
func New[V any](limit int) *Map[V] { return &Map[V]{newer: map[[32]byte]V{}, half: limit / 2} }

// Get returns what is remembered.
func (m *Map[V]) Get(key [32]byte) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(key)
}

// Put remembers a value in place of any other.
func (m *Map[V]) Put(key [32]byte, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(key, value)
}

// GetOr returns what is remembered, or remembers what create gives.
func (m *Map[V]) GetOr(key [32]byte, create func() V) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.find(key)
	if !ok {
		value = create()
		m.keep(key, value)
	}
	return value
}

func (m *Map[V]) find(key [32]byte) (V, bool) {
	value, ok := m.newer[key]
	if !ok {
		if value, ok = m.old[key]; ok {
			m.keep(key, value)
		}
	}
	return value, ok
}

func (m *Map[V]) keep(key [32]byte, value V) {
	if len(m.newer) >= m.half {
		m.old, m.newer = m.newer, map[[32]byte]V{}
	}
	m.newer[key] = value
}
