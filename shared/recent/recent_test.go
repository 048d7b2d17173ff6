package recent

import (
	"encoding/binary"
	"sync"
	"testing"
)

func keyOf(n int) (key [32]byte) {
	binary.BigEndian.PutUint64(key[:], uint64(n))
	return key
}

// Whoever brings a new key with each request must neither fill the memory nor make it forget the
// newest.
func TestMapIsBoundedAndKeepsTheNewest(t *testing.T) {
	const limit = 100
	m := New[int](limit)
	for n := range 10 * limit {
		m.Put(keyOf(n), n)
		if entries := len(m.newer) + len(m.old); entries > limit {
			t.Fatalf("%d entries after %d", entries, n+1)
		}
		for newest := max(0, n-limit/2+1); newest <= n; newest++ {
			if _, ok := m.old[keyOf(newest)]; !ok {
				if _, ok := m.newer[keyOf(newest)]; !ok {
					t.Fatalf("%d is forgotten after %d", newest, n)
				}
			}
		}
	}
	if _, ok := m.Get(keyOf(0)); ok {
		t.Error("the oldest is still there")
	}
}

// What is in use stays, however many others come by.
func TestMapKeepsWhatIsInUse(t *testing.T) {
	m := New[string](20)
	m.Put(keyOf(-1), "mine")
	for n := range 1000 {
		if got := m.GetOr(keyOf(-1), func() string { return "made anew" }); got != "mine" {
			t.Fatalf("%s after %d others", got, n)
		}
		m.Put(keyOf(n), "other")
		if entries := len(m.newer) + len(m.old); entries > 20 {
			t.Fatalf("%d entries", entries)
		}
	}
}

func TestMapGivesTheLastValue(t *testing.T) {
	m := New[int](4)
	for n := range 50 {
		m.Put(keyOf(1), n)
		m.Put(keyOf(100+n), -1)
		if got, ok := m.Get(keyOf(1)); !ok || got != n {
			t.Fatalf("got %d %v, want %d", got, ok, n)
		}
	}
	if _, ok := m.Get(keyOf(2)); ok {
		t.Error("remembers what it was never told")
	}
}

func TestMapMakesAValueOnce(t *testing.T) {
	m := New[*int](10)
	made := 0
	got := make([]*int, 50)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			got[i] = m.GetOr(keyOf(1), func() *int { made++; return new(int) })
			m.Put(keyOf(1000+i), nil)
			m.Get(keyOf(i))
		})
	}
	all.Wait()
	for _, one := range got[1:] {
		if one != got[0] || made != 1 {
			t.Fatalf("made %d times", made)
		}
	}
}
