package broker

import (
	"encoding/binary"
	"sync"
	"testing"
)

func keyOf(n int) (key [32]byte) {
	binary.BigEndian.PutUint64(key[:], uint64(n))
	return key
}

func (m *memory[V]) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.newer) + len(m.old)
}

// Whoever brings a new key with each request must neither fill the memory nor make it forget the newest.
func TestMemoryIsBoundedAndKeepsTheNewest(t *testing.T) {
	const limit = 100
	m := newMemory[int](limit)
	for n := range 10 * limit {
		m.put(keyOf(n), n)
		if m.size() > limit {
			t.Fatalf("%d entries after %d", m.size(), n+1)
		}
		for newest := max(0, n-limit/2+1); newest <= n; newest++ {
			if _, ok := m.old[keyOf(newest)]; !ok {
				if _, ok := m.newer[keyOf(newest)]; !ok {
					t.Fatalf("%d is forgotten after %d", newest, n)
				}
			}
		}
	}
	if _, ok := m.get(keyOf(0)); ok {
		t.Error("the oldest is still there")
	}
}

// What is in use stays, however many others come by.
func TestMemoryKeepsWhatIsInUse(t *testing.T) {
	m := newMemory[string](20)
	m.put(keyOf(-1), "mine")
	for n := range 1000 {
		if got := m.getOr(keyOf(-1), func() string { return "made anew" }); got != "mine" {
			t.Fatalf("%s after %d others", got, n)
		}
		m.put(keyOf(n), "other")
		if m.size() > 20 {
			t.Fatalf("%d entries", m.size())
		}
	}
}

func TestMemoryGivesTheLastValue(t *testing.T) {
	m := newMemory[int](4)
	for n := range 50 {
		m.put(keyOf(1), n)
		m.put(keyOf(100+n), -1)
		if got, ok := m.get(keyOf(1)); !ok || got != n {
			t.Fatalf("got %d %v, want %d", got, ok, n)
		}
	}
	if _, ok := m.get(keyOf(2)); ok {
		t.Error("remembers what it was never told")
	}
}

func TestMemoryMakesAValueOnce(t *testing.T) {
	m := newMemory[*int](10)
	made := 0
	got := make([]*int, 50)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			got[i] = m.getOr(keyOf(1), func() *int { made++; return new(int) })
			m.put(keyOf(1000+i), nil)
			m.get(keyOf(i))
		})
	}
	all.Wait()
	for _, one := range got[1:] {
		if one != got[0] || made != 1 {
			t.Fatalf("made %d times", made)
		}
	}
}
