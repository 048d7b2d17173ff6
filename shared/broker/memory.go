package broker

import "sync"

// memory remembers at least the newest half of its limit: two generations, the older dropped when the newer is full. No clock, no sweep.
type memory[V any] struct {
	mu         sync.Mutex
	newer, old map[[32]byte]V
	half       int
}

func newMemory[V any](limit int) *memory[V] {
	return &memory[V]{newer: map[[32]byte]V{}, half: limit / 2}
}

func (m *memory[V]) get(key [32]byte) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(key)
}

func (m *memory[V]) find(key [32]byte) (V, bool) {
	value, ok := m.newer[key]
	if !ok {
		if value, ok = m.old[key]; ok {
			m.keep(key, value)
		}
	}
	return value, ok
}

func (m *memory[V]) put(key [32]byte, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(key, value)
}

func (m *memory[V]) keep(key [32]byte, value V) {
	if len(m.newer) >= m.half {
		m.old, m.newer = m.newer, map[[32]byte]V{}
	}
	m.newer[key] = value
}

// getOr returns what is remembered, or remembers what make gives.
func (m *memory[V]) getOr(key [32]byte, create func() V) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.find(key)
	if !ok {
		value = create()
		m.keep(key, value)
	}
	return value
}
